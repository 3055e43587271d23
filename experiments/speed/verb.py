"""``preceptor bench``: its options, the measurement and its tables."""

import argparse
import shlex
from pathlib import Path
from typing import get_args

import torch

from experiments.speed.cases import PAIRS, VARIANTS, Case, default_batches, find_pair, find_variants
from experiments.speed.measure import measure
from experiments.speed.result import SpeedResult, save_speed
from experiments.speed.table import provenance, speed_tables
from preceptor.cli.options import add_output_options
from preceptor.errors import InputError, unknown_name
from preceptor.files import check_writable
from preceptor.run.progress import ImageBar
from preceptor.training import Compile
from preceptor.training.device import choose_device

EXAMPLES = """examples:
  preceptor bench
  preceptor bench --compile never --rounds 3
  preceptor bench --pair resnet56:resnet20 --batch-size 128 --variant cache --variant student-alone
  preceptor bench --all --rounds 9 --out results/bench/speed.json
"""

DESCRIPTION = """Trains a student in several ways in turns, on random images, and shows how fast each is: by the
baseline loop (always), with a live teacher in fp32 and by default, from a cache, alone, and 8 students at once.
It needs no data. Networks are compiled where that pays in a training of 240 epochs; it takes a minute or more."""

ROUNDS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument(
        "--all", action="store_true", help="every pair at every batch size (up to an hour on two cores)"
    )
    pairs = ", ".join(f"{name} (default)" if not place else name for place, name in enumerate(PAIRS))
    parser.add_argument("--pair", action="append", help=f"TEACHER:STUDENT, may be repeated: {pairs}")
    parser.add_argument("--batch-size", action="append", type=int, help="may be repeated (default 64)")
    variants = ", ".join(list(VARIANTS)[1:])
    parser.add_argument(
        "--variant", action="append", help=f"beside the baseline loop, may be repeated: {variants} (default: all)"
    )
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"that count (default {ROUNDS}), after a warm-up of 2"
    )
    parser.add_argument("--batches", type=int, help="a round (default: some seconds' worth, 100 on a GPU)")
    parser.add_argument("--compile", default="auto", help="auto (default), never, always or graph (CUDA graphs)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument("--out", type=Path, help="write the result to this JSON file")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure and show.

    Raises:
        InputError: an option that cannot be.
        MachineError: a device that is missing.
    """
    _check(arguments)
    device = choose_device(arguments.device)
    variants = find_variants(arguments.variant or VARIANTS)
    cases = _cases(arguments, device)
    if arguments.out is not None:
        check_writable(arguments.out.parent)
    with ImageBar(quiet=arguments.quiet or arguments.json) as bar:
        result = measure(
            cases,
            variants,
            rounds=arguments.rounds,
            device=device,
            compile=arguments.compile,
            command=_command(arguments),
            progress=bar,
        )
    if arguments.out is not None:
        save_speed(result, arguments.out)
    if arguments.json:
        print(result.model_dump_json())
    elif not arguments.quiet:
        _show(result)


def _check(arguments: argparse.Namespace) -> None:
    least = {"--rounds": (arguments.rounds, 1), "--batches": (arguments.batches, 1)}
    least |= {"--batch-size": (min(arguments.batch_size or [64]), 2)}
    for option, (value, smallest) in least.items():
        if value is not None and value < smallest:
            raise InputError(f"{option} is {value}; expected {smallest} or more")
    if arguments.compile not in get_args(Compile):
        raise unknown_name("--compile", arguments.compile, get_args(Compile))
    if arguments.all and (arguments.pair or arguments.batch_size):
        raise InputError("--all is every pair at every batch size; leave out --pair and --batch-size")


def _cases(arguments: argparse.Namespace, device: torch.device) -> list[Case]:
    pairs = [find_pair(name) for name in arguments.pair or (list(PAIRS) if arguments.all else list(PAIRS)[:1])]
    return [
        Case(pair, size, arguments.batches or default_batches(pair, size, device))
        for pair in pairs
        for size in (pair.batch_sizes if arguments.all else arguments.batch_size or [64])
    ]


def _command(arguments: argparse.Namespace) -> str:
    """The command that measures this again."""
    parts = ["preceptor", "bench"] + (["--all"] if arguments.all else [])
    defaults = {"pair": [], "batch_size": [], "variant": [], "rounds": ROUNDS, "batches": None}
    for option, default in {**defaults, "compile": "auto", "device": "auto"}.items():
        values = getattr(arguments, option) or []
        for value in values if isinstance(values, list) else [values]:
            parts += [] if value == default else [f"--{option.replace('_', '-')}", str(value)]
    return shlex.join(parts)


def _show(result: SpeedResult) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for title, (headings, *rows) in speed_tables(result).items():
        table = Table(*headings, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(provenance(result), highlight=False)
