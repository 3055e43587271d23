"""One measure over the seeds of an arm."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from preceptor.metrics import PairedDifference, mean_and_deviation, paired_difference


class Measure(BaseModel):
    """Its values, their mean and deviation, and its differences to others.

    Attributes:
        values: one a seed.
        deviation: sample standard deviation (n - 1) over seeds; None with one seed.
        difference: paired over seeds, to the same measure of the arm's baseline under the same teacher; for a measure
            by reservation, to softmax response on the same networks. None without a baseline.
        second_difference: the same to the arm's second baseline.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    values: list[float]
    mean: float
    deviation: float | None
    difference: PairedDifference | None
    second_difference: PairedDifference | None = None

    @classmethod
    def of(
        cls,
        values: Sequence[float],
        baseline: Sequence[float] | None = None,
        second_baseline: Sequence[float] | None = None,
    ) -> "Measure":
        """Summarize the values of the seeds; the baselines hold theirs in the same order."""
        mean, deviation = mean_and_deviation(values)
        return cls(
            values=list(values),
            mean=mean,
            deviation=deviation,
            difference=None if baseline is None else paired_difference(values, baseline),
            second_difference=None if second_baseline is None else paired_difference(values, second_baseline),
        )
