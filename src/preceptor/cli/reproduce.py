"""``preceptor reproduce``: run a published protocol again."""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.cli.options import add_output_options
from preceptor.cli.printing import show
from preceptor.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from preceptor.protocols import ProtocolResult

EXAMPLES = """examples:
  preceptor reproduce
  preceptor reproduce cifar100 --pairs resnet32x4-resnet8x4 --recipes kd,dkd,safe --data-root ~/data --out cifar100

A protocol (cifar100, imagenet, ...) is pairs of networks with the published schedule: teachers that are not there yet
are trained, then the recipes of every pair are compared, after the last epoch. Given again after a stop, it goes on.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.description = "Runs a published protocol."
    parser.epilog = EXAMPLES
    parser.add_argument("name", nargs="?", help="a protocol's name or file; without one, they are listed")
    parser.add_argument(
        "--out", type=Path, default=Path("results"), help="folder of teachers, students and results (default results)"
    )
    parser.add_argument("--seeds", type=int, help="how many seeds (default: the protocol's own)")
    parser.add_argument("--data-root", type=Path, help="folder of named data sets (default $PRECEPTOR_DATA)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument("--pairs", metavar="TEACHER-STUDENT,...", help="pairs to run (default all)")
    parser.add_argument("--recipes", metavar="NAME,...", help="recipes (default the protocol's); none is always there")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes at a time (default: by the number of cores)")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run what is named and show its table, or list what there is."""
    from preceptor.protocols import protocol_names, read_protocol

    if arguments.seeds is not None and arguments.seeds < 1:
        raise InputError(f"--seeds is {arguments.seeds}; expected 1 or more, and 3 or more for intervals")
    if arguments.name is None:
        protocols = {one: read_protocol(one).about for one in protocol_names()}
        show(arguments, lambda: protocols, lambda: (f"{one:<32}{about}" for one, about in protocols.items()))
    else:
        _run_protocol(arguments)


def _run_protocol(arguments: argparse.Namespace) -> None:
    from preceptor.cli.bars import ComparisonBar
    from preceptor.protocols import read_protocol, run_protocol
    from preceptor.run.progress import ProgressBar

    silent = arguments.quiet or arguments.json
    settings = {"data_root": arguments.data_root, "device": arguments.device}
    result = run_protocol(
        Path(arguments.name).stem,
        read_protocol(arguments.name),
        arguments.out,
        pairs=arguments.pairs.split(",") if arguments.pairs else (),
        recipes=arguments.recipes.split(",") if arguments.recipes else (),
        seeds=arguments.seeds,
        settings={key: value for key, value in settings.items() if value is not None},
        jobs=arguments.jobs,
        teacher_bar=partial(ProgressBar, quiet=silent),
        pair_bar=partial(ComparisonBar, quiet=silent),
    )
    show(arguments, lambda: result.model_dump(mode="json"), lambda: protocol_lines(result))


def protocol_lines(result: "ProtocolResult") -> Iterator["str | Table"]:
    """A table for each pair, and what to know about the published numbers."""
    from preceptor.cli.printing import table

    for pair in result.pairs:
        rows = [["teacher", *_beside(pair.teacher_accuracy, None, pair.teacher_published)]]
        rows += [[one.recipe, *_beside(one.mean, one.deviation, one.published)] for one in pair.recipes]
        yield table(["", "accuracy, %", "published, %", "difference"], rows, title=f"{pair.teacher} to {pair.student}")
    yield "Mean and deviation over seeds, after the last epoch. Of the published numbers:"
    yield from (f"- {caveat}" for caveat in result.caveats)


def _beside(accuracy: float | None, deviation: float | None, published: float | None) -> list[str]:
    own = "–" if accuracy is None else f"{100 * accuracy:.2f}"
    spread = "" if deviation is None else f" ± {100 * deviation:.2f}"
    if published is None:
        return [own + spread, "–", "–"]
    difference = "–" if accuracy is None else f"{100 * (accuracy - published):+.2f}".replace("-", "−")
    return [own + spread, f"{100 * published:.2f}", difference]
