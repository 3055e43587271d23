"""The results of an evaluation as text, for the terminal and for the page."""

from collections.abc import Callable

from preceptor.metrics import Estimate, FullReport, share_estimate
from preceptor.metrics.agreement import Outcomes
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
        ("NLL, nats", [figure(one.nll, 4) for one in columns]),
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
        ("same answer", estimate_of_share(agreement.same_answer)),
        ("of the teacher's mistakes, copied", estimate_of_share(agreement.copied_error)),
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


def headline(evaluation: Evaluation, digits: int = 1) -> str:
    """What a reader wants first: "Right on 30.1 % (teacher 36.2 %, same answer 66.0 %)"."""
    report = evaluation.report
    text = f"Right on {estimate_of_share(report.accuracy.value, digits)}"
    if report.agreement is None:
        return text
    teacher, same = report.agreement.teacher_accuracy.value, report.agreement.same_answer.value
    return f"{text} (teacher {estimate_of_share(teacher, digits)}, same answer {estimate_of_share(same, digits)})"


def headline_intervals(evaluation: Evaluation, digits: int = 1) -> str:
    """On how many images, and the intervals of the headline."""
    report, part = evaluation.report, "training" if evaluation.data.whole else "test"
    shares = {"right": report.accuracy}
    if report.agreement is not None:
        shares |= {"teacher": report.agreement.teacher_accuracy, "same answer": report.agreement.same_answer}
    ranges = (f"{name} {_ends(share, digits)}" for name, share in shares.items())
    left_out = f"; {report.unlabeled:,} without a label were left out" if report.unlabeled else ""
    level = f"{100 * report.confidence:g}{_PER_CENT}"
    return f"Measured on {report.n:,} {part} images{left_out}. {level} intervals: {', '.join(ranges)}."


def _ends(share: Estimate, digits: int) -> str:
    assert share.low is not None, "a report has a labeled sample"
    assert share.high is not None, "a report has a labeled sample"
    return f"{100 * share.low:.{digits}f} to {100 * share.high:.{digits}f}{_PER_CENT}"


def outcome_rows(outcomes: Outcomes) -> list[tuple[str, list[str]]]:
    """Teacher right or wrong by student right and wrong: counts, and shares of all."""
    n = sum(vars(outcomes).values())
    both_wrong = outcomes.copied + outcomes.wrong_otherwise

    def cell(count: int) -> str:
        return f"{count:,} ({100 * count / n:.1f}{_PER_CENT})"

    return [
        ("teacher right", [cell(outcomes.both_right), cell(outcomes.own)]),
        ("teacher wrong", [cell(outcomes.mended), cell(both_wrong)]),
    ]


def outcomes_in_words(outcomes: Outcomes) -> list[tuple[str, str]]:
    """Mistakes copied, mistakes of its own and mistakes mended: name and sentence."""
    own, otherwise = outcomes.own + outcomes.wrong_otherwise, outcomes.wrong_otherwise
    mistakes, theirs = own + outcomes.copied, outcomes.mended + outcomes.copied + outcomes.wrong_otherwise
    return [
        (
            "mistakes copied",
            f"{_of(outcomes.copied, mistakes)} of the student's {mistakes:,} mistakes: the teacher's wrong class",
        ),
        (
            "mistakes of its own",
            f"{_of(own, mistakes)}: the teacher is right on {outcomes.own:,} of them"
            + (f", and wrong with another class on {otherwise:,}" if otherwise else ""),
        ),
        (
            "mistakes mended",
            f"{_of(outcomes.mended, theirs)} of the teacher's {theirs:,} mistakes: the student is right",
        ),
    ]


def _of(count: int, whole: int) -> str:
    return f"{count:,}" + (f" ({100 * count / whole:.0f}{_PER_CENT})" if whole else "")


def size_rows(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    """What student and teacher cost, in the order of ``SIZE_HEADINGS``."""
    named = {"student": evaluation.cost}
    named |= {f"teacher {name}": cost for name, cost in evaluation.teacher_costs.items()}
    return [
        (
            name,
            [
                f"{cost.parameters:,}",
                f"{cost.multiply_adds:,}",
                f"{cost.images_per_second:,.0f}",
                f"{cost.images_per_second_in_batches:,.0f} (by {cost.large_batch})",
            ],
        )
        for name, cost in named.items()
    ]


SIZE_HEADINGS = ("parameters", "multiply-adds an image", "images a second, one by one", "in batches")


def size_in_words(evaluation: Evaluation) -> str:
    """The student's size beside its teacher's, measure by measure; empty without a teacher."""
    cost, teachers = evaluation.cost, evaluation.teacher_costs.values()
    if evaluation.teacher is None:
        return ""
    if not teachers:
        return "Its teacher's size is not known: it is not a run folder."
    weights = _relative(cost.parameters, sum(one.parameters for one in teachers))
    return (
        f"It has {weights} its teacher's parameters and takes "
        f"{_relative(cost.multiply_adds, sum(one.multiply_adds for one in teachers))} its multiply-adds."
    )


def _relative(own: int, theirs: int) -> str:
    if own > theirs:
        return f"{own / max(theirs, 1):.3g} times"
    return "as many as" if own == theirs else f"{100 * own / theirs:.3g}{_PER_CENT} of"


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
