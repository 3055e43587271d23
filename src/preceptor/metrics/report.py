"""The results of an evaluation as plain values: ``dataclasses.asdict`` makes them JSON."""

from collections.abc import Mapping
from dataclasses import dataclass

from preceptor.metrics.bootstrap import Estimate
from preceptor.metrics.calibration import Reliability
from preceptor.metrics.temperature import TemperatureFit


@dataclass(frozen=True)
class CalibrationReport:
    """Whether probabilities are what they claim to be; lower is better in all.

    The draws behind the intervals of calibration errors are corrected for the noise that a draw adds.

    Attributes:
        nll: mean negative log-likelihood of the label, in nats.
        brier: mean Brier score, in [0, 2].
        ece: expected calibration error of the softmax response, 15 bins of equal width.
        adaptive_ece: in 15 bins of equal mass.
        classwise_ece: mean over classes; with more than 100 classes without an interval.
        reliability: the diagram behind `ece`.
    """

    nll: Estimate
    brier: Estimate
    ece: Estimate
    adaptive_ece: Estimate
    classwise_ece: Estimate
    reliability: Reliability


@dataclass(frozen=True)
class ScaledReport:
    """Calibration after temperature scaling, fitted on held-out samples.

    Attributes:
        fit: the temperature.
        calibration: of the scaled probabilities.
        aurc: of the scaled softmax response, which may rank otherwise.
    """

    fit: TemperatureFit
    calibration: CalibrationReport
    aurc: Estimate


@dataclass(frozen=True)
class Curve:
    """A risk-coverage curve with its band; the accuracy-rejection curve is ``1 - risk`` against ``1 - coverage``.

    Attributes:
        coverage: up to one point for each percent.
        risk: error among the samples kept there.
        low: lower end of the pointwise interval.
        high: its upper end.
    """

    coverage: list[float]
    risk: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class SelectiveReport:
    """What the classifier does when it may abstain on the samples it is least sure of, by one score.

    Attributes:
        score: its name.
        options: of the score.
        error_at_coverage: by coverage in percent, as text ("100" to "70").
        coverage_at_risk: by risk in percent, as text ("1", "2", "5"); of thresholds chosen on these very samples.
        aurc: area under the risk-coverage curve.
        excess_aurc: above that of a perfect ranking, finite form.
        excess_aurc_asymptotic: in the form of the literature.
        augrc: area under the generalized risk-coverage curve.
        auroc: of failure prediction.
        curve: to draw.
    """

    score: str
    options: Mapping[str, float]
    error_at_coverage: dict[str, Estimate]
    coverage_at_risk: dict[str, Estimate]
    aurc: Estimate
    excess_aurc: Estimate
    excess_aurc_asymptotic: Estimate
    augrc: Estimate
    auroc: Estimate
    curve: Curve


@dataclass(frozen=True)
class AgreementReport:
    """The student beside its teacher, on the same samples.

    Attributes:
        same_answer: share of samples with the same prediction.
        divergence: mean KL from the teacher to the student at temperature 1, in nats.
        rank_correlation: mean Spearman correlation of the class logits; None with fewer than 3 classes.
        copied_error: of the teacher's errors, the share the student repeats.
        teacher_accuracy: on the same samples.
        accuracy_difference: the student's accuracy minus the teacher's, paired.
    """

    same_answer: Estimate
    divergence: Estimate
    rank_correlation: Estimate
    copied_error: Estimate
    teacher_accuracy: Estimate
    accuracy_difference: Estimate


@dataclass(frozen=True)
class PartReport:
    """A class or a group of samples; None for what is not defined there.

    Attributes:
        name: of the part.
        n: number of labeled samples.
        accuracy: share predicted right: for a class, its recall.
        mean_confidence: mean softmax response.
        nll: mean negative log-likelihood, in nats.
        brier: mean Brier score.
        aurc: among the part's samples, by the main score.
        coverage: share of the part that is answered at the one threshold that answers "90" or "80" percent of all.
        error: share of errors among these.
        same_answer: share predicted as the teacher does; None without a teacher.
        divergence: mean KL from the teacher, in nats; None without a teacher.
    """

    name: str
    n: int
    accuracy: Estimate
    mean_confidence: float | None
    nll: float | None
    brier: float | None
    aurc: float | None
    coverage: dict[str, float | None]
    error: dict[str, float | None]
    same_answer: float | None = None
    divergence: float | None = None


@dataclass(frozen=True)
class Confusion:
    """How often samples of one class are taken for another.

    Attributes:
        label: class number.
        prediction: another.
        count: number of samples.
        share: of the samples of the label's class.
    """

    label: int
    prediction: int
    count: int
    share: float


@dataclass(frozen=True)
class FullReport:
    """All metrics of a classifier on one set.

    Attributes:
        n: number of labeled samples, which all else is computed on.
        unlabeled: samples left out.
        classes: number of real classes.
        largest_class: share of the most frequent class: the accuracy of always predicting it.
        confidence: of the intervals.
        resamples: behind each bootstrap interval; those of shares are exact.
        accuracy: share whose largest logit is the label's.
        top5_accuracy: share whose label is among the five largest logits; None with five classes or fewer.
        mean_confidence: mean softmax response.
        calibration: of the probabilities as they are.
        scaled: after temperature scaling; None without held-out samples.
        main_score: by which parts are ranked and the lists below made.
        selective: one for each score.
        agreement: with the teacher; None without one.
        per_class: by label.
        groups: in the order of the argument.
        confusions: the most frequent errors.
        confidently_wrong: indices of the surest errors, the surest first.
        least_sure: indices of the samples to abstain on first, right or wrong.
    """

    n: int
    unlabeled: int
    classes: int
    largest_class: float
    confidence: float
    resamples: int
    accuracy: Estimate
    top5_accuracy: Estimate | None
    mean_confidence: Estimate
    calibration: CalibrationReport
    scaled: ScaledReport | None
    main_score: str
    selective: list[SelectiveReport]
    agreement: AgreementReport | None
    per_class: list[PartReport]
    groups: list[PartReport]
    confusions: list[Confusion]
    confidently_wrong: list[int]
    least_sure: list[int]
