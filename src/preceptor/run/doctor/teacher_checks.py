"""Checks of the teacher: accuracy, class order, logits, determinism, normalization, and what a correction changes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from preceptor.context import predicted_class
from preceptor.data import Normalization
from preceptor.metrics.logits import network_logits
from preceptor.run.doctor.finding import Finding, few
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher
from preceptor.teachers.label_order import LabelOrder

SUM_TOLERANCE = 1e-2
"""How far a row of rounded probabilities may sum from 1, relatively."""

BATCH_TOLERANCE = 1e-3
"""How far, as a share of the largest logit, an image's logits may shift with the rest of the batch: rounding."""

CHANGED_AT_MOST = 0.5
"""A correction that changes more than this share points at the whole teacher or labels, not at single samples."""

CLEARLY = 0.05
"""Another normalization is clearly better when it gains more than this share of the images, and ..."""

DEVIATIONS = 2.0
"""... more than so many standard errors of the paired difference on top."""

SAME = 1e-3
"""Two normalizations are the same when no mean or deviation differs by more, relative to the deviation."""


def accuracy_finding(
    order: LabelOrder, confusion: Int[Tensor, "labels outputs"], class_names: tuple[str, ...]
) -> Finding:
    """Whether the teacher beats always predicting the most frequent label.

    Args:
        order: of its classes.
        confusion: how many images of each label (row) the teacher puts into each class (column).
        class_names: of all classes.
    """
    images, predicted = int(confusion.sum()), (confusion.sum(dim=0) > 0).nonzero().flatten().tolist()
    constant = int(confusion.sum(dim=1).max()) / images
    numbers = {
        "images": images,
        "accuracy": order.accuracy,
        "constant_accuracy": constant,
        "classes_predicted": len(predicted),
    }
    message = f"the teacher is right on {order.accuracy:.2%} of {images:,} labeled training images"
    if order.accuracy > constant + 2 * (constant * (1 - constant) / images) ** 0.5:
        return Finding("teacher accuracy", "ok", message, "", numbers)
    message += f", no better than always predicting one class ({constant:.2%})"
    if len(predicted) == 1:
        message += f"; it predicts {class_names[predicted[0]]!r} for every image"
    remedy = "make sure that it was trained on this data; check its weights, class order and normalization"
    return Finding("teacher accuracy", "problem", message, remedy, numbers)


def order_finding(order: LabelOrder, class_names: tuple[str, ...]) -> Finding:
    """Whether the teacher's classes are in the order of the labels."""
    numbers = {
        "accuracy": order.accuracy,
        "best_accuracy": order.best_accuracy,
        "moved": [{"class": class_names[label], "output": output} for label, output in order.moved],
    }
    if not order.is_another:
        message = (
            f"the classes are in the order of the labels (accuracy in any other: at most {order.best_accuracy:.2%})"
        )
        return Finding("label order", "ok", message, "", numbers)
    moved = [
        f"class {class_names[label]!r} is output {output} ({class_names[output]!r})" for label, output in order.moved
    ]
    message = (
        f"the teacher's classes are in another order than the labels: accuracy is {order.accuracy:.2%} as it is, "
        f"{order.best_accuracy:.2%} in the best order: {few(moved)}"
    )
    remedy = "bring its outputs, or the labels, into one order; nothing is reordered for you"
    return Finding("label order", "problem", message, remedy, numbers)


