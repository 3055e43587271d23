"""Checks of the teacher: accuracy, class order, logits, determinism, and what selection and correction leave of it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from preceptor.errors import few
from preceptor.recipes.reader import Recipe, TeacherRange
from preceptor.run.doctor.finding import Finding, Status
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher
from preceptor.teachers.check import TeacherPredictions
from preceptor.teachers.label_order import LabelOrder

SUM_TOLERANCE = 1e-2
"""How far a row of rounded probabilities may sum from 1, relatively."""

ROUNDING = 1e-6
"""How far below 0 a rounded probability may be."""

BATCH_TOLERANCE = 1e-3
"""How far, as a share of the largest logit, an image's logits may shift with the rest of the batch: rounding."""

FEWEST_LABELED = 50
"""On fewer labeled images a useful teacher may be no better than a constant one by chance."""

CHANGED_AT_MOST = 0.5
"""A correction that changes more than this share points at the whole teacher or labels, not at single samples."""


def accuracy_finding(
    order: LabelOrder, confusion: Int[Tensor, "labels outputs"], class_names: tuple[str, ...]
) -> Finding:
    """Whether the teacher beats always predicting the most frequent label."""
    images, predicted = int(confusion.sum()), (confusion.sum(dim=0) > 0).nonzero().flatten().tolist()
    constant = int(confusion.sum(dim=1).max()) / images
    numbers = {
        "images": images,
        "accuracy": order.accuracy,
        "constant_accuracy": constant,
        "classes_predicted": len(predicted),
    }
    message = f"the teacher is right on {order.accuracy:.2%} of {images:,} labeled training images"
    beats_constant = order.accuracy > constant + 2 * (constant * (1 - constant) / images) ** 0.5
    if beats_constant or _beats_chance_by_class(confusion):
        return Finding("teacher accuracy", "ok", message, "", numbers)
    message += f", not clearly more than always predicting one class ({constant:.2%})"
    if len(predicted) == 1:
        message += f"; it predicts {class_names[predicted[0]]!r} for every image"
    remedy = "make sure that it was trained on this data; check its weights, class order and normalization"
    status: Status = "problem" if images >= FEWEST_LABELED else "warning"
    return Finding("teacher accuracy", status, message, remedy, numbers)


def _beats_chance_by_class(confusion: Int[Tensor, "labels outputs"]) -> bool:
    """The mean over classes: where one class is frequent, a good teacher need not beat always predicting that one."""
    count = confusion.sum(dim=1).double()
    present = count > 0
    classes = int(present.sum())
    recall, chance = confusion.diagonal().double()[present] / count[present], 1 / classes
    deviation: float = (chance * (1 - chance) * float((1 / count[present]).sum())) ** 0.5 / classes
    return float(recall.mean()) > chance + 2 * deviation


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


def logits_finding(logits: Float[Tensor, "n classes"], name: str = "the teacher", kind: str = "network") -> Finding:
    """Whether a teacher's logits of several images vary, and are not probabilities or percentages.

    Args:
        logits: of a teacher called ``name``.
        kind: "network", "ONNX file", "file" or "cache alone", for the remedy.
    """
    unlike_first = int((logits != logits[:1]).any(dim=1).sum())
    flat = int((logits == logits[:, :1]).all(dim=1).sum())
    largest = float(logits.abs().max())
    numbers = {
        "images": len(logits),
        "unlike_the_first": unlike_first,
        "all_classes_equal": flat,
        "largest": largest,
    }
    if unlike_first == 0 or flat:
        equal = "images" if unlike_first == 0 else f"classes of {flat:,} of them"
        message = f"of {len(logits):,} images, the logits of {name} are the same for all {equal}"
        # An answer of "don't know" to a few images may be meant.
        status: Status = "problem" if unlike_first == 0 or flat > len(logits) / 2 else "warning"
        return Finding("teacher logits", status, message, "check its weights and the range of its input", numbers)
    whole = _whole(logits)
    if whole is None:
        message = f"finite, different from image to image and class to class, up to {largest:.4g} in size"
        return Finding("teacher logits", "ok", message, "", numbers)
    alike = "probabilities" if whole == 1 else "percentages"
    message = f"all logits of {name} are 0 or more and each row sums to {whole}: they look like {alike}"
    return Finding("teacher logits", "warning", message, _instead_of(alike, kind), numbers)


def _whole(logits: Float[Tensor, "n classes"]) -> int | None:
    """1 or 100 where each row sums to it and nothing is negative: logits of a network have no reason to."""
    total = logits.double().sum(dim=1)
    for whole in (1, 100):
        positive = logits >= -ROUNDING * whole
        if bool((positive.all(dim=1) & ((total - whole).abs() <= SUM_TOLERANCE * whole)).all()):
            return whole
    return None


def _instead_of(alike: str, kind: str) -> str:
    if kind == "network":
        return "remove the softmax at its end"
    option = "--teacher-output probabilities"
    if kind == "cache alone":
        return f"fill a new cache from the teacher, with {option} where it is a file or an ONNX file"
    if alike == "probabilities":
        return f"give {option}" + (", or export it without its softmax" if kind == "ONNX file" else "")
    return f"divide them by 100 and give {option}" if kind == "file" else "export it without softmax and scaling"


