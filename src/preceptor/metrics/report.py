"""The results of an evaluation as plain values: ``dataclasses.asdict`` makes them JSON.

What is not defined is None. Likelihoods and divergences are in nats; shares and errors are 0 to 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from preceptor.metrics.agreement import Outcomes
from preceptor.metrics.bootstrap import Estimate
from preceptor.metrics.calibration import Reliability
from preceptor.metrics.held_out import TemperatureFit


@dataclass(frozen=True)
class CalibrationReport:
    """Whether probabilities are what they claim to be; lower is better in all.

    ``ece`` and ``adaptive_ece`` are of the softmax response in 15 bins of equal width (its diagram is `reliability`)
    and of equal mass; ``classwise_ece`` is the mean over classes, without an interval where there are more than 100.
    The draws behind the intervals of calibration errors are corrected for the noise that a draw adds.
    """

    nll: Estimate
    brier: Estimate
    ece: Estimate
    adaptive_ece: Estimate
    classwise_ece: Estimate
    reliability: Reliability


@dataclass(frozen=True)
class ScaledReport:
    """Calibration at a temperature fitted on held-out samples; the AURC is of the scaled softmax response."""

    fit: TemperatureFit
    calibration: CalibrationReport
    aurc: Estimate


@dataclass(frozen=True)
class Curve:
    """A risk-coverage curve with its pointwise band, up to one point for each percent of coverage.

    The accuracy-rejection curve is ``1 - risk`` against ``1 - coverage``.
    """

    coverage: list[float]
    risk: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class SelectiveReport:
    """What the classifier does when it may abstain on the samples it is least sure of, by one score.

    Attributes:
        score, options: which score.
        error_at_coverage: by coverage in percent, as text ("100" to "70").
        coverage_at_risk: by risk in percent, as text ("1", "2", "5"); of thresholds chosen on these very samples.
        aurc, augrc: areas under the risk-coverage curve and the generalized one.
        excess_aurc: above the area of a perfect ranking: finite form, and the asymptotic one of the literature.
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
        divergence: mean KL from the teacher to the student at temperature 1.
        rank_correlation: mean Spearman correlation of the class logits; None with fewer than 3 classes.
        copied_error: of the teacher's errors, the share the student repeats.
        teacher_accuracy: on the same samples.
        accuracy_difference: the student's accuracy minus the teacher's, paired.
        outcomes: how many samples each is right and wrong on.
    """

    same_answer: Estimate
    divergence: Estimate
    rank_correlation: Estimate
    copied_error: Estimate
    teacher_accuracy: Estimate
    accuracy_difference: Estimate
    outcomes: Outcomes


@dataclass(frozen=True)
class PartReport:
    """A class or a group of samples.

    Attributes:
        n: number of labeled samples.
        accuracy: for a class, its recall.
        mean_confidence, nll, brier: means over the part.
        aurc: among the part's samples, by the main score.
        coverage: share of the part that is answered at the one threshold that answers "90" or "80" percent of all.
        error: share of errors among these.
        same_answer, divergence: as in `AgreementReport`; None without a teacher.
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
    """How often samples of the class `label` are taken for the class `prediction`, as a count and a share of them."""

    label: int
    prediction: int
    count: int
    share: float


@dataclass(frozen=True)
class FullReport:
    """All metrics of a classifier on one set.

    Attributes:
        n, unlabeled: number of labeled samples, which all else is computed on, and of those left out.
        classes: number of real classes.
        largest_class: share of the most frequent class: the accuracy of always predicting it.
        confidence, resamples: of the intervals, and bootstrap draws; those of shares are exact.
        top5_accuracy: None with five classes or fewer.
        scaled: None without held-out samples.
        main_score: by which parts are ranked and the lists below made.
        selective: one for each score, the main one first.
        agreement: None without a teacher.
        per_class: by label.
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
    confusions: list[Confusion]
    confidently_wrong: list[int]
    least_sure: list[int]
