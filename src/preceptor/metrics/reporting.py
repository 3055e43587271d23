"""The full evaluation of a classifier on one set: every metric, with an interval over the same draws of the samples."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.chunking import chosen_rows, chunked, concat_rows, row_chunks
from preceptor.context import UNLABELED
from preceptor.errors import InputError
from preceptor.metrics.accuracy import brier_score, negative_log_likelihood, right_by_class, topk_correct
from preceptor.metrics.agreement import copied_error, divergence_from_teacher, rank_correlation, same_answer
from preceptor.metrics.bootstrap import Estimate, Interval, Measure, bootstrap_intervals, share_estimate, share_interval
from preceptor.metrics.calibration import (
    ClassBins,
    calibration_error,
    class_bins,
    class_error,
    reliability,
)
from preceptor.metrics.checks import check_finite, check_inputs
from preceptor.metrics.logit_norm import choose_p_norm
from preceptor.metrics.report import (
    AgreementReport,
    CalibrationReport,
    Confusion,
    Curve,
    FullReport,
    PartReport,
    ScaledReport,
    SelectiveReport,
)
from preceptor.metrics.score_registry import Predictions, confidence, known_scores
from preceptor.metrics.scores import answered_class, softmax_response
from preceptor.metrics.selective import COVERAGES, RISKS, Ranking, aurc, samples_kept
from preceptor.metrics.temperature import fit_temperature

HeldOut = tuple[Predictions, Int[Tensor, " n"]]
"""Samples, with their labels, that choices are made on."""

LISTED = 50
"""Indices in each list of samples."""

MOST_CONFUSIONS = 20

PART_COVERAGES = (90, 80)
"""In percent of all samples; where a part's coverage and error are reported."""

MANY_SAMPLES = 100_000
RESAMPLES, RESAMPLES_OF_MANY = 1000, 100
"""Bootstrap draws of up to so many samples, and of more: a draw of a million samples takes a second."""

MOST_CLASSES = 100
"""Up to so many classes the class-wise ECE gets an interval; with more its draws would cost more than all else."""

LEVEL = 0.95
"""Confidence of the intervals."""

SEED = 0
"""Of the draws, so that a report can be made again."""

CALIBRATION_ERRORS = ("ece", "adaptive_ece", "classwise_ece")
PART_MEANS = ("mean_confidence", "nll", "brier", "same_answer", "divergence")
AREAS = ("aurc", "excess_aurc", "excess_aurc_asymptotic", "augrc", "auroc")


