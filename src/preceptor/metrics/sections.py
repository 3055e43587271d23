"""The sections of a report: each knows its metrics for any draw of the samples, and writes itself up.

All sections are computed on the same draws, so that what they say is paired.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.chunking import chunked, concat_rows, row_chunks
from preceptor.metrics.accuracy import brier_score, negative_log_likelihood, topk_correct
from preceptor.metrics.agreement import copied_error, divergence_from_teacher, rank_correlation, same_answer
from preceptor.metrics.bootstrap import Estimate, Interval, bootstrap_intervals, means
from preceptor.metrics.calibration import (
    CalibrationOfDraws,
    calibration_error_of_draws,
    classwise_calibration_error_in_blocks,
    classwise_calibration_error_of_draws,
    reliability,
)
from preceptor.metrics.ranking import Order, in_order
from preceptor.metrics.report import CalibrationReport, Curve, ScaledReport, SelectiveReport
from preceptor.metrics.scores import answered_class, softmax_response
from preceptor.metrics.selective import COVERAGES, RISKS, samples_kept
from preceptor.metrics.temperature import TemperatureFit

MOST_CLASSES = 100
"""Up to so many classes the class-wise ECE gets an interval; with more its draws would cost more than all else."""


AREAS = ("aurc", "excess_aurc", "excess_aurc_asymptotic", "augrc", "auroc")


class Section(Protocol):
    """What a report asks of its sections."""

    def statistics(self, counts: Int[Tensor, "draws n"]) -> Mapping[str, Float[Tensor, "draws ..."]]:
        """The section's metrics, from how often each sample was drawn."""

    def report(self, found: Mapping[str, Interval]) -> Any:
        """Writes up what they came to."""


def measure(sections: Mapping[str, Section], n: int, resamples: int, confidence: float, seed: int) -> dict[str, Any]:
    """What every section reports, all of them measured on the same draws of n samples."""

    def statistics(counts: Int[Tensor, "draws n"]) -> dict[str, Tensor]:
        measured = ((name, section.statistics(counts)) for name, section in sections.items())
        return {f"{name}/{metric}": value for name, metrics in measured for metric, value in metrics.items()}

    found = bootstrap_intervals(statistics, n, resamples=resamples, confidence=confidence, seed=seed)
    own: dict[str, dict[str, Interval]] = {name: {} for name in sections}
    for path, interval in found.items():
        name, metric = path.rsplit("/", 1)
        own[name][metric] = interval
    return {name: section.report(own[name]) for name, section in sections.items()}


@dataclass(frozen=True)
class MeanSection:
    """Means of what is known of every sample, by name; NaN is not known."""

    values: Mapping[str, Float[Tensor, " n"]]

    def statistics(self, counts: Int[Tensor, "draws n"]) -> Mapping[str, Tensor]:
        """The means."""
        columns = torch.stack([values.double() for values in self.values.values()], dim=1)
        return dict(zip(self.values, means(counts, columns).unbind(dim=1), strict=True))

    def report(self, found: Mapping[str, Interval]) -> dict[str, Estimate]:
        """The means by name."""
        return {name: interval.estimate() for name, interval in found.items()}


def basic_section(logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> MeanSection:
    """Accuracy and mean confidence."""
    values = {"accuracy": answered_class(logits) == labels, "mean_confidence": softmax_response(logits)}
    if logits.shape[1] > 5:
        values["top5_accuracy"] = topk_correct(logits, labels, 5)
    return MeanSection(values)


def agreement_section(
    logits: Float[Tensor, "n classes"], teacher: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]
) -> MeanSection:
    """The means that an `AgreementReport` holds, by its names."""
    return MeanSection(
        {
            "same_answer": same_answer(logits, teacher),
            "divergence": divergence_from_teacher(logits, teacher),
            "rank_correlation": rank_correlation(logits, teacher),
            "copied_error": copied_error(logits, teacher, labels),
            "teacher_accuracy": answered_class(teacher) == labels,
        }
    )


