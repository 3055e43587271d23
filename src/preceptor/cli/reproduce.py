"""``preceptor reproduce``: run a study again and write its result file."""

import argparse
from pathlib import Path

from preceptor.cli.experiments import load_experiments
from preceptor.cli.options import add_output_options
from preceptor.cli.printing import show
from preceptor.errors import unknown_name

EXAMPLES = """examples:
  preceptor reproduce
  preceptor reproduce correlation --out results
  preceptor reproduce teacher-quality --data-root ~/data --out results
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.description = "Runs a study of the source checkout."
    parser.epilog = EXAMPLES
    parser.add_argument("study", nargs="?", help="a study's name; without one, the studies are listed")
    parser.add_argument(
        "--out", type=Path, default=Path("results"), help="folder for NAME.json and NAME.html (default results)"
    )
    parser.add_argument("--seeds", type=int, help="how many seeds (default: the study's own)")
    parser.add_argument("--data-root", type=Path, help="folder of named data sets (default $PRECEPTOR_DATA)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the study and show its table, or list the studies."""
    from preceptor.cli.study import run_and_show

    studies = load_experiments("studies").STUDIES
    if arguments.study is None:
        titles = {name: study.title for name, study in studies.items()}
        show(arguments, lambda: titles, lambda: (f"{name:<32}{title}" for name, title in titles.items()))
        return
    if arguments.study not in studies:
        raise unknown_name("study", arguments.study, studies)
    study = studies[arguments.study].model_copy(update={"data_root": arguments.data_root})
    result_file, page = arguments.out / f"{study.name}.json", arguments.out / f"{study.name}.html"
    run_and_show(study, arguments, result_file=result_file, page=page)