def logits_finding(logits: Float[Tensor, "n classes"]) -> Finding:
    """Whether the teacher's logits vary, and are not probabilities or percentages.

    Args:
        logits: of several images, finite.
    """
    unlike_first = int((logits != logits[:1]).any(dim=1).sum())
    flat = int((logits == logits[:, :1]).all(dim=1).sum())
    largest, total = float(logits.abs().max()), logits.double().sum(dim=1)
    numbers = {
        "images": len(logits),
        "unlike_the_first": unlike_first,
        "all_classes_equal": flat,
        "largest": largest,
    }
    if unlike_first == 0 or flat:
        equal = "images" if unlike_first == 0 else f"classes of {flat:,} of them"
        message = f"of {len(logits):,} images, the logits are the same for all {equal}"
        return Finding("teacher logits", "problem", message, "check its weights and the range of its input", numbers)
    for whole in (1, 100):
        # Logits of a network have no reason to be positive, still less to share one sum.
        if bool((logits >= 0).all() & ((total - whole).abs() <= SUM_TOLERANCE * whole).all()):
            message = f"all logits are 0 or more and each row sums to {whole}: they look like " + (
                "probabilities" if whole == 1 else "percentages"
            )
            remedy = "of a file, give --teacher-output probabilities" + (" and divide by 100" if whole == 100 else "")
            return Finding("teacher logits", "warning", message, f"{remedy}; of a network, remove its softmax", numbers)
    message = f"finite, different from image to image and class to class, up to {largest:.4g} in size"
    return Finding("teacher logits", "ok", message, "", numbers)


def determinism_finding(
    networks: tuple[NetworkTeacher, ...],
    teacher: Teacher,
    images: UInt8[Tensor, "few channels height width"],
    index: Int[Tensor, " few"],
    view: int,
) -> Finding:
    """Whether the teacher is deterministic: frozen, in eval mode, and independent of the rest of the batch.

    Args:
        networks: the teacher's networks as they came; none of another kind of teacher.
        teacher: as it teaches, optimized or through a cache.
        images: at least two, 0 to 255.
        index: of the images in the training set, on the CPU.
        view: number of the view they are in.
    """
    faults = [fault for network in networks for fault in _network_faults(network, images)]
    first, again = (teacher.outputs(images, index, torch.full_like(index, view)).logits for _ in range(2))
    if not faults and not torch.equal(first, again):
        faults.append("two queries of the same images differ")
    numbers = {"networks": len(networks), "images": len(images), "faults": faults}
    if faults:
        message = f"the teacher is not deterministic: {'; '.join(faults)}"
        remedy = "remove randomness and batch statistics from its forward pass; eval() must switch them off"
        return Finding("determinism", "problem", message, remedy, numbers)
    mode = "in eval mode, frozen, and " if networks else ""
    return Finding("determinism", "ok", f"the teacher is {mode}the same in two queries", "", numbers)


@torch.no_grad()
def _network_faults(network: NetworkTeacher, images: Tensor) -> list[str]:
    faults = []
    if any(module.training for module in network.network.modules()):
        faults.append("a layer is in training mode")
    if any(parameter.requires_grad for parameter in network.network.parameters()):
        faults.append("a parameter requires its gradient")
    first, again, alone = network(images), network(images), network(images[:1])
    if not torch.equal(first, again):
        faults.append("two queries of the same images differ")
    elif bool((first[:1] - alone).abs().max() > BATCH_TOLERANCE * first.abs().max()):
        faults.append("an image's logits depend on the others in the batch")
    return faults


def common_normalizations(channels: int, own: Normalization) -> dict[str, Normalization]:
    """Normalizations that networks are usually trained with, by name.

    Args:
        channels: of the images.
        own: the data set's.
    """
    common = {"the data set's own": own}
    for name, mean, std in (
        ("none (0 to 1)", 0.0, 1.0),
        ("none (0 to 255)", 0.0, 1 / 255),
        ("mean 0.5, std 0.5", 0.5, 0.5),
    ):
        common[name] = Normalization((mean,) * channels, (std,) * channels)
    if channels == 3:
        common["ImageNet's"] = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return common


@dataclass(frozen=True)
class AlternativeNormalization:
    """A network's accuracy under another normalization than the stated one.

    Attributes:
        name: of the other normalization.
        normalization: the other.
        accuracy: under it.
        gain: of accuracy over the stated one.
        error: standard error of the gain, paired by image.
    """

    name: str
    normalization: Normalization
    accuracy: float
    gain: float
    error: float

    @property
    def clearly_better(self) -> bool:
        """Whether the gain is beyond noise, and large enough to report."""
        return self.gain > CLEARLY + DEVIATIONS * self.error


