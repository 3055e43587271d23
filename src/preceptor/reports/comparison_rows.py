"""The tables of a comparison's page."""

from dataclasses import dataclass

from preceptor.compare.comparison_result import ArmResult, ComparisonResult
from preceptor.compare.findings import ArmTable
from preceptor.compare.format import points
from preceptor.compare.measure import Measure
from preceptor.reports.chart import label
from preceptor.reports.comparison_charts import MEETINGS
from preceptor.reports.comparison_classes import class_gains

EMPTY = "–"

MOST_ROWS = 200
"""Classes in a table at most; all are in compare.json."""

Cell = tuple[str, str, bool]
"""A number, what stands smaller beside it, and whether it is gray."""


@dataclass(frozen=True)
class Row:
    """A row of a table that turns into a card on a phone.

    Attributes:
        name: its heading.
        cells: one a column.
        mark: a word beside the name.
        baseline: whether it is that of the baseline.
    """

    name: str
    cells: list[Cell]
    mark: str = ""
    baseline: bool = False


def ranking_table(table: ArmTable, result: ComparisonResult) -> tuple[list[str], list[Row]]:
    """Headings and a row a recipe, the highest accuracy first."""
    held_out = any(arm.held_out is not None for arm in table.arms)
    queried = any(arm.cost.queried.mean for arm in table.arms)
    differ = parameters_differ(result)
    headings = ["recipe", "accuracy, %", f"difference to {label(result.baseline, 24)}, points"]
    headings += [*(["held out, %"] if held_out else []), "NLL", "ECE, %", "AURC, %", "seconds"]
    headings += [*(["queries"] if queried else []), *(["parameters"] if differ else [])]
    rows = []
    for arm in table.arms:
        cells = [_share(arm.accuracy), _difference(arm)]
        cells += [EMPTY_CELL if arm.held_out is None else _share(arm.held_out)] if held_out else []
        cells += [_cell(f"{arm.nll.mean:.3f}"), _cell(f"{100 * arm.ece.mean:.1f}"), _cell(f"{100 * arm.aurc.mean:.2f}")]
        cells += [
            _cell(f"{arm.cost.seconds.mean:.3g}" if arm.cost.seconds.mean < 100 else f"{arm.cost.seconds.mean:,.0f}")
        ]
        cells += [_cell(f"{arm.cost.queried.mean:,.0f}")] if queried else []
        cells += [_cell(f"{arm.cost.parameters:,}")] if differ else []
        base = arm.recipe == result.baseline
        failed = f"{len(arm.failed)} of {len(arm.failed) + len(arm.seeds)} failed" if arm.failed else ""
        rows.append(Row(arm.recipe, cells, failed or ("baseline" if base else ""), base))
    return headings, rows


EMPTY_CELL: Cell = (EMPTY, "", False)


def parameters_differ(result: ComparisonResult) -> bool:
    """Whether students are of several sizes."""
    return len({arm.cost.parameters for arm in result.arms}) > 1


def meeting_table(table: ArmTable) -> tuple[list[str], list[Row]]:
    """Shares of the images, and of the teacher's errors those that the student repeats."""
    headings = ["recipe", *(f"{words}, %" for words, _ in MEETINGS.values()), "errors copied, %"]
    rows = []
    for arm in table.arms:
        if arm.beside_teacher is None:
            continue
        shares = [arm.beside_teacher[kind] for kind in MEETINGS]
        copied = copied_share(arm)
        cells = [_cell(f"{100 * share:.1f}") for share in shares]
        rows.append(Row(arm.recipe, [*cells, _cell(EMPTY if copied is None else f"{100 * copied:.0f}")]))
    return headings, rows


def copied_share(arm: ArmResult) -> float | None:
    """Of the teacher's errors those that the student repeats; None without any."""
    meets = arm.beside_teacher or {}
    wrong = sum(meets.get(kind, 0.0) for kind in ("mended", "copied", "other_mistake"))
    return meets["copied"] / wrong if wrong else None


def class_table(table: ArmTable, result: ComparisonResult) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Differences to the baseline by class, those that differ most first."""
    base = table.arm(result.baseline)
    others = [arm for arm in table.arms if arm is not base]
    if base is None or not others:
        return [], []
    rows = class_gains(others, base, result.class_names)[:MOST_ROWS]
    headings = ["class", *(label(arm.recipe, 24) for arm in others)]
    return headings, [
        (label(row.name, 40), [EMPTY if gain is None else points(gain) for gain in row.gains]) for row in rows
    ]


def teacher_table(result: ComparisonResult) -> tuple[list[str], list[Row]]:
    """The teachers, and how often each is right."""
    headings = [
        "teacher",
        "kind",
        "right on training labels, %",
        "mean confidence there, %",
        f"right on the {result.measured_on}, %",
    ]
    return headings, [
        Row(
            teacher.name,
            [
                (teacher.kind, "" if len(teacher.paths) == 1 else f"{len(teacher.paths)} of them", False),
                *(
                    _cell(EMPTY if share is None else f"{100 * share:.1f}")
                    for share in (teacher.training_accuracy, teacher.training_confidence, teacher.accuracy)
                ),
            ],
        )
        for teacher in result.teachers
    ]


def _cell(text: str) -> Cell:
    return text, "", False


def _share(measure: Measure) -> Cell:
    spread = "" if measure.deviation is None else f"± {100 * measure.deviation:.2f}"
    return f"{100 * measure.mean:.2f}", spread, False


def _difference(arm: ArmResult) -> Cell:
    gain = arm.difference
    if gain is None:
        return EMPTY_CELL
    return points(gain.mean), f"[{points(gain.low)}, {points(gain.high)}]", not gain.is_clear