def full_report(
    predictions: Predictions,
    labels: Int[Tensor, " n"],
    *,
    main_score: str = "softmax_response",
    scores: Mapping[str, Mapping[str, float]] | None = None,
    held_out: HeldOut | None = None,
    class_names: Sequence[str] | None = None,
    groups: Mapping[str, Bool[Tensor, " n"]] | None = None,
    resamples: int | None = None,
) -> FullReport:
    """Measure everything.

    Shares get exact 95 % intervals, all else bootstrap intervals on the same draws. The error at a coverage gets both,
    the wider end of each, since which samples are kept varies too.

    Args:
        predictions: of the classifier, and of its teacher or members where these are known. On the CPU.
        labels: class numbers; samples labeled -1 are left out.
        main_score: by which parts are ranked and samples listed. Default "softmax_response".
        scores: by name, with options; the main one is added. None is every score that needs no options, and the
            p-norm that the held-out samples choose.
        held_out: samples of neither the training set nor this one, to fit the temperature and choose the p on.
        class_names: default the class numbers.
        groups: which samples belong to each; they may overlap.
        resamples: draws behind each bootstrap interval. Default 1000; 100 of more than 100,000 samples. Time grows with
            them, the samples and the scores.

    Raises:
        InputError: predictions, labels, names, groups or held-out samples that do not fit, a logit that is not finite
            or beyond 1e30, of the teacher or a member as well, an unknown score, or no labeled sample.
    """
    labels = _check(predictions, labels)
    if held_out is not None:
        held_out = held_out[0], _check(*held_out)
        if held_out[0].classes != predictions.classes:
            raise InputError(f"held-out logits are of {held_out[0].classes} classes; expected {predictions.classes}")
    labeled = labels != UNLABELED
    known, truth = predictions.of(labeled), labels[labeled]
    names = [str(number) for number in range(known.classes)] if class_names is None else class_names
    if len(names) != known.classes:
        raise InputError(f"{len(names)} class names; expected one for each of {known.classes} classes")
    members = {name: _members(name, member, labels)[labeled] for name, member in (groups or {}).items()}

    logits, n, prediction = known.class_logits, len(truth), known.prediction
    wrong = prediction != truth
    options = _chosen_scores(known, main_score, scores, held_out)
    confidences = {name: confidence(name, known, **chosen) for name, chosen in options.items()}
    rankings = {name: Ranking.of(own, wrong) for name, own in confidences.items()}
    probabilities = {"calibration": _Probabilities.of(logits, truth)}
    fit = None
    if held_out is not None:
        fit = fit_temperature(held_out[0].class_logits, held_out[1])
        probabilities["scaled"] = _Probabilities.of(logits, truth, fit.temperature)
        rankings["scaled"] = Ranking.of(probabilities["scaled"].confidence, wrong)
    means = _averaged(known, truth, probabilities)
    curve = sorted({samples_kept(n, percent / 100) for percent in range(max(1, -(-50 // n)), 101)})
    draws = resamples if resamples is not None else RESAMPLES if n <= MANY_SAMPLES else RESAMPLES_OF_MANY
    intervals = bootstrap_intervals(
        _measure(means, probabilities, rankings, curve, ~wrong),
        n,
        resamples=draws,
        confidence=LEVEL,
        seed=SEED,
        biased=[f"{name}/{error}" for name in probabilities for error in CALIBRATION_ERRORS],
    )

    calibration = {name: own.report(name, intervals, ~wrong) for name, own in probabilities.items()}
    _, present = right_by_class(prediction, truth, known.classes)
    by_class = truth.sort(stable=True).indices.split(present.tolist())
    values = {name.removeprefix("calibration/"): each for name, each in means.items()}
    if known.teacher is not None:
        values["same_answer"] = same_answer(logits, known.teacher)
    parts = _Parts(wrong, confidences[main_score], values, LEVEL)
    surest = confidences[main_score].sort(descending=True, stable=True).indices
    index = labeled.nonzero().squeeze(1)
    return FullReport(
        n=n,
        unlabeled=len(labels) - n,
        classes=known.classes,
        largest_class=float(present.max()) / n,
        confidence=LEVEL,
        resamples=draws,
        accuracy=_share(~wrong, LEVEL),
        top5_accuracy=_share(topk_correct(logits, truth, 5), LEVEL) if known.classes > 5 else None,
        mean_confidence=intervals["mean_confidence"].estimate(),
        calibration=calibration["calibration"],
        scaled=None if fit is None else ScaledReport(fit, calibration["scaled"], intervals["scaled/aurc"].estimate()),
        main_score=main_score,
        selective=[_selective_report(name, chosen, intervals, curve, LEVEL) for name, chosen in options.items()],
        agreement=_agreement(known, truth, intervals, LEVEL),
        per_class=parts.reports(zip(names, by_class, strict=True)),
        groups=parts.reports((name, member.nonzero().squeeze(1)) for name, member in members.items()),
        confusions=_confusions(truth, prediction, present),
        confidently_wrong=index[surest[wrong[surest]][:LISTED]].tolist(),
        least_sure=index[surest.flip(0)[:LISTED]].tolist(),
    )


def _averaged(
    known: Predictions, truth: Int[Tensor, " n"], probabilities: Mapping[str, "_Probabilities"]
) -> dict[str, Float[Tensor, " n"]]:
    """What is known of every sample and reported as its mean, NaN where it is not defined."""
    means = {"mean_confidence": softmax_response(known.class_logits)}
    for name, own in probabilities.items():
        means |= {f"{name}/nll": own.nll, f"{name}/brier": own.brier}
    if known.teacher is not None:
        right, teacher_right = known.prediction == truth, answered_class(known.teacher) == truth
        means["divergence"] = divergence_from_teacher(known.class_logits, known.teacher)
        means["rank_correlation"] = rank_correlation(known.class_logits, known.teacher)
        means["accuracy_difference"] = right.double() - teacher_right.double()
    return means


def _measure(
    means: Mapping[str, Float[Tensor, " n"]],
    probabilities: Mapping[str, "_Probabilities"],
    rankings: Mapping[str, Ranking],
    curve: Sequence[int],
    right: Bool[Tensor, " n"],
) -> Measure:
    """All metrics that get a bootstrap interval, of the samples of some indices."""
    columns = torch.stack([values.double() for values in means.values()], dim=1)
    kept = torch.tensor([*(samples_kept(len(right), percent / 100) for percent in COVERAGES), *curve])

    def measure(index: Int[Tensor, " n"]) -> dict[str, Tensor]:
        metrics = dict(zip(means, columns.index_select(0, index).nanmean(dim=0).unbind(), strict=True))
        for name, own in probabilities.items():
            metrics |= {f"{name}/{metric}": value for metric, value in own.errors(index, right).items()}
        for name, ranking in rankings.items():
            drawn = _selective(ranking.drawn(index), kept)
            metrics |= {f"{name}/{metric}": value for metric, value in drawn.items()}
        return metrics

    return measure


def _agreement(
    known: Predictions, truth: Int[Tensor, " n"], intervals: Mapping[str, Interval], level: float
) -> AgreementReport | None:
    if known.teacher is None:
        return None
    return AgreementReport(
        same_answer=_share(same_answer(known.class_logits, known.teacher), level),
        copied_error=_share(copied_error(known.class_logits, known.teacher, truth), level),
        teacher_accuracy=_share(answered_class(known.teacher) == truth, level),
        **{name: intervals[name].estimate() for name in ("divergence", "rank_correlation", "accuracy_difference")},
    )


def _share(flags: Bool[Tensor, " n"] | Float[Tensor, " n"], level: float) -> Estimate:
    """The share of what holds among the samples where it is defined."""
    defined = ~flags.double().isnan()
    return share_estimate(int(flags[defined].sum()), int(defined.sum()), level)


def _check(predictions: object, labels: Tensor) -> Int[Tensor, " n"]:
    if not isinstance(predictions, Predictions):
        raise InputError(f"predictions are of type {type(predictions).__name__}; expected Predictions(logits)")
    labels = check_inputs(predictions.outputs, labels, abstains=predictions.abstains, known="some")
    tables = {"its": predictions.outputs, "the teacher's": predictions.teacher, "a member's": predictions.members}
    for whose, logits in tables.items():
        if logits is not None:
            check_finite(logits, whose)
    return labels


def _members(name: str, member: object, labels: Tensor) -> Bool[Tensor, " n"]:
    if not isinstance(member, Tensor) or member.shape != labels.shape or member.dtype != torch.bool:
        kind = f"{list(member.shape)} of {member.dtype}" if isinstance(member, Tensor) else type(member).__name__
        raise InputError(f"group {name!r} is {kind}; expected a tensor of {len(labels)} booleans")
    return member


def _chosen_scores(
    known: Predictions, main: str, scores: Mapping[str, Mapping[str, float]] | None, held_out: HeldOut | None
) -> dict[str, Mapping[str, float]]:
    if scores is not None:
        return {main: {}, **scores}
    chosen: dict[str, Mapping[str, float]] = {name: {} for name in (main, *known_scores(known))}
    if held_out is not None:
        others, labels = held_out
        judged = labels != UNLABELED
        choice = choose_p_norm(chosen_rows(others.class_logits, judged), (others.prediction != labels)[judged])
        chosen[choice.score] = choice.options
    return chosen


@dataclass(frozen=True)
class _Probabilities:
    """A classifier's probabilities, as they are or at a temperature, reduced to what their calibration needs.

    No table of samples by classes is held but `bins`, of few classes.
    """

    confidence: Float[Tensor, " n"]
    nll: Float[Tensor, " n"]
    brier: Float[Tensor, " n"]
    bins: ClassBins | None
    classwise_ece: float

    @classmethod
    def of(
        cls, logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], temperature: float | None = None
    ) -> "_Probabilities":
        def tempered(rows: Tensor) -> Tensor:
            return rows if temperature is None else rows.double() / temperature

        def of_each(function: Callable[..., Tensor], *others: Tensor) -> Tensor:
            return chunked(lambda rows, *own: function(tempered(rows), *own))(logits, *others)

        def by_class() -> Iterator[ClassBins]:
            for rows, own in row_chunks(logits, labels):
                yield class_bins(tempered(rows).double().softmax(dim=1), own)

        bins = None
        if logits.shape[1] <= MOST_CLASSES:
            slots = concat_rows((each.slot for each in by_class()), len(labels))
            bins = ClassBins(slots, concat_rows((each.gap for each in by_class()), len(labels)), next(by_class()).bins)
        sums = torch.zeros(())
        for each in by_class() if bins is None else [bins]:
            sums = sums + each.sums()
        return cls(
            confidence=of_each(softmax_response),
            nll=of_each(negative_log_likelihood, labels),
            brier=of_each(brier_score, labels),
            bins=bins,
            classwise_ece=class_error(sums, len(labels)),
        )

    def errors(self, index: Int[Tensor, " n"], right: Bool[Tensor, " n"]) -> dict[str, Tensor]:
        """The calibration errors of the samples of these indices."""
        own, came_true = self.confidence.index_select(0, index), right.index_select(0, index)
        errors = {
            "ece": calibration_error(own, came_true),
            "adaptive_ece": calibration_error(own, came_true, binning="equal_mass"),
        }
        if self.bins is not None:
            errors["classwise_ece"] = class_error(self.bins.drawn(index).sums(), len(index))
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in errors.items()}

    def report(self, name: str, intervals: Mapping[str, Interval], right: Bool[Tensor, " n"]) -> CalibrationReport:
        """Its metrics with their intervals."""
        estimates = {"classwise_ece": Estimate(self.classwise_ece, None, None)}
        for metric in ("nll", "brier", *CALIBRATION_ERRORS):
            if f"{name}/{metric}" in intervals:
                estimates[metric] = intervals[f"{name}/{metric}"].estimate()
        return CalibrationReport(**estimates, reliability=reliability(self.confidence, right))


def _selective(ranking: Ranking, kept: Tensor) -> dict[str, Tensor]:
    """The selective metrics of a ranking, with errors among so many of the surest: at `COVERAGES`, then the curve."""
    errors = ranking.error_among(kept)
    return {
        "aurc": ranking.aurc(),
        "excess_aurc": ranking.excess_aurc(),
        "excess_aurc_asymptotic": ranking.excess_aurc("asymptotic"),
        "augrc": ranking.augrc(),
        "auroc": ranking.auroc(),
        "error_at_coverage": errors[: len(COVERAGES)],
        "coverage_at_risk": ranking.coverage_at_risk([percent / 100 for percent in RISKS]),
        "curve": errors[len(COVERAGES) :],
    }


def _selective_report(
    score: str, options: Mapping[str, float], intervals: Mapping[str, Interval], curve: Sequence[int], level: float
) -> SelectiveReport:
    n = curve[-1]
    kept = [samples_kept(n, percent / 100) for percent in COVERAGES]
    errors = _widened(intervals[f"{score}/error_at_coverage"], kept, level)
    band = _widened(intervals[f"{score}/curve"], curve, level)
    coverages = intervals[f"{score}/coverage_at_risk"].estimates()
    return SelectiveReport(
        score=score,
        options=options,
        error_at_coverage=dict(zip(map(str, COVERAGES), errors.estimates(), strict=True)),
        coverage_at_risk=dict(zip(map(str, RISKS), coverages, strict=True)),
        **{area: intervals[f"{score}/{area}"].estimate() for area in AREAS},
        curve=Curve([count / n for count in curve], *(line.tolist() for line in (band.value, band.low, band.high))),
    )


def _widened(errors: Interval, kept: Sequence[int], level: float) -> Interval:
    """Bootstrap intervals of errors among so many of the surest, at least as wide as the exact ones of shares.

    The bootstrap knows that the samples kept vary, the exact interval that no error among few may be chance.
    """
    counts = torch.tensor(list(kept))
    exact = share_interval(errors.value * counts, counts, level)
    return Interval(errors.value, torch.fmin(errors.low, exact.low), torch.fmax(errors.high, exact.high))


@dataclass(frozen=True)
class _Parts:
    """What the reports of classes and groups are made from.

    Attributes:
        wrong: whether each prediction misses the label.
        confidence: the main score.
        values: per sample, those in `PART_MEANS` by name.
        level: the confidence of the intervals.
    """

    wrong: Bool[Tensor, " n"]
    confidence: Float[Tensor, " n"]
    values: Mapping[str, Float[Tensor, " n"]]
    level: float

    def reports(self, parts: Iterable[tuple[str, Int[Tensor, " some"]]]) -> list[PartReport]:
        """Of parts by name, each with the indices of its samples."""
        # At one threshold for all parts: more than so many percent are answered where samples tie with it.
        n, answered = len(self.wrong), {}
        for percent in PART_COVERAGES:
            least = n - samples_kept(n, percent / 100) + 1
            answered[str(percent)] = self.confidence >= self.confidence.kthvalue(least).values
        reports = []
        for name, own in parts:
            wrong = self.wrong[own]
            reports.append(
                PartReport(
                    name=name,
                    n=len(own),
                    accuracy=share_estimate(int((~wrong).sum()), len(own), self.level),
                    aurc=aurc(self.confidence[own], wrong) if len(own) else None,
                    coverage={percent: _mean(kept[own]) for percent, kept in answered.items()},
                    error={percent: _mean(wrong[kept[own]]) for percent, kept in answered.items()},
                    **{value: _mean(self.values[value][own]) for value in PART_MEANS if value in self.values},
                )
            )
        return reports


def _confusions(
    labels: Int[Tensor, " n"], prediction: Int[Tensor, " n"], present: Int[Tensor, " classes"]
) -> list[Confusion]:
    """The most frequent errors, by label and prediction; of equally frequent ones the first classes."""
    classes, wrong = len(present), labels != prediction
    count = (labels * classes + prediction)[wrong].bincount(minlength=classes * classes)
    pairs = count.sort(descending=True, stable=True).indices[:MOST_CONFUSIONS].tolist()
    return [
        Confusion(pair // classes, pair % classes, int(count[pair]), float(count[pair] / present[pair // classes]))
        for pair in pairs
        if count[pair] > 0
    ]


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if len(values) else None
