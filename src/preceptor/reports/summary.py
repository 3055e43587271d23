"""Sentences on what a study found, made from its numbers: with one kind of teacher, or over several."""

from enum import StrEnum

from preceptor.compare.format import counted, interval, listed, percent, points
from preceptor.compare.result import ArmRow, StudyResult, TeacherRow
from preceptor.metrics import PairedDifference, paired_difference

LABELS_ONLY = "none"
DROP_WRONG = "drop-wrong"
PLAIN = "kd"


class Kind(StrEnum):
    """What an arm is in the comparison; the value is shown to the reader."""

    BASELINE = "baseline"
    LABELS_ONLY = "labels only"
    CONTROL = "control"
    CONTENDER = "contender"
    OTHER = "other"


class Verdict(StrEnum):
    """What a paired difference says."""

    BETTER = "better"
    WORSE = "worse"
    OPEN = "cannot be told"


def kind_of(row: ArmRow, result: StudyResult) -> Kind:
    """The part an arm plays: the baseline, a control, a contender, or plain distillation for comparison."""
    if row.arm == result.baseline:
        return Kind.BASELINE
    if row.recipe == LABELS_ONLY:
        return Kind.LABELS_ONLY
    if row.recipe == DROP_WRONG or any(other.baseline == row.arm for other in result.rows):
        return Kind.CONTROL
    return Kind.OTHER if row.recipe == PLAIN else Kind.CONTENDER


def arm_name(row: ArmRow) -> str:
    """An arm's name inside a sentence, where the recipe "none" would read as "no recipe"."""
    return "labels alone" if row.arm == row.recipe == LABELS_ONLY else row.arm


def best_contender(result: StudyResult, teacher: TeacherRow | None = None) -> ArmRow | None:
    """The contender of the highest mean accuracy with this teacher; None when the study has none.

    Here and below the default is the first teacher.
    """
    return max(_rows_of(Kind.CONTENDER, result, teacher), key=lambda row: row.accuracy.mean, default=None)


def main_finding(result: StudyResult, teacher: TeacherRow | None = None) -> str:
    """One sentence: the best contender against its baseline, and how the controls did."""
    best = best_contender(result, teacher)
    if best is None or best.accuracy.difference is None or best.baseline is None:
        baseline = _row(result.baseline, result, teacher)
        claim = f"The study has no {result.noun} to compare; {baseline.arm} reached {percent(baseline.accuracy.mean)}"
    else:
        claim = _claim(best, best.accuracy.difference, _row(best.baseline, result, teacher), result)
    controls = [
        *(f"labels alone reached {_reached(row, best)}" for row in _rows_of(Kind.LABELS_ONLY, result, teacher)),
        *(f"merely dropping the wrong samples {_reached(row, best)}" for row in _dropping(result, teacher)),
    ]
    return "; ".join([claim, *([" and ".join(controls)] if controls else [])]) + "."


def overall_finding(result: StudyResult) -> str:
    """One sentence over all kinds of teacher: with which of them the best contender did better, or worse."""
    if len(result.teachers) == 1:
        return main_finding(result)
    by_verdict: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
    for teacher in result.teachers:
        best = best_contender(result, teacher)
        if best is not None:
            by_verdict[verdict_of(best.accuracy.difference)].append(f"{teacher.name} ({best.arm})")
    sentences = {
        Verdict.BETTER: "did better with {}",
        Verdict.WORSE: "did worse with {}",
        Verdict.OPEN: "cannot be told from it with {}",
    }
    parts = [sentences[verdict].format(listed(names)) for verdict, names in by_verdict.items() if names]
    if not parts:
        return f"The study has no {result.noun} to compare."
    baseline = "its baseline:" if _has_own_baselines(result) else f"the baseline, {result.baseline}:"
    return (
        f"Over {counted(len(result.teachers), 'kind')} of teacher, the best {result.noun}, against {baseline} "
        f"{'; '.join(parts)}."
    )


def caveats(result: StudyResult, teacher: TeacherRow | None = None) -> list[str]:
    """What a careful reader would ask next: the best contender against each control, and how it was picked."""
    best = best_contender(result, teacher)
    if best is None:
        return _abstaining(result, teacher)
    others = [*_rows_of(Kind.LABELS_ONLY, result, teacher), *_dropping(result, teacher)]
    if best.baseline != result.baseline:
        others.insert(0, _row(result.baseline, result, teacher))
    return [
        *(_comparison(best, other) for other in others),
        *_multiplicity(result, teacher),
        *_abstaining(result, teacher),
    ]


def verdict_of(difference: PairedDifference | None) -> Verdict:
    """Which side of zero the interval lies on, if there is one and it excludes zero."""
    if difference is None or difference.low is None or difference.high is None:
        return Verdict.OPEN
    if difference.low > 0:
        return Verdict.BETTER
    return Verdict.WORSE if difference.high < 0 else Verdict.OPEN


