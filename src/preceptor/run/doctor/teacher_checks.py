"""The teacher: what it answers, in which order of classes, and whether it is at rest."""

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from preceptor.run.doctor.data_checks import few
from preceptor.run.doctor.finding import Finding
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher
from preceptor.teachers.label_order import LabelOrder

CLOSE = 1e-3
"""How far, as a share of the largest logit, an answer may shift with the company an image is in: rounding."""

TOUCHED_AT_MOST = 0.5
"""A correction that touches more than this share says more of the teacher or the labels than of single samples."""


def accuracy_finding(order: LabelOrder, confusion: Int[Tensor, "labels outputs"]) -> Finding:
    """Whether a teacher is better than one that always gives the answer that is right most often.

    Args:
        order: of its classes.
        confusion: how many images of each label (row) are answered by each output (column).
    """
    images = int(confusion.sum())
    always = int(confusion.sum(dim=1).max()) / images
    numbers = {"images": images, "accuracy": order.accuracy, "always_the_same": always}
    found = f"the teacher is right on {order.accuracy:.2%} of {images:,} labeled training images"
    if order.accuracy > always + 2 * (always * (1 - always) / images) ** 0.5:
        return Finding("teacher accuracy", "ok", found, "", numbers)
    found += f", no better than always giving the same answer ({always:.2%})"
    remedy = "make sure that it was trained on this data, and see what is said of order and normalization"
    return Finding("teacher accuracy", "problem", found, remedy, numbers)


def order_finding(order: LabelOrder, class_names: tuple[str, ...]) -> Finding:
    """Whether the teacher's classes stand in the order of the labels."""
    numbers = {
        "accuracy": order.accuracy,
        "best_accuracy": order.best_accuracy,
        "moved": [{"class": class_names[label], "output": output} for label, output in order.moved],
    }
    if not order.is_another:
        found = f"the classes stand in the order of the labels (at best {order.best_accuracy:.2%} in any other)"
        return Finding("label order", "ok", found, "", numbers)
    swapped = [f"{class_names[label]!r} is answered by output {output}" for label, output in order.moved]
    found = (
        f"the teacher's classes stand in another order than the labels: {order.accuracy:.2%} are right as they are, "
        f"{order.best_accuracy:.2%} would be in the best order: {few(_with_names(swapped, order, class_names))}"
    )
    remedy = "put its outputs, or the labels, into one order; nothing is reordered for you"
    return Finding("label order", "problem", found, remedy, numbers)


def _with_names(swapped: list[str], order: LabelOrder, class_names: tuple[str, ...]) -> list[str]:
    return [f"{text} ({class_names[output]!r})" for text, (_, output) in zip(swapped, order.moved, strict=True)]


def variety_finding(confusion: Int[Tensor, "labels outputs"], class_names: tuple[str, ...]) -> Finding:
    """Whether the teacher gives more than one answer, where the labels are of more than one class."""
    answered = (confusion.sum(dim=0) > 0).nonzero().flatten().tolist()
    asked = int((confusion.sum(dim=1) > 0).sum())
    numbers = {"classes_labeled": asked, "classes_answered": len(answered)}
    if len(answered) == 1 and asked > 1:
        found = f"the teacher answers {class_names[answered[0]]!r} to every image"
        remedy = "check its weights, and the range of its input"
        return Finding("teacher answers", "problem", found, remedy, numbers)
    return Finding("teacher answers", "ok", f"the teacher answers with {len(answered)} different classes", "", numbers)


def correction_finding(corrects: str | None, affected: Bool[Tensor, " n"]) -> Finding:
    """The share of the samples that a correction will touch.

    Args:
        corrects: what it touches, "wrong" or "all"; None without a correction.
        affected: by sample trained on.
    """
    count, share = int(affected.sum()), float(affected.double().mean())
    numbers = {"images": len(affected), "affected": count, "share": share}
    if corrects is None:
        return Finding("correction", "ok", "the recipe corrects nothing", "", {**numbers, "affected": 0, "share": 0.0})
    found = f"the correction will touch {count:,} of {len(affected):,} images ({share:.2%}), as they are, unaugmented"
    if count == 0:
        remedy = "the recipe is then one without correction; a teacher trained on these images may know them by heart"
        return Finding("correction", "warning", found, remedy, numbers)
    if corrects == "wrong" and share > TOUCHED_AT_MOST:
        return Finding("correction", "warning", found, "make sure that teacher and labels belong together", numbers)
    return Finding("correction", "ok", found, "", numbers)


