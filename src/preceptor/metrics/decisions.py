"""Decisions for a student's card: made on a calibration set, and applied to new predictions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.errors import InputError
from preceptor.metrics.checks import check_finite, check_inputs, check_number
from preceptor.metrics.class_thresholds import ClassGuarantees, at_thresholds, select_class_thresholds
from preceptor.metrics.conformal import SetRule, SetTarget, calibrate_sets, prediction_sets
from preceptor.metrics.risk_control import NoGuarantee, RiskGuarantee, select_threshold
from preceptor.metrics.score_registry import SCORES, Predictions, confidence, find_score
from preceptor.models import CalibrationSet, Decision, SetDecision


@dataclass(frozen=True)
class RiskTarget:
    """What is to be guaranteed of a student that may abstain.

    Attributes:
        max_risk: share of errors among its answers that is not to be exceeded, above 0 and at most 1.
        confidence: probability, over calibration sets, that this holds. Default 0.95.
        score: by which it abstains. Default "softmax_response".
        options: of the score.
        by_class: whether each predicted class has a threshold, and a guarantee, of its own. Default False.
        joint: whether the guarantees of all classes hold at once, or each by itself. Default True: at once.
    """

    max_risk: float
    confidence: float = 0.95
    score: str = "softmax_response"
    options: Mapping[str, float] = field(default_factory=dict)
    by_class: bool = False
    joint: bool = True


@dataclass(frozen=True)
class Outcome:
    """The decision for the card, None where nothing can be guaranteed of any class; and the guarantee, or what else."""

    decision: Decision | None
    guarantee: RiskGuarantee | NoGuarantee | ClassGuarantees


def decide(
    predictions: Predictions, labels: Int[Tensor, " n"], target: RiskTarget, calibrated_on: CalibrationSet
) -> Outcome:
    """The widest threshold that can be guaranteed, by :func:`select_threshold` or :func:`select_class_thresholds`.

    The predictions are the student's alone, on the calibration set, and all its labels known.

    Raises:
        InputError: an unknown score or one that the student cannot compute by itself, an option that it does not
            take or that is missing, a confidence, risk or label out of range, labels that do not fit, a logit that is
            not finite or beyond 1e30, or no sample.
    """
    check_servable(target.score)
    check_number("confidence", target.confidence, above=0, below=1, example=0.95)
    labels = check_inputs(predictions.class_logits, labels, known="all")
    check_finite(predictions.outputs)
    score = confidence(target.score, predictions, **target.options)
    prediction = predictions.prediction
    delta = float(1 - Decimal(repr(float(target.confidence))))  # of 0.95 exactly 0.05
    wrong = prediction != labels
    guarantee: RiskGuarantee | NoGuarantee | ClassGuarantees
    if target.by_class:
        guarantee = select_class_thresholds(
            score, wrong, prediction, predictions.classes, target.max_risk, delta, joint=target.joint
        )
    else:
        guarantee = select_threshold(score, wrong, target.max_risk, delta)
    return Outcome(_decision(target, guarantee, calibrated_on), guarantee)


def decide_sets(
    predictions: Predictions, labels: Int[Tensor, " n"], target: SetTarget, calibrated_on: CalibrationSet
) -> SetDecision:
    """Prediction sets for the card, by :func:`calibrate_sets`: never empty, and not randomized, so that an image always
    gets the same.

    Raises:
        InputError: as :func:`calibrate_sets`.
    """
    rule = calibrate_sets(predictions.class_logits, labels, target)
    return SetDecision(
        method=rule.method,
        alpha=rule.alpha,
        threshold=rule.threshold,
        penalty=rule.penalty,
        free_ranks=rule.free_ranks,
        calibrated_on=calibrated_on,
    )


def which_answered(decision: Decision, predictions: Predictions) -> Bool[Tensor, " n"]:
    """Which samples a decision answers.

    Raises:
        InputError: its score is not known, or needs what is not, such as the teacher's logits.
    """
    return at_decision(decision, confidence(decision.score, predictions, **decision.options), predictions.prediction)


def at_decision(decision: Decision, score: Float[Tensor, " n"], prediction: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Which samples a decision answers, from its score of them and the predicted classes."""
    if decision.class_thresholds is not None:
        return at_thresholds(score, prediction, decision.class_thresholds)
    assert decision.threshold is not None, "a decision has one threshold or one for each class"
    return score >= decision.threshold


def which_classes(sets: SetDecision, class_logits: Float[Tensor, "n classes"]) -> Bool[Tensor, "n classes"]:
    """Which classes the prediction set of each sample holds."""
    samples = sets.calibrated_on.samples
    rule = SetRule(sets.method, sets.alpha, sets.threshold, samples, penalty=sets.penalty, free_ranks=sets.free_ranks)
    return prediction_sets(class_logits, rule)


def check_servable(name: str) -> None:
    """Refuse a score that a student cannot compute by itself.

    Raises:
        InputError: there is no such score, or it needs the teacher.
    """
    if find_score(name).needs == "teacher":
        alone = ", ".join(score.name for score in SCORES.values() if score.needs != "teacher")
        raise InputError(f"score {name} needs the teacher, not the student alone; choose one of {alone}")


def _decision(
    target: RiskTarget, guarantee: RiskGuarantee | NoGuarantee | ClassGuarantees, calibrated_on: CalibrationSet
) -> Decision | None:
    by_class = guarantee if isinstance(guarantee, ClassGuarantees) else None
    held = [one for one in (by_class.classes if by_class else [guarantee]) if isinstance(one, RiskGuarantee)]
    if not held:
        return None
    return Decision(
        score=target.score,
        options=dict(target.options),
        threshold=None if by_class else held[0].threshold,
        class_thresholds=tuple(by_class.thresholds) if by_class else None,
        max_risk=target.max_risk,
        confidence=target.confidence,
        joint=target.joint if by_class else None,
        coverage=guarantee.coverage,
        risk=sum(one.errors for one in held) / sum(one.covered for one in held),
        calibrated_on=calibrated_on,
    )