def excludes_zero(difference: PairedDifference | None) -> bool:
    """Whether there is an interval and zero lies outside it."""
    return verdict_of(difference) is not Verdict.OPEN


def _row(arm: str, result: StudyResult, teacher: TeacherRow | None) -> ArmRow:
    return result.row(arm, None if teacher is None else teacher.name)


def _rows_of(kind: Kind, result: StudyResult, teacher: TeacherRow | None) -> list[ArmRow]:
    rows = result.rows_of(result.teachers[0] if teacher is None else teacher)
    return [row for row in rows if kind_of(row, result) is kind]


def _dropping(result: StudyResult, teacher: TeacherRow | None) -> list[ArmRow]:
    return [row for row in _rows_of(Kind.CONTROL, result, teacher) if row.recipe == DROP_WRONG]


def _has_own_baselines(result: StudyResult) -> bool:
    return any(row.baseline not in (None, result.baseline) for row in result.rows)


def _claim(best: ArmRow, difference: PairedDifference, other: ArmRow, result: StudyResult) -> str:
    part = "the baseline" if other.arm == result.baseline else "its control"
    baseline = f"{part}, {other.arm}"
    mean, other_mean = percent(best.accuracy.mean), percent(other.accuracy.mean)
    if difference.low is None or difference.high is None:
        return (
            f"{best.arm}, the best {result.noun}, reached {mean} against {other_mean} for "
            f"{baseline}, on the only seed: a difference of {points(difference.mean)} points that may be chance"
        )
    gained = f"a paired difference of {points(difference.mean)} points over {counted(difference.n, 'seed')}"
    numbers = f"{mean} against {other_mean}, {gained}"
    match verdict_of(difference):
        case Verdict.BETTER:
            return f"{best.arm}, the best {result.noun}, beat {baseline}: {numbers} ({interval(difference)})"
        case Verdict.WORSE:
            worst = f"Even the best {result.noun}, {best.arm}, did worse than {baseline}"
            return f"{worst}: {numbers} ({interval(difference)})"
        case _:
            return (
                f"The best {result.noun}, {best.arm}, cannot be told from {baseline}: {numbers}, "
                f"and the {interval(difference)} includes zero"
            )


def _reached(control: ArmRow, best: ArmRow | None) -> str:
    mean = control.accuracy.mean
    if best is None or mean < best.accuracy.mean:
        return percent(mean)
    return f"{percent(mean)} ({'as much as' if mean == best.accuracy.mean else 'more than'} {best.arm})"


def _comparison(best: ArmRow, other: ArmRow) -> str:
    difference = paired_difference(best.accuracy.values, other.accuracy.values)
    return _with_interval(f"{best.arm} against {arm_name(other)}: {points(difference.mean)} points", difference)


def _with_interval(claim: str, difference: PairedDifference) -> str:
    if difference.low is None:
        return f"{claim}, one seed, no interval."
    verdict = "which excludes zero" if excludes_zero(difference) else "which includes zero"
    return f"{claim}, {interval(difference)}, {verdict}."


def _multiplicity(result: StudyResult, teacher: TeacherRow | None) -> list[str]:
    rows = _rows_of(Kind.CONTENDER, result, teacher)
    if len(rows) < 2 or len(rows[0].accuracy.values) < 2:
        return []
    above, below = (
        [row.arm for row in rows if verdict_of(row.accuracy.difference) is verdict]
        for verdict in (Verdict.BETTER, Verdict.WORSE)
    )
    baseline = "its baseline" if _has_own_baselines(result) else result.baseline
    return [
        f"Of {len(rows)} {result.noun}s, {_among(above)} an interval against {baseline} above zero, "
        f"{_among(below)} one below zero.",
        "The best was picked after the fact; no interval is widened for that, nor for looking at several.",
    ]


def _abstaining(result: StudyResult, teacher: TeacherRow | None) -> list[str]:
    """For students that can abstain: whether their reservation ranks errors better than their class probabilities."""
    rows = result.rows_of(result.teachers[0] if teacher is None else teacher)
    measures = [(row, row.measures["aurc_reservation"]) for row in rows if "aurc_reservation" in row.measures]
    return [
        _with_interval(
            f"{row.arm}, abstaining by reservation instead of by its class probabilities: AURC "
            f"{percent(measure.mean)}, {points(measure.difference.mean)} points (lower is better)",
            measure.difference,
        )
        for row, measure in measures
        if measure.difference is not None
    ]


def _among(arms: list[str]) -> str:
    verb = "has" if len(arms) == 1 else "have"
    return f"{len(arms)} ({listed(arms)}) {verb}" if arms else f"0 {verb}"
