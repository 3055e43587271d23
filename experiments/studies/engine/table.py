"""A study's result as tables, one a kind of teacher: in Markdown."""

from collections.abc import Sequence
from statistics import fmean

from experiments.studies.engine.columns import COLUMNS, RESERVATION, SECOND
from experiments.studies.engine.result import ArmRow, PairedMeasure, StudyResult, TeacherRow
from preceptor.compare.format import MINUS, counted, duration, percent, points
from preceptor.metrics import PairedDifference

EMPTY = "–"
_DIFFERENCE = "difference"

MOST_COLUMNS = 5
"""Columns side by side; a table with more is turned, so that each is a line."""


def headings(result: StudyResult) -> tuple[str, ...]:
    """The column headings, that of the arm's name first."""
    baselines = {row.baseline for row in result.rows if row.baseline is not None}
    to = f" to {result.baseline}" + ("" if baselines <= {result.baseline} else " or to the one named")
    return "recipe", *(COLUMNS[column].format(to=to) for column in result.columns)


def cells(row: ArmRow, result: StudyResult) -> tuple[str, ...]:
    """One arm's name and the texts of its cells."""
    return row.arm, *(_cell(column, row, result) for column in result.columns)


def tables(teacher: TeacherRow, result: StudyResult) -> dict[str, list[tuple[str, ...]]]:
    """The tables of one kind of teacher by group of arms, each as :func:`lines`; mostly one, without a name."""
    groups: dict[str, list[ArmRow]] = {}
    for row in result.rows_of(teacher):
        groups.setdefault(row.group, []).append(row)
    if len(groups) == 1:
        return {group: lines(rows, result) for group, rows in groups.items()}
    return {group: lines(rows, _without_empty_columns(rows, result)) for group, rows in groups.items()}


def _without_empty_columns(rows: Sequence[ArmRow], result: StudyResult) -> StudyResult:
    """The result without the columns that are empty for these arms, such as the reservation of plain heads."""
    columns = zip(result.columns, *(cells(row, result)[1:] for row in rows), strict=True)
    return result.model_copy(update={"columns": tuple(name for name, *texts in columns if set(texts) != {EMPTY})})


def lines(rows: Sequence[ArmRow], result: StudyResult) -> list[tuple[str, ...]]:
    """Headings first: a line an arm, or, with many columns, a line a column."""
    table = [headings(result), *(cells(row, result) for row in rows)]
    return list(zip(*table, strict=True)) if has_many_columns(result) else table


def has_many_columns(result: StudyResult) -> bool:
    """Whether the columns are too many for one line an arm."""
    return len(result.columns) > MOST_COLUMNS


def markdown(result: StudyResult) -> str:
    """The tables in Markdown, one a kind of teacher, with a line on how they were made."""
    text = []
    for teacher in result.teachers:
        if len(result.teachers) > 1:
            text += [f"**Teacher: {teacher.about}.** {_teacher_accuracy(teacher, result)}", ""]
        for group, (heading, *rows) in tables(teacher, result).items():
            text += [f"*{group}*", ""] if group else []
            text += ["| " + " | ".join(row) + " |" for row in (heading, ("---",) * len(heading), *rows)]
            text.append("")
    return "\n".join([*text, _provenance(result)])


def mean_percent(shares: list[float]) -> str:
    """The mean of shares over seeds, as per cent."""
    return percent(fmean(shares), 1)


def _provenance(result: StudyResult) -> str:
    teacher = f"Teacher: {_teacher_accuracy(result.teachers[0], result)} " if len(result.teachers) == 1 else ""
    return (
        f"Mean and standard deviation over {counted(result.seeds, 'seed')}, paired; test set looked at once, after the "
        f"last epoch. The intervals cover training again, not another test set. {teacher}"
        f"Made by `python -m experiments.studies {result.study} --seeds {result.seeds}` in {duration(result.seconds)} "
        f"({result.versions['machine']}, torch {result.versions['torch']})."
    )


def _teacher_accuracy(teacher: TeacherRow, result: StudyResult) -> str:
    on_test, on_training = mean_percent(teacher.accuracy), mean_percent(teacher.accuracy_on_training_images)
    return f"{on_test} on the test set, {on_training} on the students' {result.training_images:,} images."


def _cell(column: str, row: ArmRow, result: StudyResult) -> str:
    if column == "affected":
        return _affected(row)
    if column == "recovery":
        return _recovery(row)
    if not column.endswith(_DIFFERENCE):
        return _spread(column, row.measures.get(column))
    name = column.removesuffix(_DIFFERENCE).removesuffix("_") or "accuracy"
    measure = row.measures.get(name.removesuffix(SECOND))
    if measure is None:
        return EMPTY
    if name.endswith(SECOND):
        return _difference(measure.second_difference, row.second_baseline)
    # A measure by reservation is compared with softmax response on the same networks: no arm to name.
    named = None if name.endswith(RESERVATION) or row.baseline == result.baseline else row.baseline
    return _difference(measure.difference, named)


def _spread(name: str, measure: PairedMeasure | None) -> str:
    if measure is None:
        return EMPTY
    unit = 1 if name == "temperature" else 100
    spread = "" if measure.deviation is None else f" ± {unit * measure.deviation:.2f}"
    return f"{unit * measure.mean:.2f}{spread}"


def _difference(difference: PairedDifference | None, other: str | None) -> str:
    """A difference with its interval; ``other`` is named where it is not the study's baseline."""
    if difference is None:
        return EMPTY
    to = "" if other is None else f" to {other}"
    mean = points(difference.mean)
    if difference.low is None or difference.high is None:
        return mean + to
    return f"{mean} [{points(difference.low)}, {points(difference.high)}]{to}"


def _affected(row: ArmRow) -> str:
    if row.affected is None:
        return "none"
    low, high = min(row.affected), max(row.affected)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _recovery(row: ArmRow) -> str:
    """The ratio, with its range over seeds where every seed has one."""
    if row.recovery is None:
        return EMPTY
    values = [value for value in row.recovery.values if value is not None]
    if len(values) < max(2, len(row.recovery.values)):
        return _ratio(row.recovery.ratio)
    return f"{_ratio(row.recovery.ratio)} ({_ratio(min(values))} to {_ratio(max(values))})"


def _ratio(ratio: float) -> str:
    return f"{round(ratio, 2) + 0.0:.2f}".replace("-", MINUS)
