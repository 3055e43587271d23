"""``preceptor bench``: how fast training is on this machine, against a loop as others build it."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.errors import InputError

if TYPE_CHECKING:
    import torch

    from preceptor.speed import Case, SpeedResult

EXAMPLES = """examples:
  preceptor bench
  preceptor bench --compile never --rounds 3
  preceptor bench --pair resnet56:resnet20 --batch-size 128 --variant cache --variant student-alone
  preceptor bench --all --rounds 9 --out results/bench/speed.json
"""

DESCRIPTION = """Trains a student in several ways in turns, on made-up images, and says how fast each is: as the baseline
loops do it (always), live in fp32, live by default, from a cache, alone, and 8 students at once. It needs no data.
Networks are compiled where that pays in a training of 240 epochs, which takes a minute or more to begin with."""

ROUNDS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_output_options

    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument(
        "--all", action="store_true", help="every pair at every batch size (up to an hour on two cores)"
    )
    parser.add_argument(
        "--pair",
        action="append",
        help="TEACHER:STUDENT, may be repeated: resnet32x4:resnet8x4 (default), resnet56:resnet20, resnet20:resnet8",
    )
    parser.add_argument("--batch-size", action="append", type=int, help="may be repeated (default 64)")
    parser.add_argument(
        "--variant",
        action="append",
        help="beside the baseline loop, may be repeated: live-fp32, live-bf16-teacher, live, cache, cache-fp32, "
        "student-alone, live-8 (default: all)",
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
    """Measure and show."""
    from preceptor.cli.progress import BenchBar
    from preceptor.files import check_writable
    from preceptor.speed import VARIANTS, find_variants, measure, save_speed
    from preceptor.training.device import choose_device
    from preceptor.training.memory import tune_malloc

    tune_malloc()  # the baseline loop, in the same process, gains by it too
    _check(arguments)
    device = choose_device(arguments.device)
    variants = find_variants(arguments.variant or VARIANTS)
    cases = _cases(arguments, device)
    if arguments.out is not None:
        check_writable(arguments.out.parent)
    with BenchBar(quiet=arguments.quiet or arguments.json) as bar:
        result = measure(
            cases,
            variants,
            rounds=arguments.rounds,
            device=device,
            compile=arguments.compile,
            command=_command(arguments),
            watcher=bar,
        )
    if arguments.out is not None:
        save_speed(result, arguments.out)
    if arguments.json:
        print(result.model_dump_json())
    elif not arguments.quiet:
        _show(result)


def _cases(arguments: argparse.Namespace, device: "torch.device") -> "list[Case]":
    from preceptor.speed import PAIRS, Case, find_pair, usual_batches

    if arguments.all and (arguments.pair or arguments.batch_size):
        raise InputError("--all: is every pair at every batch size: leave --pair and --batch-size away")
    pairs = [find_pair(name) for name in arguments.pair or (list(PAIRS) if arguments.all else list(PAIRS)[:1])]
    return [
        Case(pair, size, arguments.batches or usual_batches(pair, size, device))
        for pair in pairs
        for size in (pair.batch_sizes if arguments.all else arguments.batch_size or [64])
    ]


def _check(arguments: argparse.Namespace) -> None:
    from typing import get_args

    from preceptor.errors import unknown_name
    from preceptor.training import Compile

    least = {"--rounds": (arguments.rounds, 1), "--batches": (arguments.batches, 1)}
    least |= {"--batch-size": (min(arguments.batch_size or [64]), 2)}
    for option, (given, smallest) in least.items():
        if given is not None and given < smallest:
            raise InputError(f"{option} {given}: at least {smallest}")
    if arguments.compile not in get_args(Compile):
        raise unknown_name("--compile", arguments.compile, get_args(Compile))


def _command(arguments: argparse.Namespace) -> str:
    """What to type to measure this again."""
    words = ["preceptor", "bench"] + (["--all"] if arguments.all else [])
    for option in ("pair", "batch_size", "variant"):
        words += [word for value in getattr(arguments, option) or [] for word in (_flag(option), str(value))]
    for option, default in (("rounds", ROUNDS), ("batches", None), ("compile", "auto"), ("device", "auto")):
        value = getattr(arguments, option)
        words += [] if value == default else [_flag(option), str(value)]
    return shlex.join(words)


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _show(result: "SpeedResult") -> None:
    from rich.console import Console
    from rich.table import Table

    from preceptor.speed import made, speed_tables

    console = Console()
    for title, (headings, *rows) in speed_tables(result).items():
        table = Table(*headings, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(made(result), highlight=False)
