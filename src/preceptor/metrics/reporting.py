"""The full evaluation of a classifier on one set: every metric, with an interval over the same draws of the samples."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.errors import InputError
from preceptor.metrics.accuracy import topk_correct
from preceptor.metrics.agreement import copied_error, divergence_from_teacher, outcomes, rank_correlation, same_answer
from preceptor.metrics.bootstrap import LEVEL, Estimate, Interval, bootstrap_intervals, share_estimate, share_interval
from preceptor.metrics.calibration import Probabilities, reliability
from preceptor.metrics.held_out import TemperatureFit, choose_p_norm, fit_temperature
from preceptor.metrics.labeled import LabeledSamples, labeled_only
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

PART_MEANS = ("mean_confidence", "calibration/nll", "calibration/brier", "divergence")
CALIBRATION_ERRORS = ("ece", "adaptive_ece", "classwise_ece")
AREAS = ("aurc", "excess_aurc", "excess_aurc_asymptotic", "augrc", "auroc")


def full_report(
    predictions: Predictions,
    labels: Int[Tensor, " n"],
    *,
    main_score: str = "softmax_response",
    scores: Mapping[str, Mapping[str, float]] | None = None,
    held_out: HeldOut | None = None,
    class_names: Sequence[str] | None = None,
    resamples: int | None = None,
) -> FullReport:
    """Measure everything.

    Shares get exact 95 % intervals, all else bootstrap intervals on the same draws. The error at a coverage gets both,
    the wider end of each, since which samples are kept varies too.

    Args:
        predictions: of the classifier, and of its teacher where these are known. On the CPU.
        labels: class numbers; samples labeled -1 are left out.
        main_score: by which parts are ranked and samples listed. Default "softmax_response".
        scores: by name, with options; the main one is added. None is every score that needs no options, and the
            p-norm that the held-out samples choose.
        held_out: samples of neither the training set nor this one, to fit the temperature and choose the p on.
        class_names: default the class numbers.
        resamples: draws behind each bootstrap interval. Default 1000; 100 of more than 100,000 samples. Time grows with
            them, the samples and the scores.

    Raises:
        InputError: predictions, labels, names or held-out samples that do not fit, a logit that is not finite or
            beyond 1e30, of the teacher or a member as well, an unknown score, or no labeled sample.
    """
    samples = LabeledSamples.of(predictions, labels, class_names)
    choices = None if held_out is None else _choices(held_out, predictions.classes)
    options = _chosen_scores(samples.known, main_score, scores, choices)
    fit = None if choices is None else fit_temperature(choices[0].class_logits, choices[1])
    if resamples is None:
        resamples = RESAMPLES if samples.n <= MANY_SAMPLES else RESAMPLES_OF_MANY
    return _Metrics(samples, options, fit, resamples).report(main_score)


def _choices(held_out: HeldOut, classes: int) -> HeldOut:
    known, truth, _ = labeled_only(*held_out)
    if known.classes != classes:
        raise InputError(f"held-out logits are of {known.classes} classes; expected {classes}")
    return known, truth


def _chosen_scores(
    known: Predictions, main: str, scores: Mapping[str, Mapping[str, float]] | None, choices: HeldOut | None
) -> dict[str, Mapping[str, float]]:
    """The options of each score to report, the main one first."""
    if scores is not None:
        return {main: {}, **scores}
    chosen: dict[str, Mapping[str, float]] = {name: {} for name in (main, *known_scores(known))}
    if choices is not None:
        choice = choose_p_norm(choices[0].class_logits, choices[0].prediction != choices[1])
        chosen[choice.score] = choice.options
    return chosen


class _Metrics:
    """All that is computed of each sample, and every metric made of it, with its interval."""

    def __init__(
        self,
        samples: LabeledSamples,
        options: Mapping[str, Mapping[str, float]],
        fit: TemperatureFit | None,
        resamples: int,
    ) -> None:
        self.samples, self.options, self.fit, self.resamples = samples, options, fit, resamples
        logits, truth, wrong = samples.known.class_logits, samples.truth, ~samples.right
        self.confidences = {name: confidence(name, samples.known, **chosen) for name, chosen in options.items()}
        self.rankings = {name: Ranking.of(own, wrong) for name, own in self.confidences.items()}
        self.probabilities = {"calibration": Probabilities.of(logits, truth)}
        if fit is not None:
            self.probabilities["scaled"] = Probabilities.of(logits, truth, fit.temperature)
            self.rankings["scaled"] = Ranking.of(self.probabilities["scaled"].confidence, wrong)
        self.means = self._means()
        n = samples.n
        self.curve = sorted({samples_kept(n, percent / 100) for percent in range(max(1, -(-50 // n)), 101)})
        self.kept = [samples_kept(n, percent / 100) for percent in COVERAGES]
        self._counts = torch.tensor([*self.kept, *self.curve])
        self._columns = torch.stack([values.double() for values in self.means.values()], dim=1)
        biased = [f"{name}/{error}" for name in self.probabilities for error in CALIBRATION_ERRORS]
        self.intervals = bootstrap_intervals(self._measure, n, resamples=resamples, biased=biased)

    def _means(self) -> dict[str, Float[Tensor, " n"]]:
        """What is known of every sample and reported as its mean, NaN where it is not defined."""
        known, truth = self.samples.known, self.samples.truth
        means = {"mean_confidence": softmax_response(known.class_logits)}
        for name, own in self.probabilities.items():
            means |= {f"{name}/nll": own.nll, f"{name}/brier": own.brier}
        if known.teacher is not None:
            means["divergence"] = divergence_from_teacher(known.class_logits, known.teacher)
            means["rank_correlation"] = rank_correlation(known.class_logits, known.teacher)
            teacher_right = answered_class(known.teacher) == truth
            means["accuracy_difference"] = self.samples.right.double() - teacher_right.double()
        return means

    def _measure(self, index: Int[Tensor, "draws n"]) -> dict[str, Float[Tensor, "draws ..."]]:
        """All metrics that get a bootstrap interval, of the samples of these indices."""
        metrics = dict(zip(self.means, self._columns[index].nanmean(dim=1).unbind(dim=1), strict=True))
        for name, own in self.probabilities.items():
            metrics |= {f"{name}/{metric}": value for metric, value in own.errors(index, self.samples.right).items()}
        for name, whole in self.rankings.items():
            ranking = whole.drawn(index)
            errors = ranking.error_among(self._counts)
            drawn = {
                "aurc": ranking.aurc(),
                "excess_aurc": ranking.excess_aurc(),
                "excess_aurc_asymptotic": ranking.excess_aurc("asymptotic"),
                "augrc": ranking.augrc(),
                "auroc": ranking.auroc(),
                "error_at_coverage": errors[:, : len(self.kept)],
                "coverage_at_risk": ranking.coverage_at_risk([percent / 100 for percent in RISKS]),
                "curve": errors[:, len(self.kept) :],
            }
            metrics |= {f"{name}/{metric}": value for metric, value in drawn.items()}
        return metrics

    def report(self, main_score: str) -> FullReport:
        samples, logits = self.samples, self.samples.known.class_logits
        surest = self.confidences[main_score].sort(descending=True, stable=True).indices
        index = samples.labeled.nonzero().squeeze(1)
        by_class = samples.truth.sort(stable=True).indices.split(samples.of_class.tolist())
        return FullReport(
            n=samples.n,
            unlabeled=len(samples.labeled) - samples.n,
            classes=samples.known.classes,
            largest_class=float(samples.of_class.max()) / samples.n,
            confidence=LEVEL,
            resamples=self.resamples,
            accuracy=_share(samples.right),
            top5_accuracy=_share(topk_correct(logits, samples.truth, 5)) if samples.known.classes > 5 else None,
            mean_confidence=self._estimate("mean_confidence"),
            calibration=self._calibration("calibration"),
            scaled=self._scaled(),
            main_score=main_score,
            selective=[self._selective(name) for name in self.options],
            agreement=self._agreement(),
            per_class=self._parts(zip(samples.names, by_class, strict=True), self.confidences[main_score]),
            confusions=_confusions(samples),
            confidently_wrong=index[surest[~samples.right[surest]][:LISTED]].tolist(),
            least_sure=index[surest.flip(0)[:LISTED]].tolist(),
        )

    def _estimate(self, metric: str) -> Estimate:
        return self.intervals[metric].estimate()

    def _calibration(self, name: str) -> CalibrationReport:
        own = self.probabilities[name]
        metrics = [metric for metric in ("nll", "brier", *CALIBRATION_ERRORS) if f"{name}/{metric}" in self.intervals]
        estimates = {"classwise_ece": Estimate(own.classwise_ece, None, None)}
        estimates |= {metric: self._estimate(f"{name}/{metric}") for metric in metrics}
        return CalibrationReport(**estimates, reliability=reliability(own.confidence, self.samples.right))

    def _scaled(self) -> ScaledReport | None:
        if self.fit is None:
            return None
        return ScaledReport(self.fit, self._calibration("scaled"), self._estimate("scaled/aurc"))

    def _selective(self, score: str) -> SelectiveReport:
        errors = _widened(self.intervals[f"{score}/error_at_coverage"], self.kept)
        band = _widened(self.intervals[f"{score}/curve"], self.curve)
        coverages = self.intervals[f"{score}/coverage_at_risk"].estimates()
        return SelectiveReport(
            score=score,
            options=self.options[score],
            error_at_coverage=dict(zip(map(str, COVERAGES), errors.estimates(), strict=True)),
            coverage_at_risk=dict(zip(map(str, RISKS), coverages, strict=True)),
            **{area: self._estimate(f"{score}/{area}") for area in AREAS},
            curve=Curve(
                [count / self.samples.n for count in self.curve],
                *(line.tolist() for line in (band.value, band.low, band.high)),
            ),
        )

    def _agreement(self) -> AgreementReport | None:
        known, truth = self.samples.known, self.samples.truth
        if known.teacher is None:
            return None
        taught = answered_class(known.teacher)
        return AgreementReport(
            same_answer=_share(same_answer(known.class_logits, known.teacher)),
            copied_error=_share(copied_error(known.class_logits, known.teacher, truth)),
            teacher_accuracy=_share(taught == truth),
            outcomes=outcomes(self.samples.prediction, taught, truth),
            **{name: self._estimate(name) for name in ("divergence", "rank_correlation", "accuracy_difference")},
        )

    def _parts(self, parts: Iterable[tuple[str, Int[Tensor, " some"]]], sure: Float[Tensor, " n"]) -> list[PartReport]:
        """Of parts by name, each with the indices of its samples."""
        known, right = self.samples.known, self.samples.right
        values = {name.removeprefix("calibration/"): self.means[name] for name in PART_MEANS if name in self.means}
        if known.teacher is not None:
            values["same_answer"] = same_answer(known.class_logits, known.teacher)
        # At one threshold for all parts: more than so many percent are answered where samples tie with it.
        answered = {
            str(percent): sure >= sure.kthvalue(len(sure) - samples_kept(len(sure), percent / 100) + 1).values
            for percent in PART_COVERAGES
        }
        return [
            PartReport(
                name=name,
                n=len(own),
                accuracy=_share(right[own]),
                aurc=aurc(sure[own], ~right[own]) if len(own) else None,
                coverage={percent: _mean(kept[own]) for percent, kept in answered.items()},
                error={percent: _mean(~right[own][kept[own]]) for percent, kept in answered.items()},
                **{value: _mean(each[own]) for value, each in values.items()},
            )
            for name, own in parts
        ]


def _share(flags: Bool[Tensor, " n"] | Float[Tensor, " n"]) -> Estimate:
    """The share of what holds among the samples where it is defined."""
    defined = ~flags.double().isnan()
    return share_estimate(int(flags[defined].sum()), int(defined.sum()))


def _widened(errors: Interval, kept: Sequence[int]) -> Interval:
    """Bootstrap intervals of errors among so many of the surest, at least as wide as the exact ones of shares.

    The bootstrap knows that the samples kept vary, the exact interval that no error among few may be chance.
    """
    counts = torch.tensor(kept)
    exact = share_interval(errors.value * counts, counts)
    return Interval(errors.value, torch.fmin(errors.low, exact.low), torch.fmax(errors.high, exact.high))


def _confusions(samples: LabeledSamples) -> list[Confusion]:
    """The most frequent errors, by label and prediction; of equally frequent ones the first classes."""
    classes = samples.known.classes
    pair_of = samples.truth * classes + samples.prediction
    count = pair_of[~samples.right].bincount(minlength=classes * classes)
    most = count.sort(descending=True, stable=True).indices[:MOST_CONFUSIONS]
    return [
        Confusion(label, prediction, int(number), float(number / samples.of_class[label]))
        for label, prediction, number in zip(
            (most // classes).tolist(), (most % classes).tolist(), count[most], strict=True
        )
        if number > 0
    ]


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if len(values) else None
