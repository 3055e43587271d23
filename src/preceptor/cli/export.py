"""``preceptor export``: a student as files to deploy, checked against it."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preceptor.cli.exporting import Exported, Quantized
    from preceptor.export import Cost, Export, Standing
    from preceptor.models import ModelCard

EXAMPLES = """examples:
  preceptor export runs/student --out deployed
  preceptor export runs/student --out deployed --format onnx --format pt2 --format state-dict
  preceptor export runs/student --out deployed --int8 static
  preceptor export runs/student --out deployed --teacher runs/teacher --json

An ONNX or pt2 file takes uint8 images and holds normalization, softmax, score and decision. Every file is run on real
images before it is put in its place, and nothing is left where one does not say what the student says.
"""

SHOWN_COVERAGES = ("100", "95", "90", "80")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_data_options, add_output_options

    parser.epilog = EXAMPLES
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of the student")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; no file there is overwritten")
    parser.add_argument(
        "--format",
        action="append",
        choices=("onnx", "pt2", "state-dict"),
        help="onnx (default), pt2 (torch.export) or state-dict (safetensors and card); give it several times for more",
    )
    parser.add_argument(
        "--int8",
        choices=("dynamic", "static"),
        help="also the ONNX file in int8, measured before and after; static takes its ranges from training images",
    )
    parser.add_argument("--teacher", type=Path, help="run folder to show beside it (default: the run's own teacher)")
    add_data_options(parser)
    parser.add_argument("--split", choices=("test", "train"), default="test", help="which images to compare on")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write, check and show."""
    from preceptor.cli.exporting import check_order, export_shown
    from preceptor.cli.options import shown_student

    formats = list(dict.fromkeys(arguments.format or ["onnx"]))
    check_order(arguments.out, formats, arguments.int8)
    shown = shown_student(arguments)
    with _status(arguments.quiet or arguments.json) as tell:
        found = export_shown(shown, arguments.out, formats, int8=arguments.int8, teacher=arguments.teacher, tell=tell)
    if arguments.json:
        json.dump(_plain(found, arguments), sys.stdout, allow_nan=False)
        print()
    elif not arguments.quiet:
        _show(found, arguments.out)


@contextmanager
def _status(silent: bool) -> Iterator[Callable[[str], None]]:
    """OutputKind on a terminal what is being done."""
    from rich.console import Console

    console = Console(stderr=True)
    if silent or not console.is_terminal:
        yield lambda _: None
        return
    with console.status("reading the student and its data") as status:
        yield status.update


def _plain(found: "Exported", arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "run": str(arguments.run),
        "out": str(arguments.out),
        "files": [
            {
                "format": export.format,
                "bytes": {file: len(content) for file, content in export.contents.items()},
                "agreement": None if export.agreement is None else asdict(export.agreement),
            }
            for export in found.exports
        ],
        "data": found.data,
        "split": found.part,
        "int8": None if found.int8 is None else asdict(found.int8),
        "teacher": None if found.teacher is None else str(found.teacher),
        "without_teacher": found.without_teacher,
        "costs": [asdict(cost) for cost in found.costs],
    }


def _show(found: "Exported", out: Path) -> None:
    from preceptor.cli.guarantees import guarantees_of
    from preceptor.cli.printing import printable

    for export in found.exports:
        print(printable(f"{out / export.name}: {_agreement_words(export, found)}"))
    guarantees = guarantees_of(found.card) or [
        "no decision on the student's card: it answers always (preceptor calibrate)"
    ]
    print("\n".join(guarantees))
    if found.int8 is not None:
        print()
        _print_table(_int8_table(found.int8, found.card))
        _show_void_promise(found.card)
    print()
    _print_table(_cost_table(found.costs))
    print("medians on one thread of this CPU, taken in turns; multiply-adds are those of one image")
    if found.without_teacher is not None:
        print(printable(f"teacher not shown: {found.without_teacher} (--teacher RUN names one)"))


def _agreement_words(export: "Export", found: "Exported") -> str:
    agreed = export.agreement
    if agreed is None:
        return "the network in int8, measured below"
    sizes = ", ".join(str(size) for size in agreed.batch_sizes)
    words = (
        f"on {agreed.images} images of {found.data} ({found.part}), in batches of {sizes}, all labels are the "
        f"student's, probabilities within {agreed.probability_difference:.0e}"
    )
    if agreed.decided_otherwise:
        words += f"; {agreed.decided_otherwise} at the threshold decided otherwise, by rounding to float32"
    return words


def _show_void_promise(card: "ModelCard") -> None:
    if card.decision is not None:
        print("the guarantee is fp32's: it does not carry over to int8, and is not on the card of that file")


def _int8_table(found: "Quantized", card: "ModelCard") -> list[tuple[str, ...]]:
    heading = f"on {found.before.images:,} images"
    rows: list[tuple[str, ...]] = [(heading, "fp32", f"int8, {found.mode}")]
    rows.append(("accuracy", *_both(found, lambda each: f"{each.accuracy:.2%}")))
    rows.append((f"AURC by {found.before.selective.score}", *_both(found, lambda each: f"{each.selective.aurc:.5f}")))
    for coverage in SHOWN_COVERAGES:
        rows.append((f"error at coverage {coverage} %", *_both(found, _error_at(coverage))))
    if card.decision is not None:
        rows.append(("coverage at the threshold", *_both(found, lambda each: f"{each.coverage:.2%}")))
        rows.append(("risk at the threshold", *_both(found, _risk)))
    return rows


def _both(found: "Quantized", said: "Callable[[Standing], str]") -> tuple[str, str]:
    return said(found.before), said(found.after)


def _error_at(coverage: str) -> "Callable[[Standing], str]":
    return lambda each: f"{each.selective.error_at_coverage[coverage]:.2%}"


def _risk(each: "Standing") -> str:
    return "answers none" if each.risk is None else f"{each.risk:.2%}"


def _cost_table(costs: "list[Cost]") -> list[tuple[str, ...]]:
    sizes = list(costs[0].milliseconds)
    heading = ("", "file, bytes", "parameters", "multiply-adds", *(f"batch of {size}, ms" for size in sizes))
    return [
        heading,
        *(
            (
                cost.name,
                f"{cost.file_bytes:,}",
                "" if cost.parameters is None else f"{cost.parameters:,}",
                "" if cost.multiply_adds is None else f"{cost.multiply_adds:,}",
                *(f"{cost.milliseconds[size]:.3f}" for size in sizes),
            )
            for cost in costs
        ),
    ]


def _print_table(rows: list[tuple[str, ...]]) -> None:
    """The first column to the left, all others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        print("  ".join(cells).rstrip())
