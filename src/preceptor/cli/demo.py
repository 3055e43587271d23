"""``preceptor demo``: a faulty teacher, its students, a table and a page, on digits that are already here."""

import argparse
from pathlib import Path

EXAMPLES = """examples:
  preceptor demo
  preceptor demo --seeds 5 --out my-demo
  preceptor demo --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_output_options

    parser.epilog = EXAMPLES
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for report.html and result.json (default demo)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="how often everything is drawn anew (default 3)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the study and show."""
    from preceptor.cli.study import run_and_show
    from preceptor.studies import find_study

    run_and_show(
        find_study("demo"),
        seeds=arguments.seeds,
        device=arguments.device,
        result_file=arguments.out / "result.json",
        page=arguments.out / "report.html",
        arguments=arguments,
    )
