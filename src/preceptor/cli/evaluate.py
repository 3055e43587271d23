"""``preceptor evaluate``: measure a student on a data set."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from preceptor.run.evaluation import Evaluation

EXAMPLES = """examples:
  preceptor evaluate runs/student
  preceptor evaluate runs/student --data folder:new-photos --image-size 64
  preceptor evaluate runs/student --teacher runs/teacher --score margin --page margin.html
  preceptor evaluate runs/student --json
"""

PAGE = "evaluation.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_data_options, add_output_options

    parser.epilog = EXAMPLES
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of the student")
    add_data_options(parser)
    parser.add_argument("--split", choices=("test", "train"), default="test", help="which part of the data set")
    parser.add_argument(
        "--score", help="by which images are ranked (default that of its decision, else softmax_response)"
    )
    parser.add_argument("--teacher", type=Path, help="run folder or FILE.onnx to compare with (default the run's own)")
    parser.add_argument("--no-teacher", action="store_true", help="compare with no teacher")
    parser.add_argument("--resamples", type=int, help="bootstrap draws (default 1000; of more than 100,000 images 100)")
    parser.add_argument(
        "--page",
        type=Path,
        help=f"page to write, over an earlier one at most (default {PAGE} in the run folder)",
    )
    parser.add_argument("--no-page", action="store_true", help="write no page")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure, write the page and show."""
    from preceptor.cli.evaluation_tables import show_tables
    from preceptor.cli.options import shown_student
    from preceptor.errors import InputError
    from preceptor.run.evaluation import evaluate_run

    if arguments.page is not None and arguments.no_page:
        raise InputError("--page and --no-page: give one of them")
    if arguments.teacher is not None and arguments.no_teacher:
        raise InputError("--teacher and --no-teacher: give one of them")
    page = _page(arguments)
    evaluation = evaluate_run(
        shown_student(arguments),
        teacher=arguments.teacher,
        ask_teacher=not arguments.no_teacher,
        main_score=arguments.score,
        resamples=arguments.resamples,
        device=arguments.device,
    )
    if page is not None:
        from preceptor.reports import write_evaluation_page

        write_evaluation_page(evaluation, page)
    if arguments.json:
        json.dump(_content(evaluation, page, arguments), sys.stdout)
        print()
        return
    for warning in evaluation.warnings:
        print(f"preceptor: warning: {warning}", file=sys.stderr)
    print(f"accuracy {evaluation.report.accuracy.value:.2%} of {evaluation.report.n:,} images")
    if not arguments.quiet:
        show_tables(evaluation)
        if page is not None:
            print(f"\npage to look at: {page}")


def _page(arguments: argparse.Namespace) -> Path | None:
    """Where the page goes, checked beforehand; None for no page."""
    from preceptor.errors import MachineError
    from preceptor.reports import check_page_path, require_report_extra

    if arguments.no_page or not arguments.run.is_dir():  # a run that is no folder is refused later
        return None
    page: Path = arguments.page or arguments.run / PAGE
    try:
        require_report_extra()
        check_page_path(page)
    except MachineError as problem:
        if arguments.page is not None:
            raise
        print(f"preceptor: no page: {problem}", file=sys.stderr)
        return None
    return page


def _content(evaluation: "Evaluation", page: Path | None, arguments: argparse.Namespace) -> dict[str, object]:
    return {
        "run": str(arguments.run),
        "data": evaluation.data.spec,
        "split": arguments.split,
        "page": None if page is None else str(page),
        "teacher": evaluation.teacher,
        "held_out": evaluation.held_out,
        "warnings": list(evaluation.warnings),
        **asdict(evaluation.report),
        "decision": None if evaluation.decision is None else asdict(evaluation.decision),
        "sets": None if evaluation.sets is None else asdict(evaluation.sets),
    }
