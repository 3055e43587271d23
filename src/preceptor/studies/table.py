"""A study's result as tables, one a kind of teacher: rows for the terminal, Markdown for the docs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from preceptor.metrics import PairedDifference
from preceptor.studies.columns import ALSO, COLUMNS, RESERVATION
from preceptor.studies.format import MINUS, counted, duration, percent, points
from preceptor.studies.named import STUDIES
from preceptor.studies.result import ArmRow, Measure, StudyResult, TeacherRow

EMPTY = "–"
_DIFFERENCE = "difference"

MOST_COLUMNS = 5
"""Measures beside each other; more of them are put below each other."""


@dataclass(frozen=True)
class Cell:
    """One entry of a table: its column, what it says, and the difference it shows, if it shows one."""

    column: str
    text: str
    difference: PairedDifference | None = None

    @property
    def is_difference(self) -> bool:
        """Whether its column holds differences."""
        return self.column.endswith(_DIFFERENCE)


def headings(result: StudyResult) -> tuple[str, ...]:
    """The column headings, the name of the arm first."""
    rivals = {row.against for row in result.rows if row.against is not None}
    to = f" to {result.baseline}" + ("" if rivals <= {result.baseline} else " or to the one named")
    return "recipe", *(COLUMNS[column].format(to=to) for column in result.columns)


def row_cells(row: ArmRow, result: StudyResult) -> tuple[Cell, ...]:
    """One arm's cells after its name."""
    return tuple(_cell(column, row, result) for column in result.columns)


def cells(row: ArmRow, result: StudyResult) -> tuple[str, ...]:
    """One arm's name and what its cells say."""
    return row.arm, *(cell.text for cell in row_cells(row, result))


def tables(teacher: TeacherRow, result: StudyResult) -> dict[str, list[tuple[str, ...]]]:
    """The tables of one kind of teacher by group of arms, each as :func:`lines`; mostly one, without a name."""
    rows: dict[str, list[ArmRow]] = {}
    for row in result.rows_of(teacher):
        rows.setdefault(row.group, []).append(row)
    if len(rows) == 1:
        return {group: _lines(own, result) for group, own in rows.items()}
    return {group: _lines(own, _without_empty_columns(own, result)) for group, own in rows.items()}


def lines(teacher: TeacherRow, result: StudyResult) -> list[tuple[str, ...]]:
    """All arms of one kind of teacher, headings first: a line an arm, or a line a measure where these are many."""
    return _lines(result.rows_of(teacher), result)


def _without_empty_columns(rows: Sequence[ArmRow], result: StudyResult) -> StudyResult:
    """What no arm of a group has, such as a reservation, is left out of its table."""
    said = zip(result.columns, *(cells(row, result)[1:] for row in rows), strict=True)
    kept = tuple(column for column, *texts in said if set(texts) != {EMPTY})
    return result.model_copy(update={"columns": kept})


def _lines(rows: Sequence[ArmRow], result: StudyResult) -> list[tuple[str, ...]]:
    table = [headings(result), *(cells(row, result) for row in rows)]
    return list(zip(*table, strict=True)) if has_many_columns(result) else table


def has_many_columns(result: StudyResult) -> bool:
    """Whether the measures are too many for one line an arm."""
    return len(result.columns) > MOST_COLUMNS


def markdown(result: StudyResult) -> str:
    """The tables in Markdown, one a kind of teacher, with a line on how they were made."""
    several = len(result.teachers) > 1
    parts = []
    for teacher in result.teachers:
        parts += [[f"**Teacher: {teacher.about}.** {_heard(teacher, result)}", ""]] if several else []
        for group, table in tables(teacher, result).items():
            parts += [[f"*{group}*", ""]] if group else []
            parts.append([*_in_markdown(table), ""])
    return "\n".join([*(line for part in parts for line in part), _made(result)])


def mean_percent(shares: list[float]) -> str:
    """The mean of shares over seeds, as per cent."""
    return percent(fmean(shares), 1)


def _in_markdown(table: Sequence[tuple[str, ...]]) -> list[str]:
    heading, *rows = table
    return ["| " + " | ".join(row) + " |" for row in (heading, ("---",) * len(heading), *rows)]


def _made(result: StudyResult) -> str:
    own = STUDIES[result.study].seeds if result.study in STUDIES else ()
    chosen = "" if len(own) == result.seeds else f" --seeds {result.seeds}"
    teacher = f"Teacher: {_heard(result.teachers[0], result)} " if len(result.teachers) == 1 else ""
    return (
        f"Mean and standard deviation over {counted(result.seeds, 'seed')}, paired; test set looked at once, after the "
        f"last epoch. The intervals cover training again, not another test set. {teacher}"
        f"Made by `preceptor reproduce {result.study}{chosen}` in {duration(result.seconds)} "
        f"({result.versions['machine']}, torch {result.versions['torch']})."
    )


def _heard(teacher: TeacherRow, result: StudyResult) -> str:
    on_test, on_lessons = mean_percent(teacher.accuracy), mean_percent(teacher.accuracy_on_training_images)
    return f"{on_test} on the test set, {on_lessons} on the students' {result.training_images:,} images."


def _cell(column: str, row: ArmRow, result: StudyResult) -> Cell:
    if column in _SPECIAL:
        return Cell(column, _SPECIAL[column](row))
    if not column.endswith(_DIFFERENCE):
        return Cell(column, _spread(column, row.measures.get(column)))
    name = column.removesuffix(_DIFFERENCE).removesuffix("_") or "accuracy"
    if name.endswith(ALSO):
        found = row.measures.get(name.removesuffix(ALSO))
        difference = None if found is None else found.also_difference
        return Cell(column, _difference(difference, row.also_against), difference)
    found = row.measures.get(name)
    difference = None if found is None else found.difference
    is_own = name.endswith(RESERVATION)  # held against softmax response on the same networks
    other = None if is_own or row.against == result.baseline else row.against
    return Cell(column, _difference(difference, other), difference)


def _spread(name: str, measure: Measure | None) -> str:
    if measure is None:
        return EMPTY
    unit = 1 if name == "temperature" else 100
    spread = "" if measure.deviation is None else f" ± {unit * measure.deviation:.2f}"
    return f"{unit * measure.mean:.2f}{spread}"


def _difference(difference: PairedDifference | None, other: str | None) -> str:
    """A difference with its interval; ``other`` is named where it is not to the baseline."""
    if difference is None:
        return EMPTY
    to = "" if other is None else f" to {other}"
    mean = points(difference.mean)
    if difference.low is None or difference.high is None:
        return mean + to
    return f"{mean} [{points(difference.low)}, {points(difference.high)}]{to}"


def _touched(row: ArmRow) -> str:
    if row.affected is None:
        return "none"
    low, high = min(row.affected), max(row.affected)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _repair(row: ArmRow) -> str:
    """The ratio with its range over seeds, where it is known under every seed."""
    repair = row.repair
    if repair is None:
        return EMPTY
    values = [value for value in repair.values if value is not None]
    if len(values) < max(2, len(repair.values)):
        return _ratio(repair.ratio)
    return f"{_ratio(repair.ratio)} ({_ratio(min(values))} to {_ratio(max(values))})"


def _ratio(ratio: float) -> str:
    return f"{round(ratio, 2) + 0.0:.2f}".replace("-", MINUS)


_SPECIAL: dict[str, Callable[[ArmRow], str]] = {"affected": _touched, "repair": _repair}
