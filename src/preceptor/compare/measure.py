"""One measure over the seeds of an arm."""

from collections.abc import Sequence
from typing import Self

from preceptor.config import FrozenModel
from preceptor.metrics import mean_and_deviation


class Measure(FrozenModel):
    """Its values and their mean.

    Attributes:
        values: one a seed.
        deviation: sample standard deviation (n - 1) over seeds; None with one seed.
    """

    values: list[float]
    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarize the values of the seeds."""
        mean, deviation = mean_and_deviation(values)
        return cls(values=list(values), mean=mean, deviation=deviation)
