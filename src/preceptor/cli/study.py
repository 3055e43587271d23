"""Run a study, write its files and show its table: for ``reproduce``."""

import argparse
import textwrap
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from preceptor.cli.printing import show_lines, table
from preceptor.errors import InputError
from preceptor.files import check_writable

if TYPE_CHECKING:
    from preceptor.compare import Study, StudyResult, TeacherRow


def run_and_show(study: "Study", arguments: argparse.Namespace, *, result_file: Path, page: Path) -> None:
    """Run a study on the device and over the seeds of the arguments, write its files and show its table."""
    from preceptor.compare import run_study, save_result
    from preceptor.reports import require_report_extra, write_study_page
    from preceptor.run.progress import ImageBar

    require_report_extra()
    if arguments.seeds is not None:
        if arguments.seeds < 1:
            raise InputError(f"--seeds is {arguments.seeds}; expected 1 or more, and 3 or more for intervals")
        study = study.model_copy(update={"seeds": tuple(range(arguments.seeds))})
    for folder in (result_file.parent, page.parent):
        check_writable(folder)
    quiet = arguments.quiet or arguments.json
    if not quiet:
        print(_wrapped(study.setting), flush=True)
    with ImageBar(quiet=quiet) as bar:
        result, examples = run_study(study, progress=bar, device=arguments.device)
    save_result(result, result_file)
    write_study_page(result, examples, page)
    if arguments.json:
        print(result.model_dump_json())
    elif not arguments.quiet:
        _show(result)
        print(f"\nresult file: {result_file}\npage to look at: {page}")


def _show(result: "StudyResult") -> None:
    from preceptor.reports.summary import overall_finding

    for teacher in result.teachers:
        _show_teacher(teacher, result)
    if len(result.teachers) > 1:
        print("\n" + _wrapped(overall_finding(result)))
    print("\n" + _wrapped(f"What this shows: {result.shows}"))
    print(_wrapped(f"What it does not show: {result.does_not_show}"))


def _show_teacher(teacher: "TeacherRow", result: "StudyResult") -> None:
    from preceptor.compare.table import mean_percent, tables
    from preceptor.reports.summary import caveats, main_finding

    wrong = round(fmean(teacher.wrong_labels))
    name = f" ({teacher.name})" if len(result.teachers) > 1 else ""
    print(
        "\n"
        + _wrapped(
            f"The teacher{name} learned from {teacher.images:,} images with {wrong:,} wrong labels: "
            f"{mean_percent(teacher.accuracy)} on the test set, "
            f"{mean_percent(teacher.accuracy_on_training_images)} on the students' {result.training_images:,} images."
        )
    )
    for group, (heading, *rows) in tables(teacher, result).items():
        show_lines([table(heading, rows, title=group or None)])
    print(_wrapped(main_finding(result, teacher)))
    for caveat in caveats(result, teacher):
        print(_wrapped(f"- {caveat}"))


def _wrapped(text: str) -> str:
    return textwrap.fill(text, width=110)
