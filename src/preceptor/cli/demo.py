"""``preceptor demo``: a teacher from elsewhere and its students on scikit-learn's digits, with a table and a page."""

import argparse
import textwrap
from pathlib import Path

from preceptor.cli.options import add_output_options
from preceptor.errors import InputError
from preceptor.files import check_writable

EXAMPLES = """examples:
  preceptor demo
  preceptor demo --seeds 3 --out my-demo
  preceptor demo --json
"""

SEEDS = 5

ROUNDING = (
    "Another machine's numbers differ by some tenths of a point to a few points: it rounds otherwise, and training "
    "amplifies that. On one machine they repeat exactly."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.epilog = EXAMPLES
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for runs, table and page (default demo)")
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help=f"students of each recipe, each drawn anew (default {SEEDS})"
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the demo and show its table."""
    from preceptor.cli.bars import ComparisonBar
    from preceptor.cli.compare import comparison_lines, write_files
    from preceptor.cli.printing import show
    from preceptor.cli.training import showing_findings
    from preceptor.compare.demo import COMPARED, DOES_NOT_SHOW, SETTING, run_demo

    if arguments.seeds < 1:
        raise InputError(f"--seeds is {arguments.seeds}; expected 1 or more, and 3 or more for intervals")
    check_writable(arguments.out)
    out, silent = arguments.out / COMPARED, arguments.quiet or arguments.json
    if not silent:
        print(*_wrapped(SETTING), sep="\n", flush=True)
    with showing_findings(arguments) as findings, ComparisonBar(out, quiet=silent) as bar:
        result = run_demo(
            arguments.out,
            seeds=arguments.seeds,
            device=arguments.device,
            on_finding=findings.add,
            progress=bar,
        )
    files = write_files(result, out, quiet=silent)
    notes = [*_wrapped(f"What it does not show: {DOES_NOT_SHOW}"), *_wrapped(ROUNDING)]
    show(arguments, lambda: result.model_dump(mode="json"), lambda: (*comparison_lines(result, files), *notes))


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, width=110)
