"""``preceptor evaluate``: measure a student on a data set."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from preceptor.run.evaluation import Evaluation

EXAMPLES = """examples:
  preceptor evaluate runs/student
  preceptor evaluate runs/student --data folder:new-photos --image-size 64
  preceptor evaluate runs/student --teacher runs/teacher --score margin --page margin.html
  preceptor evaluate runs/student --track mlflow
  preceptor evaluate runs/student --json

The page and, beside it, all predictions as CSV (evaluation.csv) take the place of those of an earlier evaluation, which
is then printed; any other file in their place is refused.
"""

PAGE = "evaluation.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_data_options, add_output_options, add_track_option

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
        help=f"page to write, in place of an earlier one (default {PAGE} in the run folder); the CSV goes beside it",
    )
    parser.add_argument("--no-page", action="store_true", help="write no page and no CSV")
    add_track_option(parser, "add the page to the run in")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure, write the page and the predictions, and show."""
    from preceptor.cli.evaluation_tables import lines
    from preceptor.cli.options import shown_student
    from preceptor.cli.printing import show_lines
    from preceptor.errors import InputError
    from preceptor.integrations.tracking import check_trackers
    from preceptor.run.evaluation import evaluate_run

    check_trackers(arguments.track)
    if arguments.track and arguments.no_page:
        raise InputError("--track and --no-page: a tracker takes the page: give one of them")
    if arguments.page is not None and arguments.no_page:
        raise InputError("--page and --no-page: give one of them")
    if arguments.teacher is not None and arguments.no_teacher:
        raise InputError("--teacher and --no-teacher: give one of them")
    page, predictions = _outputs(arguments)
    evaluation = evaluate_run(
        shown_student(arguments),
        teacher=arguments.teacher,
        ask_teacher=not arguments.no_teacher,
        main_score=arguments.score,
        resamples=arguments.resamples,
        device=arguments.device,
    )
    replaced = [path for path in (page, predictions) if path is not None and path.exists()]
    if predictions is not None:
        _write(evaluation, page, predictions, arguments)
    if arguments.json:
        paths = {"page": page, "predictions": predictions, "replaced": replaced}
        json.dump(_content(evaluation, paths, arguments), sys.stdout, default=str)
        print()
        return
    for warning in evaluation.warnings:
        print(f"preceptor: warning: {warning}", file=sys.stderr)
    print(f"accuracy {evaluation.report.accuracy.value:.2%} of {evaluation.report.n:,} images")
    if not arguments.quiet:
        show_lines(lines(evaluation))
        for what, path in (("page to look at", page), ("all predictions", predictions)):
            if path is not None:
                print(f"{what}: {path}{' (in place of the earlier one)' if path in replaced else ''}")


def _write(evaluation: "Evaluation", page: Path | None, predictions: Path, arguments: argparse.Namespace) -> None:
    """Write the predictions and the page, and add this to the trackers' runs."""
    from preceptor.integrations import tracking
    from preceptor.reports.evaluation_page import write_evaluation_page
    from preceptor.reports.prediction_table import write_prediction_table

    write_prediction_table(evaluation, predictions)
    if page is not None:
        write_evaluation_page(evaluation, page)
        with tracking(arguments.track, arguments.run) as trackers:
            for tracker in trackers:
                tracker.log_page(page)


def _outputs(arguments: argparse.Namespace) -> tuple[Path | None, Path | None]:
    """Where the page and the predictions go, checked beforehand; None for what is not written."""
    from preceptor.errors import InputError, MachineError
    from preceptor.reports.page import check_page_path, require_report_extra
    from preceptor.reports.prediction_table import check_table_path

    if arguments.no_page or not arguments.run.is_dir():  # a run that is no folder is refused later
        return None, None
    page: Path = arguments.page or arguments.run / PAGE
    predictions = page.with_suffix(".csv")
    if page == predictions:
        raise InputError(f"--page {page}: is where the predictions go; name the page .html")
    check_table_path(predictions)
    try:
        require_report_extra()
        check_page_path(page)
    except MachineError as problem:
        if arguments.page is not None:
            raise
        print(f"preceptor: no page: {problem}", file=sys.stderr)
        return None, predictions
    return page, predictions


def _content(evaluation: "Evaluation", paths: Mapping[str, object], arguments: argparse.Namespace) -> dict[str, object]:
    return {
        "run": str(arguments.run),
        "data": evaluation.data.spec,
        "split": arguments.split,
        **paths,
        "teacher": evaluation.teacher,
        "held_out": evaluation.held_out,
        "warnings": list(evaluation.warnings),
        **asdict(evaluation.report),
        "decision": None if evaluation.decision is None else asdict(evaluation.decision),
        "sets": None if evaluation.sets is None else asdict(evaluation.sets),
        "cost": asdict(evaluation.cost),
        "teacher_costs": {name: asdict(cost) for name, cost in evaluation.teacher_costs.items()},
    }
