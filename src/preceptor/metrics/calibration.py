"""Whether confidence is what it claims to be: reliability diagrams, and calibration errors.

A calibration error bins the samples by confidence and adds up, over the bins, the share of samples times how far their
accuracy lies from their mean confidence: ``sum_b (n_b / n) |accuracy_b - confidence_b|``. Since that is
``(1/n) sum_b |sum_{i in b} (right_i - confidence_i)|``, no bin is ever divided by its size, and empty ones count 0.

Bins of equal width are ``(low, high]``, the first with 0, so that the tied are always in one bin. Bins of equal mass
may have to part tied samples, or one sample: each bin then gets its fraction, the average over the orders of the tied.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.context import is_class
from preceptor.errors import InputError, unknown_name
from preceptor.metrics.checks import check_logits, checked_labels

BINS = 15
"""Guo et al., "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599."""

Binning = Literal["equal_width", "equal_mass"]

CalibrationOfDraws = Callable[[Int[Tensor, "draws n"]], Float[Tensor, " draws"]]
"""A calibration error of every draw, from how often each sample was drawn."""

BinSums = Callable[[Int[Tensor, "draws n"]], Float[Tensor, "draws bins columns"]]
"""The sums over each bin of what is known of every sample, from how often each was drawn."""


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: what was claimed and what came true, bin by bin; None where a bin is empty.

    Attributes:
        binning: "equal_width" or "equal_mass".
        samples: of each bin; a fraction where bins of equal mass part a sample.
        confidence: mean confidence of each bin.
        accuracy: share of right predictions in each bin.
    """

    binning: Binning
    samples: list[float]
    confidence: list[float | None]
    accuracy: list[float | None]


def reliability(
    confidence: Float[Tensor, " n"], right: Bool[Tensor, " n"], bins: int = BINS, binning: Binning = "equal_width"
) -> Reliability:
    """The reliability diagram of a confidence that claims to be the probability of being right.

    Args:
        confidence: from 0 to 1.
        right: whether the prediction is the label.
        bins: number of bins. Default 15.
        binning: "equal_width" (default) or "equal_mass".

    Raises:
        InputError: no sample, shapes that differ, a confidence outside [0, 1], or no bins.
    """
    _check(confidence, right, bins)
    columns = torch.stack([torch.ones_like(confidence.double()), confidence.double(), right.double()], dim=1)
    sums = _bin_sums(confidence, columns, bins, binning)(_once(confidence))[0]
    samples, claimed, came_true = sums.T.tolist()

    def per_sample(totals: list[float]) -> list[float | None]:
        return [total / size if size > 0 else None for total, size in zip(totals, samples, strict=True)]

    return Reliability(binning, samples, per_sample(claimed), per_sample(came_true))


def calibration_error(
    confidence: Float[Tensor, " n"], right: Bool[Tensor, " n"], bins: int = BINS, binning: Binning = "equal_width"
) -> float:
    """ECE, of bins of equal width; or adaptive ECE, of bins of equal mass. From 0 to 1, lower is better.

    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015; adaptive:
    Nixon et al., "Measuring Calibration in Deep Learning", 2019, arXiv:1904.01685.

    Args:
        confidence: from 0 to 1, such as the softmax response.
        right: whether the prediction is the label.
        bins: number of bins. Default 15.
        binning: "equal_width" (default) or "equal_mass".

    Raises:
        InputError: as `reliability`.
    """
    statistic = calibration_error_of_draws(confidence, right, bins, binning)
    return float(statistic(_once(confidence)))


def calibration_error_of_draws(
    confidence: Float[Tensor, " n"], right: Bool[Tensor, " n"], bins: int = BINS, binning: Binning = "equal_width"
) -> CalibrationOfDraws:
    """`calibration_error` as a function of how often each sample was drawn.

    Raises:
        InputError: as `reliability`.
    """
    _check(confidence, right, bins)
    gap = (right.double() - confidence.double())[:, None]
    sums = _bin_sums(confidence, gap, bins, binning)
    return lambda counts: sums(counts).abs().sum(dim=(1, 2)) / len(gap)


def classwise_calibration_error(
    probabilities: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], bins: int = BINS
) -> float:
    """Class-wise ECE: the mean over classes of the ECE of that class's probability, in bins of equal width.

    Kull et al., "Beyond Temperature Scaling: Obtaining Well-calibrated Multi-class Probabilities with Dirichlet
    Calibration", 2019, arXiv:1910.12656.

    Args:
        probabilities: of every class, from 0 to 1.
        labels: class numbers.
        bins: number of bins. Default 15.

    Raises:
        InputError: as `reliability`, or labels that are not one-dimensional, whole and as many.
    """
    check_logits("probabilities", probabilities)
    labels = checked_labels(labels, len(probabilities), "probabilities")
    return classwise_calibration_error_in_blocks([(probabilities, labels)], bins)


def classwise_calibration_error_in_blocks(
    blocks: Iterable[tuple[Float[Tensor, "rows classes"], Int[Tensor, " rows"]]], bins: int = BINS
) -> float:
    """`classwise_calibration_error` of probabilities and labels that come some rows at a time.

    Raises:
        InputError: as `reliability`.
    """
    gaps, rows = torch.zeros(0), 0
    for probabilities, labels in blocks:
        exact = probabilities.double()
        _check(exact.flatten(), is_class(exact, labels).flatten(), bins)
        here = _gaps(exact, labels, bins)
        gaps, rows = here if rows == 0 else gaps + here, rows + len(labels)
    return float(gaps.abs().sum(dim=1).mean()) / rows


def _gaps(
    probabilities: Float[Tensor, "rows classes"], labels: Int[Tensor, " rows"], bins: int
) -> Float[Tensor, "classes bins"]:
    """What came true less what was claimed, summed over the rows in each class's bins."""
    classes = probabilities.shape[1]
    slot = _bin_of(probabilities, bins) + bins * torch.arange(classes, device=probabilities.device)
    gap = is_class(probabilities, labels).double() - probabilities
    return slot.flatten().bincount(gap.flatten(), minlength=classes * bins).view(classes, bins)


