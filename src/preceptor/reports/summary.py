"""The results of a study as sentences, with one kind of teacher or over several."""

from enum import StrEnum

from preceptor.metrics import PairedDifference, paired_difference
from preceptor.studies.format import counted, interval, listed, percent, points
from preceptor.studies.result import ArmRow, StudyResult, TeacherRow

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
    if row.recipe == DROP_WRONG or any(other.against == row.arm for other in result.rows):
        return Kind.CONTROL
    return Kind.OTHER if row.recipe == PLAIN else Kind.CONTENDER


def spoken(row: ArmRow, result: StudyResult) -> str:
    """An arm's name inside a sentence, where the recipe "none" would read as "no recipe"."""
    return "labels alone" if row.arm == row.recipe == LABELS_ONLY else row.arm


def best_contender(result: StudyResult, teacher: TeacherRow | None = None) -> ArmRow | None:
    """The contender of the highest mean accuracy with this teacher; None when the study has none.

    Without a teacher, of the first; so below.
    """
    return max(_rows_of(Kind.CONTENDER, result, teacher), key=lambda row: row.accuracy.mean, default=None)


def main_finding(result: StudyResult, teacher: TeacherRow | None = None) -> str:
    """One sentence: the best contender against what it is held against, and how the controls did."""
    best = best_contender(result, teacher)
    if best is None or best.accuracy.difference is None or best.against is None:
        baseline = _row(result.baseline, result, teacher)
        claim = f"The study has no {result.noun} to compare; {baseline.arm} reached {percent(baseline.accuracy.mean)}"
    else:
        claim = _claim(best, best.accuracy.difference, _row(best.against, result, teacher), result)
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
    phrases = {
        Verdict.BETTER: "did better with {}",
        Verdict.WORSE: "did worse with {}",
        Verdict.OPEN: "cannot be told from it with {}",
    }
    parts = [phrases[verdict].format(listed(names)) for verdict, names in by_verdict.items() if names]
    if not parts:
        return f"The study has no {result.noun} to compare."
    rival = "what it is held against:" if _has_rivals(result) else f"the baseline, {result.baseline}:"
    return (
        f"Over {counted(len(result.teachers), 'kind')} of teacher, the best {result.noun}, against {rival} "
        f"{'; '.join(parts)}."
    )


def caveats(result: StudyResult, teacher: TeacherRow | None = None) -> list[str]:
    """What a careful reader would ask next: the best contender against each control, and how it was picked."""
    best = best_contender(result, teacher)
    if best is None:
        return _declining(result, teacher)
    rivals = [*_rows_of(Kind.LABELS_ONLY, result, teacher), *_dropping(result, teacher)]
    if best.against != result.baseline:
        rivals.insert(0, _row(result.baseline, result, teacher))
    return [
        *(_against(best, rival, spoken(rival, result)) for rival in rivals),
        *_multiplicity(result, teacher),
        *_declining(result, teacher),
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


def _has_rivals(result: StudyResult) -> bool:
    return any(row.against not in (None, result.baseline) for row in result.rows)


def _claim(best: ArmRow, difference: PairedDifference, rival_row: ArmRow, result: StudyResult) -> str:
    part = "the baseline" if rival_row.arm == result.baseline else "its control"
    rival = f"{part}, {rival_row.arm}"
    mean, against = percent(best.accuracy.mean), percent(rival_row.accuracy.mean)
    if difference.low is None or difference.high is None:
        return (
            f"{best.arm}, the best {result.noun}, reached {mean} against {against} for "
            f"{rival}, on the only seed: a difference of {points(difference.mean)} points that may be chance"
        )
    gained = f"a paired difference of {points(difference.mean)} points over {counted(difference.n, 'seed')}"
    numbers = f"{mean} against {against}, {gained}"
    match verdict_of(difference):
        case Verdict.BETTER:
            return f"{best.arm}, the best {result.noun}, beat {rival}: {numbers} ({interval(difference)})"
        case Verdict.WORSE:
            worst = f"Even the best {result.noun}, {best.arm}, did worse than {rival}"
            return f"{worst}: {numbers} ({interval(difference)})"
        case _:
            return (
                f"The best {result.noun}, {best.arm}, cannot be told from {rival}: {numbers}, "
                f"and the {interval(difference)} includes zero"
            )


def _reached(control: ArmRow, best: ArmRow | None) -> str:
    mean = control.accuracy.mean
    if best is None or mean < best.accuracy.mean:
        return percent(mean)
    return f"{percent(mean)} ({'as much as' if mean == best.accuracy.mean else 'more than'} {best.arm})"


def _against(best: ArmRow, control: ArmRow, name: str) -> str:
    difference = paired_difference(best.accuracy.values, control.accuracy.values)
    return _judged(f"{best.arm} against {name}: {points(difference.mean)} points", difference)


def _judged(text: str, difference: PairedDifference) -> str:
    if difference.low is None:
        return f"{text}, one seed, no interval."
    verdict = "which excludes zero" if excludes_zero(difference) else "which includes zero"
    return f"{text}, {interval(difference)}, {verdict}."


def _multiplicity(result: StudyResult, teacher: TeacherRow | None) -> list[str]:
    rows = _rows_of(Kind.CONTENDER, result, teacher)
    if len(rows) < 2 or len(rows[0].accuracy.values) < 2:
        return []
    above, below = (
        [row.arm for row in rows if verdict_of(row.accuracy.difference) is verdict]
        for verdict in (Verdict.BETTER, Verdict.WORSE)
    )
    rival = "what it is held against" if _has_rivals(result) else result.baseline
    return [
        f"Of {len(rows)} {result.noun}s, {_among(above)} an interval against {rival} above zero, "
        f"{_among(below)} one below zero.",
        "The best was picked after the fact; no interval is widened for that, nor for looking at several.",
    ]


def _declining(result: StudyResult, teacher: TeacherRow | None) -> list[str]:
    """For students that can abstain: whether their reservation knows better than their own class probabilities."""
    rows = result.rows_of(result.teachers[0] if teacher is None else teacher)
    measured = [(row, row.measures["aurc_reservation"]) for row in rows if "aurc_reservation" in row.measures]
    return [
        _judged(
            f"{row.arm}, abstaining by reservation instead of by its class probabilities: AURC "
            f"{percent(measure.mean)}, {points(measure.difference.mean)} points (lower is better)",
            measure.difference,
        )
        for row, measure in measured
        if measure.difference is not None
    ]


def _among(arms: list[str]) -> str:
    verb = "has" if len(arms) == 1 else "have"
    return f"{len(arms)} ({listed(arms)}) {verb}" if arms else f"0 {verb}"