def alternative_normalizations(
    teacher: NetworkTeacher,
    images: UInt8[Tensor, "n channels height width"],
    labels: Int[Tensor, " n"],
    others: Mapping[str, Normalization],
) -> tuple[float, list[AlternativeNormalization]]:
    """A network's accuracy as stated, and under every other normalization.

    Args:
        teacher: the network, as it came.
        images: 0 to 255, on its device.
        labels: the output that is right for each image; none is missing.
        others: by name; those equal to the stated one are left out.
    """

    def correct(normalization: Normalization) -> Float[Tensor, " n"]:
        logits = network_logits(teacher.network, normalization, images)[:, : teacher.classes]
        # Under a wrong normalization a network may overflow; that is a wrong prediction, not an error.
        return (predicted_class(torch.nan_to_num(logits)) == labels.cpu()).double()

    assert teacher.normalize is not None, "a teacher of images"
    stated, alternatives = correct(teacher.normalize), []
    for name, other in others.items():
        if not _same(teacher.normalize, other):
            right = correct(other)
            gain = right - stated
            error = float(gain.std(correction=0)) / len(gain) ** 0.5
            alternatives.append(AlternativeNormalization(name, other, float(right.mean()), float(gain.mean()), error))
    return float(stated.mean()), alternatives


def normalization_finding(
    network: str, stated: float, alternatives: list[AlternativeNormalization], images: int
) -> Finding:
    """Whether another normalization is clearly better than the stated one.

    Args:
        network: which one, in words.
        stated: its accuracy as stated.
        alternatives: its accuracy under others.
        images: how many were classified.
    """
    numbers = {"images": images, "stated": stated, "others": {one.name: one.accuracy for one in alternatives}}
    best = max(alternatives, key=lambda one: one.gain, default=None)
    message = f"{network} is right on {stated:.2%} of {images:,} images, normalized as stated"
    if best is None or not best.clearly_better:
        most = "" if best is None else f"; on at most {best.accuracy:.2%} with another normalization ({best.name})"
        return Finding("normalization", "ok", message + most, "", numbers)
    mean, std = (
        "[" + ", ".join(f"{value:.4g}" for value in values) + "]"
        for values in (best.normalization.mean, best.normalization.std)
    )
    return Finding(
        "normalization",
        "problem",
        f"{message}; on {best.accuracy:.2%} with another normalization: {best.name}",
        f"if it was trained so, state mean {mean} and std {std} in student.json of its run folder",
        numbers,
    )


def _same(first: Normalization, second: Normalization) -> bool:
    shift = np.abs(np.array(first.mean) - np.array(second.mean)) / np.array(first.std)
    stretch = np.abs(np.array(second.std) / np.array(first.std) - 1)
    return bool(max(shift.max(), stretch.max()) <= SAME)


def selection_finding(distilled: Bool[Tensor, " n"]) -> Finding:
    """The share of the training images that the selection leaves to the teacher."""
    count, share = int(distilled.sum()), float(distilled.double().mean())
    numbers = {"images": len(distilled), "selected": count, "share": share}
    message = f"{count:,} of {len(distilled):,} training images are selected for distillation ({share:.2%})"
    return Finding("selection", "ok", message, "", numbers)


def correction_finding(apply_to: str | None, affected: Bool[Tensor, " n"]) -> Finding:
    """The share of the training images whose teacher output the correction changes.

    Args:
        apply_to: what it applies to, "wrong" or "all"; None without a correction.
        affected: by training image.
    """
    count, share = int(affected.sum()), float(affected.double().mean())
    if apply_to is None:
        return Finding(
            "correction", "ok", "the recipe has none", "", {"images": len(affected), "affected": 0, "share": 0}
        )
    numbers = {"images": len(affected), "affected": count, "share": share}
    message = f"it changes the teacher's output for {count:,} of {len(affected):,} unaugmented images ({share:.2%})"
    if count == 0:
        remedy = "the recipe equals one without correction; was the teacher trained on these images?"
        return Finding("correction", "warning", message, remedy, numbers)
    if apply_to == "wrong" and share > CHANGED_AT_MOST:
        return Finding("correction", "warning", message, "make sure that teacher and labels belong together", numbers)
    return Finding("correction", "ok", message, "", numbers)
