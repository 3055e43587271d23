"""How often each class is taken for another."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from preceptor.compare.format import percent

MOST_CLASSES = 30
"""Classes a chart shows at most, the worst ones."""


@dataclass(frozen=True)
class ClassError:
    """How often one class is taken for another: the mean share over the seeds that have images of it, and each seed's.

    NaN where there is no image.
    """

    name: str
    mean: float
    seeds: list[float]


def class_errors(names: Iterable[str], shares: Iterable[Sequence[float | None]]) -> list[ClassError]:
    """The errors by class, from each seed's share wrong of every class, the worst first, those without images last."""
    errors = []
    for name, column in zip(names, zip(*shares, strict=True), strict=True):
        seeds = [math.nan if share is None else share for share in column]
        known = [share for share in seeds if not math.isnan(share)]
        errors.append(ClassError(name, fmean(known) if known else math.nan, seeds))
    return sorted(errors, key=lambda error: (math.isnan(error.mean), -error.mean))


def error_share(share: float) -> str:
    """A share wrong as per cent; "no image" for NaN."""
    return "no image" if math.isnan(share) else percent(share, 1)
