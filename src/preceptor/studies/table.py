"""A study's result as a table: rows for the terminal, Markdown for the docs."""

from statistics import fmean

from preceptor.studies.named import STUDIES
from preceptor.studies.result import RecipeRow, StudyResult
from preceptor.studies.wording import duration, percent, points

HEADINGS = ("recipe", "accuracy, %", "difference to {baseline}, points [95 % interval]", "samples touched")


def headings(result: StudyResult) -> tuple[str, ...]:
    """The column headings."""
    return tuple(heading.format(baseline=result.baseline) for heading in HEADINGS)


def cells(row: RecipeRow) -> tuple[str, ...]:
    """One recipe's cells."""
    spread = "" if row.deviation is None else f" ± {100 * row.deviation:.2f}"
    return row.recipe, f"{100 * row.mean:.2f}{spread}", _difference(row), _touched(row)


def markdown(result: StudyResult) -> str:
    """The table in Markdown, with a line on how it was made."""
    rows = [headings(result), ("---",) * len(HEADINGS), *(cells(row) for row in result.rows)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    teacher = result.teacher
    seeds = len(result.rows[0].accuracy)
    own = STUDIES[result.study].seeds if result.study in STUDIES else ()
    chosen = "" if len(own) == seeds else f" --seeds {seeds}"
    on_test, on_lessons = mean_percent(teacher.accuracy), mean_percent(teacher.accuracy_on_lessons)
    made = (
        f"Mean and standard deviation over {seeds} seeds, paired; test set looked at once, after the last epoch. The "
        "intervals cover training again, not another test set. "
        f"Teacher: {on_test} on the test set, {on_lessons} on the students' {result.lessons:,} images. "
        f"Made by `preceptor reproduce {result.study}{chosen}` in {duration(result.seconds)} "
        f"({result.versions['machine']}, torch {result.versions['torch']})."
    )
    return "\n".join([*lines, "", made])


def mean_percent(shares: list[float]) -> str:
    """The mean of shares over seeds, as per cent."""
    return percent(fmean(shares), 1)


def _difference(row: RecipeRow) -> str:
    if row.difference is None:
        return "–"
    mean = points(row.difference.mean)
    if row.difference.low is None or row.difference.high is None:
        return mean
    return f"{mean} [{points(row.difference.low)}, {points(row.difference.high)}]"


def _touched(row: RecipeRow) -> str:
    if row.touched is None:
        return "none"
    low, high = min(row.touched), max(row.touched)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
