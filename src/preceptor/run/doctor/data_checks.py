"""Checks of the data: shapes, labels, and images that occur more than once."""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from preceptor.context import UNLABELED
from preceptor.data import Dataset, ImageSet
from preceptor.data.dataset import image_digests
from preceptor.errors import few
from preceptor.run.doctor.finding import Finding


def shapes_finding(data: Dataset, student: nn.Module, teacher: str | None) -> Finding:
    """Sizes of images, classes and student. Loading has already refused what does not fit."""
    parameters = sum(parameter.numel() for parameter in student.parameters())
    numbers = {"classes": data.classes, "student_parameters": parameters, "teacher": teacher}
    sizes = f"{data.classes} classes"
    if data.of_images:
        height, width = data.size
        numbers |= {"channels": data.channels, "height": height, "width": width}
        sizes += f", images of {data.channels} x {height} x {width} (channels x height x width)"
    fit = "student and teacher fit" if teacher else "the student fits"
    return Finding("shapes", "ok", f"{sizes}; {fit}, with {parameters:,} student parameters", "", numbers)


def labels_finding(labels: Int[Tensor, " n"], class_names: tuple[str, ...]) -> Finding:
    """Whether several classes, and all of them, have labeled training images."""
    counts = torch.bincount(labels[labels != UNLABELED].cpu(), minlength=len(class_names))
    unlabeled, empty = int((labels == UNLABELED).sum()), (counts == 0).nonzero().flatten().tolist()
    numbers = {
        "images": len(labels),
        "unlabeled": unlabeled,
        "classes": len(class_names),
        "classes_without_image": len(empty),
        "smallest_class": int(counts.min()),
        "largest_class": int(counts.max()),
    }
    message = f"{len(labels):,} training images, {unlabeled:,} of them unlabeled"
    if unlabeled == len(labels):
        remedy = "only a loss against the teacher can train on them: add labels, or make sure this is intended"
        return Finding("labels", "warning", message, remedy, numbers)
    if len(empty) == len(class_names) - 1:
        message += f", all others of class {class_names[int(counts.argmax())]!r}"
        return Finding("labels", "problem", message, "add images of a second class, or correct the labels", numbers)
    if empty:
        message += f", none of class {few([repr(class_names[label]) for label in empty])}"
        return Finding("labels", "warning", message, "train on more images, or remove the class", numbers)
    message += f"; {len(class_names)} classes with {int(counts.min()):,} to {int(counts.max()):,} labeled images each"
    return Finding("labels", "ok", message, "", numbers)


def duplicates_finding(train: ImageSet, test: ImageSet | None, held_out: Int[Tensor, " m"]) -> Finding:
    """Whether images equal in every pixel have different labels, or leak into what the student is measured on."""
    digests, labels, measured = image_digests(train.images), train.labels.tolist(), set(held_out.tolist())
    first_of: dict[bytes, int] = {}
    repeats = []
    for index, digest in enumerate(digests):
        if first_of.setdefault(digest, index) != index:
            repeats.append((first_of[digest], index))
    relabeled = [(a, b) for a, b in repeats if UNLABELED not in (labels[a], labels[b]) and labels[a] != labels[b]]
    tested = set(() if test is None else image_digests(test.images))
    held_out_digests = {digests[index] for index in measured}
    leaks = {
        "the test set": sum(digest in tested for digest in digests),
        "the held-out images": sum(
            digest in held_out_digests for index, digest in enumerate(digests) if index not in measured
        ),
    }
    numbers = {
        "extra": len(repeats),
        "otherwise_labeled": len(relabeled),
        "first_pair": relabeled[0] if relabeled else None,
        "in_test": leaks["the test set"],
        "held_out_too": leaks["the held-out images"],
    }
    messages, remedies = [f"{len(repeats):,} training images repeat an earlier one"], []
    if relabeled:
        a, b = relabeled[0]
        messages.append(f"{len(relabeled):,} with another label, the first at index {a} and {b}")
        remedies.append("find out which label is right")
    for place, count in leaks.items():
        if count:
            messages.append(f"{count:,} training images are in {place} too")
            remedies.append(f"remove them from {place}: a student is measured on images it was not trained on")
    return Finding("duplicates", "warning" if remedies else "ok", "; ".join(messages), "; ".join(remedies), numbers)
