"""The page of a study: one HTML file that needs nothing else, for a desk, a phone or paper."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import yaml

from preceptor.files import write_whole
from preceptor.reports.charts import MOST_CLASSES, ClassError, accuracy_chart, class_errors, error_chart, error_share
from preceptor.reports.extra import require_report_extra
from preceptor.reports.finding import Kind, caveats, excludes_zero, kind_of, main_finding, spoken
from preceptor.reports.gallery import card
from preceptor.studies.result import Exhibit, RecipeRow, StudyResult
from preceptor.studies.table import cells, headings
from preceptor.studies.wording import MINUS, counted, duration, listed, percent, unbroken

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATE = "study_page.html.j2"
SAID_ELSEWHERE = ("title", "setting", "shows", "does_not_show")


def study_page(result: StudyResult, exhibits: Sequence[Exhibit]) -> str:
    """The page as HTML. It asks for nothing from elsewhere: no script, no font, no image.

    Args:
        result: the study.
        exhibits: images to show; none leaves the gallery out.

    Raises:
        EnvironmentProblem: the extra ``report`` is not installed.
        InputError: the pixels of an exhibit are not an image.
    """
    require_report_extra()
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("preceptor.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template(TEMPLATE).render(_content(result, exhibits))


def write_study_page(result: StudyResult, exhibits: Sequence[Exhibit], path: Path) -> None:
    """Write the page, beside its place and renamed, so that no half page is ever there.

    Raises:
        EnvironmentProblem: it cannot be written, or the extra ``report`` is not installed.
        InputError: the pixels of an exhibit are not an image.
    """
    page = study_page(result, exhibits)
    write_whole({path: page.encode("utf-8", errors="replace")})  # a folder's name may hold letters UTF-8 lacks


def _breakable(name: str) -> "Markup":
    """A name, escaped, that may go on to the next line after an underscore."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _content(result: StudyResult, exhibits: Sequence[Exhibit]) -> dict[str, Any]:
    errors = class_errors(result)
    return {
        "result": result,
        "finding": main_finding(result),
        "caveats": caveats(result),
        "seeds": len(result.rows[0].accuracy),
        "table_heading": _table_heading(result),
        "columns": [unbroken(heading) for heading in headings(result)],
        "rows": [_table_row(row, result) for row in result.rows],
        "accuracy_chart": accuracy_chart(result),
        "teacher_heading": _teacher_heading(result, errors),
        "teacher_facts": _teacher_facts(result),
        "errors": [(error.name, error_share(error.mean), [error_share(s) for s in error.seeds]) for error in errors],
        "error_chart": error_chart(errors),
        "most_classes": MOST_CLASSES,
        "cards": [card(exhibit, result.class_names, position) for position, exhibit in enumerate(exhibits)],
        "settings": _settings(result),
        "duration": duration(result.seconds),
        "command": "preceptor demo" if result.study == "demo" else f"preceptor reproduce {result.study}",
    }


def _table_heading(result: StudyResult) -> str:
    highest = max(row.mean for row in result.rows)
    first = listed([spoken(row, result) for row in result.rows if row.mean == highest])
    return f"Of {counted(len(result.rows), 'recipe')}, {first} scored highest"


def _table_row(row: RecipeRow, result: StudyResult) -> dict[str, Any]:
    kind = kind_of(row, result)
    name, *numbers = cells(row)
    return {
        "name": name,
        "about": row.about,
        "kind": kind.name.lower(),
        "mark": "" if kind in (Kind.CORRECTION, Kind.OTHER) else kind.value,
        "numbers": [number.replace("-", MINUS) for number in numbers],
        "clear": excludes_zero(row.difference),
    }


def _teacher_heading(result: StudyResult, errors: Sequence[ClassError]) -> str:
    wrong = 1 - fmean(result.teacher.accuracy_on_lessons)
    worst = errors[0] if errors else None
    often = "" if worst is None or math.isnan(worst.mean) or worst.mean == 0 else f", most often on {worst.name}"
    return f"The teacher is wrong on {percent(wrong, 1)} of the students’ images{often}"


def _teacher_facts(result: StudyResult) -> str:
    teacher = result.teacher
    wrong = fmean(teacher.wrong_labels)
    seeds = len(teacher.accuracy)
    means = f" (Means over {seeds} teachers, one a seed.)" if seeds > 1 else ""
    test, lessons = percent(fmean(teacher.accuracy), 1), percent(fmean(teacher.accuracy_on_lessons), 1)
    return (
        f"It learned from {teacher.images:,} images, {wrong:,.0f} of them ({percent(wrong / teacher.images, 1)}) with "
        f"a wrong label. On the test set it is right on {test}, on the {result.lessons:,} images that the students "
        f"are given on {lessons}.{means}"
    )


def _settings(result: StudyResult) -> str:
    config = result.model_dump(mode="json", include={"config"})["config"]
    settings = {key: value for key, value in config.items() if key not in SAID_ELSEWHERE}
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, default_flow_style=None, width=88)
