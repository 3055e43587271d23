"""The page of a study: one HTML file that needs nothing else, for a desk, a phone or paper."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from preceptor.compare.columns import NOTES
from preceptor.compare.format import counted, duration, listed, percent, unbroken
from preceptor.compare.result import ArmRow, ExampleImage, StudyResult, TeacherRow
from preceptor.compare.table import has_many_columns, headings, mean_percent, row_cells
from preceptor.reports.charts import (
    MOST_CLASSES,
    ClassError,
    accuracy_chart,
    class_errors,
    common_axis,
    error_chart,
    error_share,
)
from preceptor.reports.gallery import card
from preceptor.reports.page import render, write_page
from preceptor.reports.summary import Kind, arm_name, caveats, excludes_zero, kind_of, main_finding, overall_finding

TEMPLATE = "study_page.html.j2"


def study_page(result: StudyResult, examples: Sequence[ExampleImage]) -> str:
    """The page as HTML. It asks for nothing from elsewhere: no script, no font, no image.

    Args:
        result: the study.
        examples: images to show; none leaves the gallery out.

    Raises:
        MachineError: the extra ``report`` is not installed.
        InputError: the pixels of an example are not an image.
    """
    return render(TEMPLATE, lambda: _content(result, examples))


def write_study_page(result: StudyResult, examples: Sequence[ExampleImage], path: Path) -> None:
    """Write the page atomically.

    Raises:
        MachineError: it cannot be written, or the extra ``report`` is not installed.
        InputError: the pixels of an example are not an image.
    """
    write_page(study_page(result, examples), path)


def _content(result: StudyResult, examples: Sequence[ExampleImage]) -> dict[str, Any]:
    several = len(result.teachers) > 1
    config = result.model_dump(mode="json", include={"config"})["config"]
    return {
        "result": result,
        "finding": overall_finding(result),
        "several": several,
        "many": has_many_columns(result),
        "named_baselines": any(row.baseline not in (None, result.baseline) for row in result.rows),
        "column_notes": [
            note for name, note in NOTES.items() if any(column.startswith(name) for column in result.columns)
        ],
        "seeds": result.seeds,
        "columns": [unbroken(heading) for heading in headings(result)],
        "overview": [
            (arm, [f"{100 * result.row(arm, teacher.name).accuracy.mean:.2f}" for teacher in result.teachers])
            for arm in [row.arm for row in result.rows_of(result.teachers[0])]
        ],
        "has_plain": any(kind_of(row, result) is Kind.OTHER for row in result.rows),
        "groups": [_group(teacher, place, result) for place, teacher in enumerate(result.teachers)],
        "most_classes": MOST_CLASSES,
        "example_teacher": f" ({examples[0].teacher})" if examples and several else "",
        "cards": [card(example, result.class_names, position) for position, example in enumerate(examples)],
        "settings": yaml.safe_dump(config, sort_keys=False, allow_unicode=True, default_flow_style=None, width=88),
        "duration": duration(result.seconds),
        "command": f"preceptor reproduce {result.study}",
    }


def _group(teacher: TeacherRow, place: int, result: StudyResult) -> dict[str, Any]:
    """What the page shows of one kind of teacher and its students."""
    errors = class_errors(result.class_names, teacher.error_by_class)
    several = len(result.teachers) > 1
    return {
        "id": f"-{place}" if several else "",
        "name": teacher.name,
        "about": teacher.about,
        "finding": main_finding(result, teacher),
        "table_heading": _table_heading(teacher, result),
        "rows": [_table_row(row, result) for row in result.rows_of(teacher)],
        "accuracy_chart": accuracy_chart(result, teacher, common_axis(result) if several else None),
        "caveats": caveats(result, teacher),
        "teacher_heading": _teacher_heading(teacher, errors),
        "teacher_facts": _teacher_facts(teacher, result),
        "errors": [(error.name, error_share(error.mean), [error_share(s) for s in error.seeds]) for error in errors],
        "error_chart": error_chart(errors, f"errors-{place}"),
    }


def _table_heading(teacher: TeacherRow, result: StudyResult) -> str:
    rows = result.rows_of(teacher)
    highest = max(row.accuracy.mean for row in rows)
    first = listed([arm_name(row) for row in rows if row.accuracy.mean == highest])
    of = f"f {counted(len(rows), 'recipe')}, {first} scored highest"
    return f"Teacher {teacher.name}: o{of}" if len(result.teachers) > 1 else f"O{of}"


def _table_row(row: ArmRow, result: StudyResult) -> dict[str, Any]:
    kind = kind_of(row, result)
    looks = {True: "difference", False: "difference unclear"}
    return {
        "name": row.arm,
        "about": row.about,
        "kind": kind.name.lower(),
        "mark": "" if kind in (Kind.CONTENDER, Kind.OTHER) else kind.value,
        "numbers": [
            (cell.text, looks[excludes_zero(cell.difference)] if cell.is_difference else "")
            for cell in row_cells(row, result)
        ],
    }


def _teacher_heading(teacher: TeacherRow, errors: Sequence[ClassError]) -> str:
    wrong = 1 - fmean(teacher.accuracy_on_training_images)
    worst = errors[0] if errors else None
    often = "" if worst is None or math.isnan(worst.mean) or worst.mean == 0 else f", most often on {worst.name}"
    return f"The teacher is wrong on {percent(wrong, 1)} of the students’ images{often}"


def _teacher_facts(teacher: TeacherRow, result: StudyResult) -> str:
    wrong = fmean(teacher.wrong_labels)
    seeds = len(teacher.accuracy)
    means = f" (Means over {seeds} teachers, one a seed.)" if seeds > 1 else ""
    test, training_images = mean_percent(teacher.accuracy), mean_percent(teacher.accuracy_on_training_images)
    return (
        f"It learned from {teacher.images:,} images, {wrong:,.0f} of them ({percent(wrong / teacher.images, 1)}) with "
        f"a wrong label. On the test set it is right on {test}, on the {result.training_images:,} images of the "
        f"students on {training_images}.{means}"
    )
