"""Normalization: would a network know more if its images were normalized otherwise?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from preceptor.context import predicted_class
from preceptor.data import Normalization
from preceptor.metrics.logits import network_logits
from preceptor.run.doctor.finding import Finding
from preceptor.teachers import NetworkTeacher

LOOKED_AT = 1000
"""At most so many labeled images are shown under each normalization."""

CLEARLY = 0.05
"""Another normalization is clearly better when it gains more than this share of the images, and ..."""

DEVIATIONS = 2.0
"""... more than so many standard errors of the paired difference on top."""

SAME = 1e-3
"""Two normalizations are the same when no mean or deviation differs by more, relative to the deviation."""


def common_normalizations(channels: int, own: Normalization) -> dict[str, Normalization]:
    """Those that networks are usually trained with, by name.

    Args:
        channels: of the images.
        own: the data set's.
    """

    def of(mean: float, std: float) -> Normalization:
        return Normalization((mean,) * channels, (std,) * channels)

    common = {
        "the data set's own": own,
        "none (0 to 1)": of(0.0, 1.0),
        "none (0 to 255)": of(0.0, 1 / 255),
        "mean 0.5, std 0.5": of(0.5, 0.5),
    }
    if channels == 3:
        common["ImageNet's"] = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return common


@dataclass(frozen=True)
class Rival:
    """What a network knows under another normalization than the one stated.

    Attributes:
        name: of the other.
        normalization: the other.
        accuracy: under it.
        gain: of accuracy.
        error: standard error of the gain, the images being the same.
    """

    name: str
    normalization: Normalization
    accuracy: float
    gain: float
    error: float

    @property
    def clearly_better(self) -> bool:
        """Beyond noise, and by more than is worth a word."""
        return self.gain > CLEARLY + DEVIATIONS * self.error


def rivals(
    teacher: NetworkTeacher,
    images: UInt8[Tensor, "n channels height width"],
    labels: Int[Tensor, " n"],
    others: Mapping[str, Normalization],
) -> tuple[float, list[Rival]]:
    """A network's accuracy as stated, and under every other normalization.

    Args:
        teacher: the network, as it came.
        images: as they are, on its device.
        labels: of them, as the numbers of the outputs that should answer; none is missing.
        others: by name; those that are the stated one are left out.
    """
    stated = _right(teacher, teacher.normalize, images, labels)
    found = []
    for name, other in others.items():
        if not _same(teacher.normalize, other):
            right = _right(teacher, other, images, labels)
            gain = right.double() - stated.double()
            error = float(gain.std(correction=0)) / len(gain) ** 0.5
            found.append(Rival(name, other, float(right.double().mean()), float(gain.mean()), error))
    return float(stated.double().mean()), found


def normalization_finding(whose: str, stated: float, others: list[Rival], images: int) -> Finding:
    """Whether another normalization is clearly better than the one stated.

    Args:
        whose: which network, in words.
        stated: its accuracy.
        others: its accuracy under others.
        images: how many were looked at.
    """
    numbers = {"images": images, "stated": stated, "others": {other.name: other.accuracy for other in others}}
    best = max(others, key=lambda other: other.gain, default=None)
    found = f"{whose} is right on {stated:.2%} of {images:,} images, normalized as stated"
    if best is None or not best.clearly_better:
        most = "" if best is None else f", and on {best.accuracy:.2%} at most, otherwise ({best.name})"
        return Finding("normalization", "ok", found + most, "", numbers)
    mean, std = _shown(best.normalization.mean), _shown(best.normalization.std)
    return Finding(
        "normalization",
        "problem",
        f"{found}, and on {best.accuracy:.2%} with another normalization: {best.name}",
        f"state mean {mean} and std {std} for it (in student.json of its run folder), if it was trained so",
        numbers,
    )


def _right(teacher: NetworkTeacher, normalize: Normalization, images: Tensor, labels: Tensor) -> Bool[Tensor, " n"]:
    logits = network_logits(teacher.network, normalize, images)[:, : teacher.classes]
    return predicted_class(torch.nan_to_num(logits)) == labels.cpu()


def _same(first: Normalization, second: Normalization) -> bool:
    apart = np.abs(np.array(first.mean) - np.array(second.mean)) / np.array(first.std)
    stretched = np.abs(np.array(second.std) / np.array(first.std) - 1)
    return bool(max(apart.max(), stretched.max()) <= SAME)


def _shown(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"