def rest_finding(
    networks: tuple[NetworkTeacher, ...],
    signal: Teacher,
    images: UInt8[Tensor, "few channels height width"],
    positions: Int[Tensor, " few"],
    identity: int,
) -> Finding:
    """Whether the teacher is at rest: in eval mode and frozen, the same answer twice, and the same alone as in company.

    Args:
        networks: it consists of, as they came; none of another kind of teacher.
        signal: what it says, made fast or through a cache.
        images: two at least, as they are.
        positions: of the images in the training set, on the CPU.
        identity: number of the view they are in.
    """
    faults = [fault for network in networks for fault in _awake(network, images)]
    view = torch.full_like(positions, identity)
    first, again = (signal.outputs(images, positions, view).logits for _ in range(2))
    if not faults and not torch.equal(first, again):
        faults.append("it answers differently when asked twice")
    numbers = {"networks": len(networks), "asked_twice": len(images), "faults": faults}
    if faults:
        remedy = "take randomness and batch statistics out of its forward pass: only eval() switches them off"
        return Finding(
            "teacher at rest", "problem", f"the teacher is not at rest: {'; '.join(faults)}", remedy, numbers
        )
    kind = "in eval mode, without gradients, and answers" if networks else "a teacher that answers"
    return Finding("teacher at rest", "ok", f"the teacher is {kind} the same when asked twice", "", numbers)


@torch.no_grad()
def _awake(network: NetworkTeacher, images: Tensor) -> list[str]:
    faults = []
    if any(module.training for module in network.network.modules()):
        faults.append("a layer is in training mode")
    if any(parameter.requires_grad for parameter in network.network.parameters()):
        faults.append("a parameter asks for its gradient")
    first, again, alone = network(images), network(images), network(images[:1])
    if not torch.equal(first, again):
        faults.append("it answers differently when asked twice")
    elif bool((first[:1] - alone).abs().max() > CLOSE * first.abs().max()):
        faults.append("what it answers about an image depends on the others in the batch")
    return faults


def constant_finding(logits: Tensor) -> Finding:
    """Whether the teacher's logits vary, from image to image and from class to class.

    Args:
        logits: of several images, shape [n, classes], finite.
    """
    images = int((logits != logits[:1]).any(dim=1).sum())
    flat = int((logits == logits[:, :1]).all(dim=1).sum())
    numbers = {
        "images": len(logits),
        "unlike_the_first": images,
        "all_classes_alike": flat,
        "largest": _largest(logits),
    }
    if images == 0 or flat:
        found = (
            f"the teacher says the same of all {len(logits):,} images looked at"
            if images == 0
            else f"the teacher says the same of every class for {flat:,} of {len(logits):,} images looked at"
        )
        return Finding("teacher logits", "problem", found, "check its weights, and the range of its input", numbers)
    found = f"finite, varying from image to image and class to class, up to {_largest(logits):.4g} in size"
    return Finding("teacher logits", "ok", found, "", numbers)


def _largest(logits: Tensor) -> float:
    return float(logits.abs().max())


def shapes_finding(classes: int, channels: int, size: tuple[int, int], kind: str | None) -> Finding:
    """What fits: it was checked when everything was loaded."""
    numbers = {"classes": classes, "channels": channels, "height": size[0], "width": size[1], "teacher": kind}
    found = f"{classes} classes, images of {channels} x {size[0]} x {size[1]} (channels x height x width), student"
    return Finding("shapes", "ok", f"{found}{' and teacher fit' if kind else ' fits'}", "", numbers)