@dataclass(frozen=True)
class CalibrationSection:
    """Proper scores and calibration errors.

    Args:
        logits: of the real classes.
        labels: all known.
        temperature: to divide the logits by, in float64. Default None: they are taken as they are.
    """

    logits: Float[Tensor, "n classes"]
    labels: Int[Tensor, " n"]
    temperature: float | None = None

    def statistics(self, counts: Int[Tensor, "draws n"]) -> Mapping[str, Tensor]:
        """All but the diagram."""
        found = {name: error(counts) for name, error in self._errors.items()}
        return {**self._scores.statistics(counts), **found}

    def report(self, found: Mapping[str, Interval]) -> CalibrationReport:
        """Writes it up."""
        estimates = {name: interval.estimate() for name, interval in found.items()}
        if "classwise_ece" not in estimates:
            value = classwise_calibration_error_in_blocks(self._probabilities())
            estimates["classwise_ece"] = Estimate(value, None, None)
        return CalibrationReport(**estimates, reliability=reliability(self.confidence, self._right))

    @cached_property
    def confidence(self) -> Float[Tensor, " n"]:
        """The softmax response."""
        return chunked(lambda logits: softmax_response(self._tempered(logits)))(self.logits)

    def _tempered(self, logits: Tensor) -> Tensor:
        return logits if self.temperature is None else logits.double() / self.temperature

    def _probabilities(self) -> Iterator[tuple[Tensor, Tensor]]:
        """With their labels, some samples at a time."""
        for logits, labels in row_chunks(self.logits, self.labels):
            yield self._tempered(logits).double().softmax(dim=1), labels

    @cached_property
    def _right(self) -> Tensor:
        return answered_class(self.logits) == self.labels

    @cached_property
    def _scores(self) -> MeanSection:
        scores = {"nll": negative_log_likelihood, "brier": brier_score}
        return MeanSection({name: self._of_each(score) for name, score in scores.items()})

    def _of_each(self, score: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return chunked(lambda logits, labels: score(self._tempered(logits), labels))(self.logits, self.labels)

    @cached_property
    def _errors(self) -> dict[str, CalibrationOfDraws]:
        found = {
            "ece": calibration_error_of_draws(self.confidence, self._right),
            "adaptive_ece": calibration_error_of_draws(self.confidence, self._right, binning="equal_mass"),
        }
        if self.logits.shape[1] <= MOST_CLASSES:
            probabilities = concat_rows((block for block, _ in self._probabilities()), len(self.labels))
            found["classwise_ece"] = classwise_calibration_error_of_draws(probabilities, self.labels)
        return found


@dataclass(frozen=True)
class SelectiveSection:
    """What it does when it may decline, by one score.

    Args:
        score: its name.
        options: what the score was given.
        order: of the samples, by it.
    """

    score: str
    options: Mapping[str, float]
    order: Order

    @cached_property
    def _curve(self) -> list[int]:
        """How many samples are kept at each percent, as far as they differ."""
        n = len(self.order.wrong)
        least = max(1, -(-50 // n))
        return sorted({samples_kept(n, percent / 100) for percent in range(least, 101)})

    def statistics(self, counts: Int[Tensor, "draws n"]) -> Mapping[str, Tensor]:
        """Areas, the errors at the usual coverages, the coverages at the usual risks, and the curve."""
        ranking = self.order.drawn(counts)
        kept = [samples_kept(ranking.n, percent / 100) for percent in COVERAGES]
        return {
            "aurc": ranking.aurc,
            "excess_aurc": ranking.excess_aurc(),
            "excess_aurc_asymptotic": ranking.excess_aurc("asymptotic"),
            "augrc": ranking.augrc(),
            "auroc": ranking.auroc(),
            "error_at_coverage": ranking.error_among(kept),
            "coverage_at_risk": ranking.coverage_at_risk([percent / 100 for percent in RISKS]),
            "curve": ranking.error_among(self._curve),
        }

    def report(self, found: Mapping[str, Interval]) -> SelectiveReport:
        """Writes it up."""
        band = found["curve"]
        coverage = [kept / len(self.order.wrong) for kept in self._curve]
        return SelectiveReport(
            score=self.score,
            options=self.options,
            error_at_coverage=_by_percent(COVERAGES, found["error_at_coverage"]),
            coverage_at_risk=_by_percent(RISKS, found["coverage_at_risk"]),
            **{area: found[area].estimate() for area in AREAS},
            curve=Curve(coverage, *(line.tolist() for line in (band.value, band.low, band.high))),
        )


@dataclass(frozen=True)
class ScaledSection:
    """What temperature scaling makes of it.

    Args:
        fit: the temperature.
        logits: of the real classes, as they are.
        labels: all known.
    """

    fit: TemperatureFit
    logits: Float[Tensor, "n classes"]
    labels: Int[Tensor, " n"]

    def statistics(self, counts: Int[Tensor, "draws n"]) -> Mapping[str, Tensor]:
        """Those of the scaled probabilities, and the AURC by them."""
        return {**self._calibration.statistics(counts), "aurc": self._order.drawn(counts).aurc}

    def report(self, found: Mapping[str, Interval]) -> ScaledReport:
        """Writes it up."""
        calibration = {name: interval for name, interval in found.items() if name != "aurc"}
        return ScaledReport(self.fit, self._calibration.report(calibration), found["aurc"].estimate())

    @cached_property
    def _calibration(self) -> CalibrationSection:
        return CalibrationSection(self.logits, self.labels, self.fit.temperature)

    @cached_property
    def _order(self) -> Order:
        return in_order(self._calibration.confidence, answered_class(self.logits) != self.labels)


def _by_percent(percents: tuple[int, ...], found: Interval) -> dict[str, Estimate]:
    return {str(percent): estimate for percent, estimate in zip(percents, found.estimates(), strict=True)}
