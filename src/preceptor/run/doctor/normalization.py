"""Check of the normalization: whether a teacher is clearly better under another one than the stated."""

from collections.abc import Callable, Mapping
from copy import copy

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from preceptor.context import predicted_class
from preceptor.data import Normalization
from preceptor.errors import InputError
from preceptor.models.sized import SizedNormalization
from preceptor.run.doctor.finding import Finding
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.onnx import OnnxTeacher

CLEARLY = 0.05
"""Another normalization is clearly better when it gains more than this share of the images, and ..."""

DEVIATIONS = 2.0
"""... more than so many standard errors of the paired difference on top."""

SAME = 1e-3
"""Two normalizations are the same when no mean or deviation differs by more, relative to the deviation."""

_AT_ONCE = 256


def common_normalizations(channels: int, own: Normalization) -> dict[str, Normalization]:
    """Normalizations that networks are commonly trained with, by name; the data set's own first."""
    common = {"the data set's own": own}
    for name, mean, std in (
        ("none (0 to 1)", 0.0, 1.0),
        ("none (0 to 255)", 0.0, 1 / 255),
        ("mean 0.5, std 0.5", 0.5, 0.5),
    ):
        common[name] = Normalization((mean,) * channels, (std,) * channels)
    if channels == 3:
        common["ImageNet's"] = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        common["CIFAR-10's"] = Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
        common["CIFAR-100's"] = Normalization((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
    return common


def unnormalized_finding(name: str, kind: str) -> Finding:
    """What it means that a teacher, called ``name``, has no normalization: none can be tried."""
    if kind == "ONNX file":
        message = f"{name} takes pixels of 0 to 255 and normalizes them itself: no other was tried"
    elif kind == "network":
        message = f"{name} takes pixels as they are: no normalization was tried"
    else:
        message = (
            f"{name} is a {kind}: its outputs are made already, and whether its images were normalized as in its "
            "training shows in its accuracy alone"
        )
    return Finding("normalization", "ok", message, "", {"kind": kind})


def normalization_finding(
    name: str,
    teacher: NetworkTeacher | OnnxTeacher,
    images: UInt8[Tensor, "n channels height width"],
    labels: Int[Tensor, " n"],
    others: Mapping[str, Normalization],
    progress: Callable[[str], None] = lambda check: None,
) -> Finding:
    """Whether a teacher is clearly better under another normalization than under its own. It is not changed.

    Args:
        name: of the teacher, for messages.
        teacher: has a normalization.
        images: on its device.
        labels: of each image the output that is right; none is missing.
        others: normalizations to try, by name.
        progress: called before each of them.
    """
    assert isinstance(teacher.normalize, Normalization)
    progress(f"normalization of {name}: as stated")
    stated = _correct(teacher, teacher.normalize, images, labels)
    different = {other: normalize for other, normalize in others.items() if not _same(teacher.normalize, normalize)}
    right = {}
    for other, normalize in different.items():
        progress(f"normalization of {name}: {other}")
        right[other] = _correct(teacher, normalize, images, labels)
    accuracies = {other: float(correct.mean()) for other, correct in right.items()}
    numbers = {"images": len(images), "stated": float(stated.mean()), "others": accuracies}
    message = f"{name} is right on {float(stated.mean()):.2%} of {len(images):,} images, normalized as stated"
    best = max(right, key=lambda other: float((right[other] - stated).mean()), default=None)
    if best is None:
        return Finding("normalization", "ok", message, "", numbers)
    if not clearly_better(right[best] - stated):
        message += f"; on at most {accuracies[best]:.2%} with another normalization ({best})"
        return Finding("normalization", "ok", message, "", numbers)
    message += f"; on {accuracies[best]:.2%} with another normalization: {best}"
    return Finding(
        "normalization", "problem", message, f"if it was trained so, {_remedy(teacher, different[best])}", numbers
    )


def _remedy(teacher: NetworkTeacher | OnnxTeacher, normalization: Normalization) -> str:
    mean, std = (",".join(f"{value:.4g}" for value in values) for values in (normalization.mean, normalization.std))
    if isinstance(teacher, OnnxTeacher):
        return f"give --teacher-mean {mean} --teacher-std {std}"
    return f"state mean [{mean}] and std [{std}] in its student.json"


def clearly_better(gain: Float[Tensor, " n"]) -> bool:
    """Whether the gain, by image, is beyond noise, and large enough to report."""
    error: float = float(gain.std(correction=0)) / len(gain) ** 0.5
    return float(gain.mean()) > CLEARLY + DEVIATIONS * error


def _correct(
    teacher: NetworkTeacher | OnnxTeacher, normalization: Normalization, images: Tensor, labels: Tensor
) -> Float[Tensor, " n"]:
    """For each image 1 where the teacher is right under a normalization, else 0."""
    changed, stated = copy(teacher), teacher.normalize
    changed.normalize = normalization
    if isinstance(stated, SizedNormalization):  # of images that are resized for it, whatever their normalization
        changed.normalize = SizedNormalization(normalization.mean, normalization.std, stated.size)
    parts = zip(images.split(_AT_ONCE), torch.arange(len(images)).split(_AT_ONCE), strict=True)
    try:
        logits = torch.cat([changed.outputs(part, at, torch.zeros_like(at)).logits.cpu() for part, at in parts])
    except InputError:  # an ONNX teacher refuses what is not finite
        return torch.zeros(len(images), dtype=torch.float64)
    # A network that overflows under a wrong normalization predicts wrongly; that is no error.
    return (predicted_class(torch.nan_to_num(logits)) == labels.cpu()).double()


def _same(first: Normalization, second: Normalization) -> bool:
    shift = np.abs(np.array(first.mean) - np.array(second.mean)) / np.array(first.std)
    stretch = np.abs(np.array(second.std) / np.array(first.std) - 1)
    return bool(max(shift.max(), stretch.max()) <= SAME)
