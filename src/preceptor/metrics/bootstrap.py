"""How far a metric could be off by the luck of which samples were drawn: percentile bootstrap over samples.

A metric is stated as a function of how often each sample was drawn, so that many draws are computed at once, and so
that all metrics of a report, or two students, are computed on the same draws: they are paired.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.chunking import Table
from preceptor.errors import InputError
from preceptor.metrics.checks import check_seed, check_share, whole_number

Statistics = Callable[[Int[Tensor, "draws n"]], Mapping[str, Float[Tensor, "draws ..."]]]
"""Metrics by name, each for every draw, from how often each sample was drawn (every row adds up to n). A metric may be
a number or a curve; NaN where a draw leaves it undefined."""

ELEMENTS_AT_ONCE = 2**17
"""Draws times samples that are computed at a time: 1 MB for each array, which stays in a processor's cache."""


@dataclass(frozen=True)
class Estimate:
    """A metric and its bootstrap interval; None for what is not defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Interval:
    """A metric, number or curve, and its bootstrap interval point by point; NaN for what is not defined."""

    value: Float[Tensor, "..."]
    low: Float[Tensor, "..."]
    high: Float[Tensor, "..."]

    def estimates(self) -> list[Estimate]:
        """One for each value, ready for JSON."""
        columns = (each.flatten().tolist() for each in (self.value, self.low, self.high))
        return [Estimate(*map(_or_none, row)) for row in zip(*columns, strict=True)]

    def estimate(self) -> Estimate:
        """Of a metric that is one number."""
        (only,) = self.estimates()
        return only


def bootstrap_intervals(
    statistics: Statistics, n: int, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """The value of each metric on the samples, and its percentile bootstrap interval.

    Samples are drawn with replacement, n at a time; the interval holds the middle of the metric over the draws that
    define it. It speaks of the samples, as if the network were fixed: another seed of training varies on top of that.

    Args:
        statistics: the metrics.
        n: number of samples.
        resamples: draws. Default 1000 (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, for intervals).
        confidence: share of the draws inside. Default 0.95.
        seed: of the draws.

    Raises:
        InputError: a number that is out of range, or statistics that are not, by the same names every time, tensors of
            real numbers with one row a draw, all of one shape.
    """
    if not (whole_number(n) and whole_number(resamples)) or n < 1 or resamples < 1:
        raise InputError(f"{resamples} resamples of {n} samples: give at least one of each, in whole numbers")
    check_share("confidence", confidence, 0.95)
    check_seed(seed)
    values = _checked(statistics(torch.ones(1, n, dtype=torch.int64)), 1)
    generator = torch.Generator().manual_seed(seed)
    at_once = max(1, ELEMENTS_AT_ONCE // n)
    sizes = [min(at_once, resamples - done) for done in range(0, resamples, at_once)]
    # Kept one by one, thousands of small results would pin the memory between them: gigabytes of a report's.
    drawn = {name: Table(resamples) for name in values}
    for size in sizes:
        for name, part in _checked(statistics(_draws(size, n, generator)), size, values).items():
            drawn[name].add(part)
    return {name: _middle(value[0], drawn[name].rows, confidence) for name, value in values.items()}


def difference(first: Statistics, second: Statistics) -> Statistics:
    """The metrics of one minus those of the other, on the same draws; for two students on the same samples.

    What it returns raises InputError where the metrics of the two differ in name.
    """

    def statistics(counts: Int[Tensor, "draws n"]) -> dict[str, Tensor]:
        own, others = first(counts), second(counts)
        if own.keys() != others.keys():
            raise InputError(f"metrics {sorted(own)} and {sorted(others)}: give the same of both, to be subtracted")
        return {name: value - others[name] for name, value in own.items()}

    return statistics


def of_resamples(metric: Callable[..., float], *columns: Tensor) -> Statistics:
    """Any metric of tensors with one row a sample, draw by draw: slower, and needs nothing but the metric.

    Args:
        metric: called with the drawn rows of each column; its result goes by the name "value".
        columns: one row a sample each.
    """
    rows = torch.arange(len(columns[0]))

    def statistics(counts: Int[Tensor, "draws n"]) -> dict[str, Tensor]:
        drawn = (rows.repeat_interleave(count) for count in counts)
        found = [metric(*(column[index] for column in columns)) for index in drawn]
        return {"value": torch.tensor(found, dtype=torch.float64)}

    return statistics


def means(counts: Int[Tensor, "draws n"], values: Float[Tensor, "n columns"]) -> Float[Tensor, "draws columns"]:
    """The mean over each draw of what is known of the samples; NaN is not known, nor the mean of nothing."""
    weight, known = counts.double(), ~values.isnan()
    return weight @ values.double().where(known, 0) / (weight @ known.double())


def _draws(draws: int, n: int, generator: torch.Generator) -> Int[Tensor, "draws n"]:
    drawn = torch.randint(n, (draws, n), generator=generator)
    return (drawn + n * torch.arange(draws)[:, None]).flatten().bincount(minlength=draws * n).view(draws, n)


def _checked(
    values: Mapping[str, Tensor], draws: int, before: Mapping[str, Tensor] | None = None
) -> Mapping[str, Tensor]:
    """What statistics gave, where it is as they should: for so many draws, and like what they gave before."""
    if not isinstance(values, Mapping):
        raise InputError(f"statistics of type {type(values).__name__}: give tensors by the names of the metrics")
    if before is not None and values.keys() != before.keys():
        astray = sorted(map(str, values.keys() ^ before.keys()))
        raise InputError(f"metric {astray[0]!r} is there for some draws only: give the same metrics for all")
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.is_complex():
            kind = value.dtype if isinstance(value, Tensor) else f"type {type(value).__name__}"
            raise InputError(f"metric {name!r} is of {kind}: give a tensor of real numbers, one row a draw")
        row = None if before is None else before[name].shape[1:]
        if value.dim() == 0 or len(value) != draws or row not in (None, value.shape[1:]):
            form = [draws, *(value.shape[1:] if row is None else row)]
            raise InputError(f"metric {name!r} has the shape {list(value.shape)}, not {form}: give one row a draw")
    return values


def _middle(value: Tensor, drawn: Tensor, confidence: float) -> Interval:
    tails = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    low, high = drawn.double().nanquantile(tails, dim=0)
    return Interval(value.double(), low, high)


def _or_none(value: float) -> float | None:
    return value if value == value else None
