"""The page of a comparison: which recipe is best, how sure that is, and what it costs."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from preceptor.compare.comparison_result import ArmResult, ComparisonResult
from preceptor.compare.findings import ArmTable, overall, sentences, tables
from preceptor.compare.format import counted, listed
from preceptor.reports.comparison_charts import MEETINGS, live_meetings, live_ranking
from preceptor.reports.comparison_classes import MOST_CLASSES, live_classes
from preceptor.reports.comparison_curves import live_cost, live_held_out, live_losses, live_risk
from preceptor.reports.comparison_looks import Look, looks, named
from preceptor.reports.comparison_notes import caveats, warnings
from preceptor.reports.comparison_rows import (
    Row,
    class_table,
    meeting_table,
    parameters_differ,
    ranking_table,
    teacher_table,
)
from preceptor.reports.comparison_settings import setting_rows
from preceptor.reports.page import render, write_page
from preceptor.reports.vega import with_scripts

TEMPLATE = "comparison_page.html.j2"

MOST_DRAWN = 6
"""Tables with all their charts, those with the highest accuracies; more would make a page slow."""

PATHS = {
    "diamond": "M0,-5.5L5.5,0L0,5.5L-5.5,0Z",
    "circle": "M-5,0A5,5 0 1 1 5,0A5,5 0 1 1 -5,0Z",
    "square": "M-4.5,-4.5H4.5V4.5H-4.5Z",
    "triangle-up": "M0,-5L5.2,4.5H-5.2Z",
    "triangle-down": "M0,5L5.2,-4.5H-5.2Z",
    "cross": "M-1.8,-5.5H1.8V-1.8H5.5V1.8H1.8V5.5H-1.8V1.8H-5.5V-1.8H-1.8Z",
}
"""The shapes of a chart's points, for its key."""


def comparison_page(result: ComparisonResult, folder: str = "DIR") -> str:
    """The page as HTML. It loads nothing from elsewhere, and runs its own scripts only.

    Args:
        result: the comparison.
        folder: of it, as the commands name it.

    Raises:
        MachineError: the extra ``report`` is not installed.
    """
    return render(TEMPLATE, lambda: _content(result, folder))


def write_comparison_page(result: ComparisonResult, path: Path) -> None:
    """Write the page into the comparison's folder, in the place of whatever file is there.

    Raises:
        MachineError: it cannot be written, or the extra ``report`` is not installed.
    """
    write_page(comparison_page(result, str(path.parent)), path)


def _content(result: ComparisonResult, folder: str) -> dict[str, Any]:
    several, of = tables(result), looks(result)
    full = sorted(range(len(several)), key=lambda place: -several[place].arms[0].accuracy.mean)[:MOST_DRAWN]
    recipes = list(dict.fromkeys(arm.recipe for arm in result.arms))
    return {
        "title": f"{counted(len(recipes), 'recipe')} compared on {result.data}",
        "baseline": result.baseline,
        "measured_on": result.measured_on,
        "several": len(several) > 1,
        "bands": any(len(arm.seeds) > 1 for arm in result.arms),
        "finding": overall(result, several) if len(several) > 1 else " ".join(sentences(several[0], result)),
        "warnings": warnings(result),
        "basis": basis(result),
        "overview_headings": ["recipe", *(_heading(table, result) for table in several)],
        "overview": [(recipe, [_mean(table.arm(recipe)) for table in several]) for recipe in recipes],
        "tables": [
            _part(table, result, of, f"-{place}")
            | {"charts": _charts(table, result, of, place) if place in full else None}
            for place, table in enumerate(several)
        ],
        "not_drawn": _not_drawn(several),
        "meeting_keys": [(words, "pale" if role == "line" else role) for words, role in MEETINGS.values()],
        "table_note": _table_note(result),
        "class_count": len(result.class_names),
        **_about(result),
        "caveats": caveats(result),
        **_going_on(result, folder),
        **with_scripts("charts.js"),
    }


def _about(result: ComparisonResult) -> dict[str, Any]:
    """What was compared."""
    headings, rows = setting_rows(result)
    teacher_headings, teachers = teacher_table(result)
    abouts = {arm.recipe: ". ".join(part for part in (arm.about, arm.paper) if part) for arm in result.arms}
    return {
        "setting_headings": ["recipe", *headings],
        "setting_rows": [Row(name, [(text, "", False) for text in texts]) for name, texts in rows] if headings else [],
        "abouts": abouts.items(),
        "teacher_headings": teacher_headings,
        "teachers": teachers,
        "paths": [(teacher.name, ", ".join(teacher.paths)) for teacher in result.teachers],
    }


def _going_on(result: ComparisonResult, folder: str) -> dict[str, Any]:
    """Commands, files and versions."""
    return {
        "commands": _commands(result, folder),
        "folders_note": f"{folder} holds plan.yaml (what was compared), compare.json (every number of this page), "
        "compare.csv (one line a student) and a folder for each run.",
        "folders": [
            (arm.recipe, [seed, place])
            for arm in result.arms
            for seed, place in zip(arm.seeds, arm.folders, strict=True)
        ],
        "versions": result.versions,
    }


