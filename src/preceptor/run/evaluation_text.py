"""What was measured of a student, in words: for the terminal and for the page."""

from preceptor.metrics import Estimate, FullReport
from preceptor.run.evaluation import Evaluation

NONE = "–"
_PER_CENT = "\N{NO-BREAK SPACE}%"


def estimate_of_share(estimate: Estimate | float | None, digits: int = 2) -> str:
    """A share as per cent with its interval: "94.32 % (93.90 to 94.71)"; a dash where it is not defined."""
    found = estimate if isinstance(estimate, Estimate) else Estimate(estimate, None, None)
    if found.value is None:
        return NONE
    value = f"{100 * found.value:.{digits}f}{_PER_CENT}"
    if found.low is None or found.high is None:
        return value
    return f"{value} ({100 * found.low:.{digits}f} to {100 * found.high:.{digits}f})"


def figure(estimate: Estimate, digits: int) -> str:
    """A number with its interval; a dash where it is not defined."""
    if estimate.value is None:
        return NONE
    value = f"{estimate.value:.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"


def agreement_rows(report: FullReport) -> list[tuple[str, str]]:
    """How like its teacher the student answers, name and value; none without a teacher."""
    found = report.agreement
    if found is None:
        return []
    return [
        ("the teacher's accuracy", estimate_of_share(found.teacher_accuracy)),
        ("same answer", estimate_of_share(found.same_answer)),
        ("of the teacher's errors, repeated", estimate_of_share(found.copied_error)),
        ("KL from teacher to student, nats", figure(found.divergence, 3)),
        ("rank correlation of the logits", figure(found.rank_correlation, 3)),
    ]


def finding(evaluation: Evaluation) -> str:
    """The main result, in two sentences."""
    report = evaluation.report
    main = next(one for one in report.selective if one.score == report.main_score)
    right = f"Right on {estimate_of_share(report.accuracy)} of {report.n:,} images."
    if evaluation.decided is not None:
        return f"{right} {decision_in_words(evaluation)}"
    error = estimate_of_share(main.error_at_coverage["90"])
    return f"{right} When it may decline the tenth that it is least sure of, it is wrong on {error} of the rest."


def decision_in_words(evaluation: Evaluation) -> str | None:
    """What the decision on the student's card comes to on these images; None without one."""
    decision, decided = evaluation.shown.card.decision, evaluation.decided
    if decision is None:
        return None
    if decided is None:
        return f"Its card has a decision by {decision.score}, which needs the teacher: none was asked."
    guaranteed = (
        f"guaranteed were at most {estimate_of_share(decided.max_risk)} wrong, with {decided.confidence:g} confidence "
        f"over calibration sets such as its {decision.calibrated_on.samples:,} images of "
        f"{decision.calibrated_on.data} ({decision.calibrated_on.part})"
    )
    if decided.risk is None:
        return f"By its own threshold it declines every image here; {guaranteed}."
    answered = f"{decided.answered:,} images ({estimate_of_share(decided.coverage)})"
    found = f"By its own threshold it answers {answered} and is wrong on {estimate_of_share(decided.risk)} of them"
    return f"{found}; {guaranteed}. {_verdict(evaluation)}"


def _verdict(evaluation: Evaluation) -> str:
    """Whether the risk found is at odds with the guarantee, which speaks of all images to come, not of these."""
    from scipy.stats import binomtest

    decided = evaluation.decided
    assert decided is not None, "asked only where there is one"
    if decided.kept:
        return "That is within the guarantee."
    found = binomtest(decided.errors, decided.answered, decided.max_risk, alternative="greater")
    if found.pvalue >= 0.05:
        return f"That is above the guarantee, by no more than chance does to so few images (p = {found.pvalue:.2f})."
    return (
        f"That is above the guarantee (p = {found.pvalue:.2g}): either this is one of the calibration sets on which it "
        "fails, or these images are not drawn like those it was calibrated on."
    )


def sets_in_words(evaluation: Evaluation) -> str | None:
    """What the prediction sets on the student's card come to on these images; None without any."""
    sets, found = evaluation.shown.card.sets, evaluation.sets
    if sets is None or found is None:
        return None
    return (
        f"Its prediction sets ({sets.method}) hold the right class for {estimate_of_share(found.coverage)} of the "
        f"images and {found.mean_size:.2f} classes on average; guaranteed were {estimate_of_share(1 - sets.alpha)}, on "
        f"average over calibration sets."
    )
