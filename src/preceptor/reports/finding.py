"""What a study found, in words made from its numbers."""

from enum import StrEnum

from preceptor.evaluation import PairedDifference, paired_difference
from preceptor.studies.result import RecipeRow, StudyResult
from preceptor.studies.wording import counted, interval, listed, percent, points

LABELS_ONLY = "none"
DROP_WRONG = "drop-wrong"


class Kind(StrEnum):
    """What a recipe is in the comparison; the value is shown to the reader."""

    BASELINE = "baseline"
    LABELS_ONLY = "labels only"
    CONTROL = "control"
    CORRECTION = "correction"
    OTHER = "other"


def kind_of(row: RecipeRow, result: StudyResult) -> Kind:
    """The part a recipe plays: the baseline, one of the two controls, a correction, or something else."""
    if row.recipe == result.baseline:
        return Kind.BASELINE
    if row.recipe == LABELS_ONLY:
        return Kind.LABELS_ONLY
    if row.recipe == DROP_WRONG:
        return Kind.CONTROL
    return Kind.OTHER if row.touched is None else Kind.CORRECTION


def spoken(row: RecipeRow, result: StudyResult) -> str:
    """A recipe's name inside a sentence, where the recipe "none" would read as "no recipe"."""
    return "labels alone" if kind_of(row, result) is Kind.LABELS_ONLY else row.recipe


def best_correction(result: StudyResult) -> RecipeRow | None:
    """The correction of the highest mean accuracy; None when the study has no correction."""
    return max(_rows_of(Kind.CORRECTION, result), key=lambda row: row.mean, default=None)


def main_finding(result: StudyResult) -> str:
    """One sentence: the best correction against the baseline, and how the controls did."""
    best = best_correction(result)
    baseline = result.row(result.baseline)
    if best is None or best.difference is None:
        claim = f"The study has no correction to compare; {baseline.recipe} reached {percent(baseline.mean)}"
    else:
        claim = _claim(best, best.difference, baseline)
    controls = [
        *(f"labels alone reached {_reached(row, best)}" for row in _rows_of(Kind.LABELS_ONLY, result)),
        *(f"merely dropping the wrong samples {_reached(row, best)}" for row in _rows_of(Kind.CONTROL, result)),
    ]
    return "; ".join([claim, *([" and ".join(controls)] if controls else [])]) + "."


def caveats(result: StudyResult) -> list[str]:
    """What a careful reader would ask next: the best correction against each control, and how it was picked."""
    best = best_correction(result)
    if best is None:
        return []
    controls = [*_rows_of(Kind.LABELS_ONLY, result), *_rows_of(Kind.CONTROL, result)]
    return [*(_against(best, control, spoken(control, result)) for control in controls), *_multiplicity(result)]


def excludes_zero(difference: PairedDifference | None) -> bool:
    """Whether there is an interval and zero lies outside it."""
    if difference is None or difference.low is None or difference.high is None:
        return False
    return difference.low > 0 or difference.high < 0


def _rows_of(kind: Kind, result: StudyResult) -> list[RecipeRow]:
    return [row for row in result.rows if kind_of(row, result) is kind]


def _claim(best: RecipeRow, difference: PairedDifference, baseline: RecipeRow) -> str:
    rival = f"the baseline, {baseline.recipe}"
    if difference.low is None or difference.high is None:
        return (
            f"{best.recipe}, the best correction, reached {percent(best.mean)} against {percent(baseline.mean)} for "
            f"{rival}, on the only seed: a difference of {points(difference.mean)} points that may be chance"
        )
    gained = f"a paired difference of {points(difference.mean)} points over {counted(difference.n, 'seed')}"
    numbers = f"{percent(best.mean)} against {percent(baseline.mean)}, {gained}"
    if difference.low > 0:
        return f"{best.recipe}, the best correction, beat {rival}: {numbers} ({interval(difference)})"
    if difference.high < 0:
        return f"Even the best correction, {best.recipe}, did worse than {rival}: {numbers} ({interval(difference)})"
    return (
        f"The best correction, {best.recipe}, cannot be told from {rival}: {numbers}, "
        f"and the {interval(difference)} includes zero"
    )


def _reached(control: RecipeRow, best: RecipeRow | None) -> str:
    accuracy = percent(control.mean)
    if best is None or control.mean < best.mean:
        return accuracy
    return f"{accuracy} ({'as much as' if control.mean == best.mean else 'more than'} {best.recipe})"


def _against(best: RecipeRow, control: RecipeRow, name: str) -> str:
    difference = paired_difference(best.accuracy, control.accuracy)
    said = f"{best.recipe} against {name}: {points(difference.mean)} points"
    if difference.low is None:
        return f"{said}, one seed, no interval."
    verdict = "which excludes zero" if excludes_zero(difference) else "which includes zero"
    return f"{said}, {interval(difference)}, {verdict}."


def _multiplicity(result: StudyResult) -> list[str]:
    rows = _rows_of(Kind.CORRECTION, result)
    if len(rows) < 2 or len(rows[0].accuracy) < 2:
        return []
    above = [row.recipe for row in rows if excludes_zero(row.difference) and row.difference and row.difference.mean > 0]
    below = [row.recipe for row in rows if excludes_zero(row.difference) and row.difference and row.difference.mean < 0]
    return [
        f"Of {len(rows)} corrections, {_among(above)} an interval against {result.baseline} above zero, "
        f"{_among(below)} one below zero.",
        "The best was picked after the fact; no interval is widened for that, nor for looking at several.",
    ]


def _among(recipes: list[str]) -> str:
    verb = "has" if len(recipes) == 1 else "have"
    return f"{len(recipes)} ({listed(recipes)}) {verb}" if recipes else f"0 {verb}"
