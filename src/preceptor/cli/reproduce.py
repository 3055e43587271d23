"""``preceptor reproduce``: run a study again and write its result file."""

import argparse
from pathlib import Path

EXAMPLES = """examples:
  preceptor reproduce
  preceptor reproduce demo --out results
  preceptor reproduce teacher-quality --data-root ~/data --out results
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_output_options

    parser.description = "Runs a study of the source checkout; `preceptor demo` needs no checkout."
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
    from preceptor.cli.experiments import load_experiments
    from preceptor.errors import unknown_name

    studies = load_experiments("studies").STUDIES
    if arguments.study is None:
        _list({name: study.title for name, study in studies.items()}, arguments.json)
        return
    if arguments.study not in studies:
        raise unknown_name("study", arguments.study, studies)
    from preceptor.cli.study import run_and_show

    study = studies[arguments.study]
    run_and_show(
        study.model_copy(update={"data_root": arguments.data_root}),
        seeds=arguments.seeds,
        device=arguments.device,
        result_file=arguments.out / f"{study.name}.json",
        page=arguments.out / f"{study.name}.html",
        arguments=arguments,
    )


def _list(titles: dict[str, str], as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps(titles))
        return
    for name, title in titles.items():
        print(f"{name:<32}{title}")
