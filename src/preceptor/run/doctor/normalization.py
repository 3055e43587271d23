"""Check of the normalization: whether a teacher is clearly better under another one than the stated."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from preceptor.context import predicted_class
from preceptor.data import Normalization
from preceptor.errors import InputError
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
    """Normalizations that networks are commonly trained with, by name.

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
    """A teacher's accuracy under another normalization than the stated one.

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
    teacher: NetworkTeacher | OnnxTeacher,
    images: UInt8[Tensor, "n channels height width"],
    labels: Int[Tensor, " n"],
    others: Mapping[str, Normalization],
) -> tuple[float, list[AlternativeNormalization]]:
    """A teacher's accuracy as stated, and under every other normalization.

    Args:
        teacher: as it came, with a normalization; not changed.
        images: 0 to 255, on its device.
        labels: the output that is right for each image; none is missing.
        others: by name; those equal to the stated one are left out.
    """

    def correct(normalization: Normalization) -> Float[Tensor, " n"]:
        changed = copy(teacher)
        changed.normalize = normalization
        index = torch.arange(len(images))
        parts = zip(images.split(_AT_ONCE), index.split(_AT_ONCE), strict=True)
        try:
            logits = torch.cat([changed.outputs(part, at, torch.zeros_like(at)).logits.cpu() for part, at in parts])
        except InputError:  # an ONNX teacher refuses what is not finite
            return torch.zeros(len(images), dtype=torch.float64)
        # A network that overflows under a wrong normalization predicts wrongly; that is no error.
        return (predicted_class(torch.nan_to_num(logits)) == labels.cpu()).double()

    assert teacher.normalize is not None
    stated, alternatives = correct(teacher.normalize), []
    for name, other in others.items():
        if not _same(teacher.normalize, other):
            right = correct(other)
            gain = right - stated
            error = float(gain.std(correction=0)) / len(gain) ** 0.5
            alternatives.append(AlternativeNormalization(name, other, float(right.mean()), float(gain.mean()), error))
    return float(stated.mean()), alternatives


def normalization_finding(
    teacher: str, stated: float, alternatives: list[AlternativeNormalization], images: int
) -> Finding:
    """Whether another normalization is clearly better than the stated one.

    Args:
        teacher: which one, in words.
        stated: its accuracy as stated.
        alternatives: its accuracy under others.
        images: how many were classified.
    """
    numbers = {"images": images, "stated": stated, "others": {one.name: one.accuracy for one in alternatives}}
    best = max(alternatives, key=lambda one: one.gain, default=None)
    message = f"{teacher} is right on {stated:.2%} of {images:,} images, normalized as stated"
    if best is None or not best.clearly_better:
        most = "" if best is None else f"; on at most {best.accuracy:.2%} with another normalization ({best.name})"
        return Finding("normalization", "ok", message + most, "", numbers)
    message += f"; on {best.accuracy:.2%} with another normalization: {best.name}"
    mean, std = (
        "[" + ",".join(f"{value:.4g}" for value in values) + "]"
        for values in (best.normalization.mean, best.normalization.std)
    )
    remedy = (
        f"if it was trained so, state mean {mean} and std {std}: of a run folder in student.json, of an ONNX file by "
        f"teacher_normalization.mean={mean} teacher_normalization.std={std}"
    )
    return Finding("normalization", "problem", message, remedy, numbers)


def _same(first: Normalization, second: Normalization) -> bool:
    shift = np.abs(np.array(first.mean) - np.array(second.mean)) / np.array(first.std)
    stretch = np.abs(np.array(second.std) / np.array(first.std) - 1)
    return bool(max(shift.max(), stretch.max()) <= SAME)