def views_finding(files: Sequence[Path], augmented: bool) -> Finding:
    """Whether a student is shown views that a teacher has not answered for: a file holds one output an image."""
    names = few([str(path) for path in files])
    message = f"{names}: one output an image, and the student sees the images as they are"
    if not augmented:
        return Finding("views", "ok", message, "", {"augmented": False})
    message = f"{names}: one output an image, while the student sees random views of it, which the teacher did not see"
    remedy = (
        "augment=false trains on the images as they are; a network or an ONNX file as teacher answers for every view"
    )
    return Finding("views", "warning", message, remedy, {"augmented": True})


def determinism_finding(
    networks: tuple[NetworkTeacher, ...],
    teacher: Teacher,
    images: UInt8[Tensor, "few channels height width"],
    index: Int[Tensor, " few"],
    view: int,
) -> Finding:
    """Whether the teacher is deterministic: frozen, in eval mode, and independent of the rest of the batch.

    It is queried as it teaches, optimized or through a cache; its networks are looked at as they came.
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


def selection_finding(distilled: Bool[Tensor, " n"]) -> Finding:
    """The share of the training images that the selection leaves to the teacher."""
    count, share = int(distilled.sum()), float(distilled.double().mean())
    numbers = {"images": len(distilled), "selected": count, "share": share}
    message = f"{count:,} of {len(distilled):,} training images are selected for distillation ({share:.2%})"
    return Finding("selection", "ok", message, "", numbers)


def disagreement_finding(
    answers: TeacherPredictions,
    correction: str | None,
    corrected: Bool[Tensor, " n"],
    audited: bool,
    weighs: bool = False,
) -> Finding:
    """How often teacher and label disagree, and what the recipe makes of it.

    A correction takes the label's side in every disagreement, unless it weighs the two or an audit says otherwise.

    Args:
        answers: on the training images.
        correction: name of the recipe's; None where it has none.
        corrected: the images that it changes.
        audited: whether the correction is limited by an audit.
        weighs: whether it weighs teacher and label by how far each can be believed.
    """
    wrong, labeled = answers.wrong, int(answers.labeled.sum())
    count, confidence = int(wrong.sum()), answers.confidence[wrong].double()
    # If its confidence can be believed, this is how often it is right where it contradicts a label.
    doubtful, taken = float(confidence.sum()), int((wrong & corrected).sum())
    numbers = {
        "images": labeled,
        "disagreements": count,
        "corrected": taken,
        "confidence": doubtful / max(count, 1),
    }
    message = f"teacher and label disagree on {count:,} of {labeled:,} images ({count / labeled:.2%})"
    if count == 0:
        return Finding("disagreements", "ok", message, "", numbers)
    message += (
        f", where its mean confidence is {doubtful / count:.0%}: if that can be believed, up to "
        f"{doubtful / labeled:.1%} of all labels are wrong"
    )
    if correction is not None and weighs:
        return Finding("disagreements", "ok", f"{message}; {correction} weighs the two", "", numbers)
    if correction is None or audited:
        side = "nobody is corrected"
        if correction is not None:
            side = f"by the audit {correction} corrects {taken:,} of them and leaves {count - taken:,} to the teacher"
        return Finding("disagreements", "ok", f"{message}; {side}", "", numbers)
    message += f"; {correction} takes the label's side on all of them"
    remedy = "preceptor audit says who is wrong; with --audit the correction keeps to the teacher's errors"
    return Finding("disagreements", "warning", message, remedy, numbers)


def range_finding(answers: TeacherPredictions, recipe: Recipe) -> Finding:
    """Whether the teacher is one that the recipe is for, by accuracy and confidence on the labeled training images."""
    labeled, suits = answers.labeled, recipe.suits or TeacherRange()
    accuracy = 1 - float(answers.wrong[labeled].double().mean())
    confidence = float(answers.confidence[labeled].double().mean())
    numbers = {"accuracy": accuracy, "confidence": confidence}
    message = f"the teacher names {accuracy:.1%} of the labels, with a mean confidence of {confidence:.1%}"
    outside = []
    if accuracy < suits.accuracy:
        outside.append(f"names {suits.accuracy:.0%} of them or more")
    if confidence - accuracy > suits.overconfidence:
        outside.append(f"is not surer than that by more than {100 * suits.overconfidence:.0f} points")
    if accuracy - confidence > suits.underconfidence:
        outside.append(f"is not less sure than that by more than {100 * suits.underconfidence:.0f} points")
    if not outside:
        return Finding("recipe", "ok", message, "", numbers)
    message += f"; this recipe is for one that {' and '.join(outside)}"
    return Finding("recipe", "warning", message, recipe.avoid, numbers)


def correction_finding(apply_to: str | None, affected: Bool[Tensor, " n"]) -> Finding:
    """The share of the training images whose teacher output the correction changes."""
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