def _part(table: ArmTable, result: ComparisonResult, of: Mapping[str, Look], suffix: str) -> dict[str, Any]:
    """What the page shows of one table."""
    headings, rows = ranking_table(table, result)
    meeting_headings, meeting_rows = meeting_table(table)
    class_headings, class_rows = class_table(table, result)
    drawn = named(table, of)
    told = list(sentences(table, result))
    return {
        "id": suffix,
        "heading": _heading(table, result),
        "first": " ".join(told[:2]),
        "finding": " ".join(told),
        "headings": headings,
        "rows": rows,
        "apart": _apart(table, result),
        "meeting_headings": meeting_headings,
        "meeting_rows": meeting_rows,
        "unasked": _unasked(table),
        "drawn": [
            {"name": arm.recipe, "role": look.role, "css": look.css, "path": PATHS[look.shape]} for arm, look in drawn
        ],
        "undrawn": _undrawn(table, of),
        "parameters": _parameters(table, result),
        "classes_note": _classes_note(result),
        "class_headings": class_headings,
        "class_rows": class_rows,
        "ranking": live_ranking(table, result.baseline, f"ranking{suffix}"),
        "meetings": live_meetings(table, f"meetings{suffix}"),
    }


def _not_drawn(several: Sequence[ArmTable]) -> str:
    if len(several) <= MOST_DRAWN:
        return ""
    return f"Curves, cost and classes are drawn for the {MOST_DRAWN} of {len(several)} with the highest accuracies."


def _charts(table: ArmTable, result: ComparisonResult, of: Mapping[str, Look], place: int) -> dict[str, Any]:
    return {
        "held_out": live_held_out(table, of, f"held-out-{place}"),
        "losses": live_losses(table, of, f"losses-{place}"),
        "cost": live_cost(table, of, f"cost-{place}"),
        "risk": live_risk(table, of, f"risk-{place}"),
        "classes": live_classes(table, result.baseline, result.class_names, of, f"classes-{place}"),
    }


def _parameters(table: ArmTable, result: ComparisonResult) -> str:
    sizes = "" if parameters_differ(result) else f"Every student has {table.arms[0].cost.parameters:,} parameters."
    memory = max(arm.cost.peak_memory for arm in table.arms)
    if memory:
        sizes += f" A process held at most {memory / 2**20:,.0f} MiB, with the data and all students of a pass."
    return sizes.strip()


def basis(result: ComparisonResult) -> str:
    """What was measured, and how many there were."""
    seeds = counted(len(result.plan["seeds"]), "seed")
    text = (
        f"Each student is measured once on the {result.measured_on} ({result.samples:,} images), after its last epoch; "
        f"{seeds}."
    )
    if result.compared:
        text += (
            f" “Clearly” means that a 95\N{NO-BREAK SPACE}% interval leaves out zero; the intervals are corrected for "
            f"{counted(result.compared, 'comparison')}."
        )
    return text


def _heading(table: ArmTable, result: ComparisonResult) -> str:
    """What sets a table apart from the others."""
    teacher = f"Teacher {table.teacher.name}" if table.teacher is not None and len(result.teachers) > 1 else ""
    return ", ".join(part for part in (teacher, table.settings) if part)


def _mean(arm: ArmResult | None) -> str:
    return "–" if arm is None else f"{100 * arm.accuracy.mean:.2f}"


def _table_note(result: ComparisonResult) -> str:
    spread = "± standard deviation over seeds; " if any(len(arm.seeds) > 1 for arm in result.arms) else ""
    return (
        f"Mean over seeds, {spread}in brackets the interval of the difference, in points; gray where it includes zero. "
        "Held out: accuracy on training images that were kept aside. NLL: negative log-likelihood, in nats. ECE: "
        "expected calibration error in 15 bins. AURC: mean error among the surest, over all shares. Of all three lower "
        "is better. Queries: images on which the teacher was queried, in all epochs."
    )


def _apart(table: ArmTable, result: ComparisonResult) -> str:
    """Which recipes of labels alone are not compared in this table."""
    names = [
        arm.recipe
        for arm in table.arms
        if arm.teacher is None and arm.recipe != result.baseline and arm.difference is None and not arm.failed
    ]
    base = table.arm(result.baseline)
    if not names or base is None or base.failed or base.teacher is None:
        return ""
    return (
        f"{listed(names)}: trained once for all teachers, and compared with {result.baseline} under the first of them."
    )


def _unasked(table: ArmTable) -> str:
    if table.teacher is None:
        return "There is no teacher, so there is nothing to copy."
    if table.teacher.unasked is not None:
        return f"It can’t be told: the teacher was not asked about these images, as {table.teacher.unasked}."
    return "It can’t be told: no student has answers beside this teacher’s."


def _undrawn(table: ArmTable, of: Mapping[str, Look]) -> str:
    names = [arm.recipe for arm in table.arms if arm.recipe not in of]
    return f"Not drawn, as more lines can’t be told apart: {listed(names)}." if names else ""


def _classes_note(result: ComparisonResult) -> str:
    count = len(result.class_names)
    left_out = f"{MOST_CLASSES} of {count} classes are drawn. " if count > MOST_CLASSES else ""
    images = f"{result.samples / count:,.0f}"
    return f"{left_out}A class has {images} images on average: the fewer, the more of a difference is chance."


def _commands(result: ComparisonResult, folder: str) -> list[tuple[str, str]]:
    """How to train more, and how to make the page again."""
    plan = shlex.quote(str(Path(folder) / "plan.yaml"))
    again = f"preceptor compare --config {plan} --out {shlex.quote(folder)}"
    seeds, commands = result.plan["seeds"], []
    if seeds == list(range(len(seeds))):
        more = max(5, 2 * len(seeds))
        text = (
            f"More seeds make the intervals shorter. This trains {more - len(seeds)} more of each recipe, and keeps "
            "what is trained:"
        )
        commands.append((text, f"preceptor compare --config {plan} --seeds {more} --out {shlex.quote(folder)}"))
    return [
        *commands,
        ("With more names in --recipes it trains those too. As it is, it makes these files again:", again),
    ]
