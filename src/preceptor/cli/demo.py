"""``preceptor demo``: a faulty teacher and its students on scikit-learn's digits, with a table and a page."""

import argparse
from pathlib import Path

from preceptor.cli.options import add_output_options

EXAMPLES = """examples:
  preceptor demo
  preceptor demo --seeds 5 --out my-demo
  preceptor demo --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for report.html and result.json (default demo)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="repetitions with other draws of everything (default 3)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the demo and show its table."""
    from preceptor.cli.study import run_and_show
    from preceptor.compare import DEMO

    result_file, page = arguments.out / "result.json", arguments.out / "report.html"
    run_and_show(DEMO, arguments, result_file=result_file, page=page)