def classwise_calibration_error_of_draws(
    probabilities: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], bins: int = BINS
) -> CalibrationOfDraws:
    """`classwise_calibration_error` as a function of how often each sample was drawn.

    Raises:
        InputError: as `reliability`.
    """
    by_class = [
        calibration_error_of_draws(probabilities[:, number], labels == number, bins)
        for number in range(probabilities.shape[1])
    ]
    return lambda counts: torch.stack([error(counts) for error in by_class]).mean(dim=0)


def _once(samples: Tensor) -> Int[Tensor, "1 n"]:
    return torch.ones(1, len(samples), dtype=torch.int64, device=samples.device)


def _bin_sums(confidence: Tensor, columns: Tensor, bins: int, binning: Binning) -> BinSums:
    if binning == "equal_width":
        return _equal_width(confidence, columns, bins)
    if binning == "equal_mass":
        return _equal_mass(confidence, columns, bins)
    raise unknown_name("binning", binning, ("equal_width", "equal_mass"))


def _equal_width(confidence: Tensor, columns: Tensor, bins: int) -> BinSums:
    place = _bin_of(confidence, bins)

    def sums(counts: Tensor) -> Tensor:
        draws = len(counts)
        slot = (place + bins * torch.arange(draws, device=counts.device)[:, None]).flatten()
        weights = ((counts * column).flatten() for column in columns.T)
        totals = [slot.bincount(weight, minlength=draws * bins).view(draws, bins) for weight in weights]
        return torch.stack(totals, dim=2)

    return sums


def _bin_of(confidence: Float[Tensor, "*shape"], bins: int) -> Int[Tensor, "*shape"]:
    """In which of the bins of equal width each is."""
    edges = torch.arange(1, bins, dtype=torch.float64, device=confidence.device) / bins
    return torch.bucketize(confidence.double().contiguous(), edges)


def _equal_mass(confidence: Tensor, columns: Tensor, bins: int) -> BinSums:
    ordered, position = confidence.sort()
    ends = torch.unique_consecutive(ordered, return_counts=True)[1].cumsum(dim=0)
    weighted = torch.cat([torch.ones_like(columns[:, :1]), columns], dim=1)[position]

    def sums(counts: Tensor) -> Tensor:
        through = (counts.double()[:, position, None] * weighted).cumsum(dim=1)[:, ends - 1]
        through = torch.cat([torch.zeros_like(through[:, :1]), through], dim=1)
        share = torch.arange(bins + 1, dtype=torch.float64, device=counts.device) / bins
        at_edges = _interpolated(through, len(position) * share.repeat(len(counts), 1))
        return at_edges.diff(dim=1)

    return sums


def _interpolated(
    through: Float[Tensor, "draws tiers columns"], mass: Float[Tensor, "draws edges"]
) -> Float[Tensor, "draws edges columns"]:
    """What has been added up, linear within each tier, where so much mass has gone by; column 0 holds the mass."""
    high = torch.searchsorted(through[:, :, 0].contiguous(), mass).clamp(min=1, max=through.shape[1] - 1)
    above, below = (through.gather(1, at[:, :, None].expand(-1, -1, through.shape[2])) for at in (high, high - 1))
    width = above[:, :, :1] - below[:, :, :1]
    part = torch.where(width > 0, (mass[:, :, None] - below[:, :, :1]) / width, 0)
    return (below + part * (above - below))[:, :, 1:]


def _check(confidence: Tensor, right: Tensor, bins: int) -> None:
    if confidence.shape != right.shape or confidence.ndim != 1 or len(confidence) == 0:
        shapes = f"{list(confidence.shape)} and {list(right.shape)}"
        raise InputError(f"confidence and right have the shapes {shapes}: give one number a sample for each")
    if bins < 1:
        raise InputError(f"{bins} bins: give at least 1, for example {BINS}")
    astray = ~((confidence >= 0) & (confidence <= 1))
    if astray.any():
        first = int(astray.nonzero()[0])
        raise InputError(f"sample {first}: confidence {float(confidence[first])} is no probability: give 0 to 1")
