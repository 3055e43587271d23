"""The results of an evaluation as text, for the terminal and for the page."""

from collections.abc import Callable

from preceptor.metrics import Estimate, FullReport, share_estimate
from preceptor.run.evaluation import DecisionResult, Evaluation

NONE = "–"
_PER_CENT = "\N{NO-BREAK SPACE}%"


def estimate_of_share(estimate: Estimate | float | None, digits: int = 2) -> str:
    """A share in per cent with its interval: "94.32 % (93.90 to 94.71)"; a dash where it is not defined."""
    known = estimate if isinstance(estimate, Estimate) else Estimate(estimate, None, None)
    return _with_interval(known, lambda share: f"{100 * share:.{digits}f}", _PER_CENT)


def figure(estimate: Estimate, digits: int) -> str:
    """A number with its interval; a dash where it is not defined."""
    return _with_interval(estimate, lambda value: f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}")


def _with_interval(estimate: Estimate, shown: Callable[[float], str], unit: str = "") -> str:
    if estimate.value is None:
        return NONE
    value = shown(estimate.value) + unit
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({shown(estimate.low)} to {shown(estimate.high)})"


def calibration_rows(report: FullReport) -> list[tuple[str, list[str]]]:
    """Name and values of what tells of calibration: as the probabilities are and, where known, after scaling."""
    columns = [report.calibration] if report.scaled is None else [report.calibration, report.scaled.calibration]
    return [
        ("negative log-likelihood", [figure(one.nll, 4) for one in columns]),
        ("Brier score", [figure(one.brier, 4) for one in columns]),
        ("ECE", [estimate_of_share(one.ece) for one in columns]),
        ("adaptive ECE", [estimate_of_share(one.adaptive_ece) for one in columns]),
        ("class-wise ECE", [estimate_of_share(one.classwise_ece) for one in columns]),
    ]


def agreement_rows(report: FullReport) -> list[tuple[str, str]]:
    """The student beside its teacher, name and value; none without a teacher."""
    agreement = report.agreement
    if agreement is None:
        return []
    return [
        ("the teacher's accuracy", estimate_of_share(agreement.teacher_accuracy)),
        ("the student's accuracy minus the teacher's", estimate_of_share(agreement.accuracy_difference)),
        ("same prediction", estimate_of_share(agreement.same_answer)),
        ("of the teacher's errors, repeated", estimate_of_share(agreement.copied_error)),
        ("KL from teacher to student, nats", figure(agreement.divergence, 3)),
        ("rank correlation of the logits", figure(agreement.rank_correlation, 3)),
    ]


def intervals_in_words(report: FullReport) -> str:
    """What the brackets hold."""
    return (
        f"In brackets: {100 * report.confidence:g}{_PER_CENT} intervals over the images, exact for shares of images, "
        f"else by bootstrap with {report.resamples:,} draws; where all draws agree there is none. They say what other "
        "images would change, not what training again would. A calibration error adds up the noise of its bins; its "
        "interval is corrected for what a draw adds to that."
    )


def main_result(evaluation: Evaluation) -> str:
    """The main result in one or two sentences: accuracy, the teacher's, and the decision."""
    report = evaluation.report
    text = f"Right on {estimate_of_share(report.accuracy)} of {report.n:,} images"
    if report.agreement is not None:
        teacher, same = report.agreement.teacher_accuracy, report.agreement.same_answer
        text += f" (teacher {estimate_of_share(teacher.value)}, same prediction on {estimate_of_share(same.value)})"
    if evaluation.decision is not None:
        return f"{text}. {decision_in_words(evaluation)}"
    main = next(one for one in report.selective if one.score == report.main_score)
    error = estimate_of_share(main.error_at_coverage["90"])
    return f"{text}. Abstaining on the tenth that it is least sure of, it is wrong on {error} of the rest."


def decision_in_words(evaluation: Evaluation) -> str | None:
    """What the decision on the student's card comes to on these images; None without one."""
    decision, result = evaluation.data.card.decision, evaluation.decision
    if decision is None:
        return None
    if result is None:
        return f"Its card has a decision by {decision.score}, which needs the teacher: none was queried."
    guaranteed = (
        f"guaranteed: at most {estimate_of_share(result.max_risk)} wrong, with {result.confidence:g} confidence "
        f"over calibration sets such as its {decision.calibrated_on.samples:,} images of "
        f"{decision.calibrated_on.data} ({decision.calibrated_on.part})"
    )
    if result.risk.value is None:
        return f"By its own threshold it abstains on every image here; {guaranteed}."
    answered = f"{result.answered:,} images ({estimate_of_share(result.coverage)})"
    outcome = f"By its own threshold it answers {answered} and is wrong on {estimate_of_share(result.risk)} of them"
    return f"{outcome}; {guaranteed}. {_verdict(result)}"


def _verdict(result: DecisionResult) -> str:
    """Whether the risk on these images contradicts the guarantee, which is about all images to come."""
    from scipy.stats import binomtest

    if result.kept:
        return "That is within the guarantee."
    test = binomtest(result.errors, result.answered, result.max_risk, alternative="greater")
    if test.pvalue >= 0.05:
        return f"That is above the guarantee, by no more than chance explains (p = {test.pvalue:.2f})."
    return (
        f"That is above the guarantee (p = {test.pvalue:.2g}): either this is one of the calibration sets on which it "
        "fails, or these images are not drawn like those it was calibrated on."
    )


def sets_in_words(evaluation: Evaluation) -> str | None:
    """What the prediction sets on the student's card come to on these images; None without any."""
    sets, metrics = evaluation.data.card.sets, evaluation.sets
    if sets is None or metrics is None:
        return None
    covered = share_estimate(round(metrics.coverage * metrics.n), metrics.n)
    return (
        f"Its prediction sets ({sets.method}) hold the right class for {estimate_of_share(covered)} of the "
        f"images and {metrics.mean_size:.2f} classes on average; guaranteed: {estimate_of_share(1 - sets.alpha)}, on "
        f"average over calibration sets."
    )
