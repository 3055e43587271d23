"""``preceptor export``: a student as files to deploy, each compared with it first."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.cli.options import add_data_options, add_output_options, shown_student
from preceptor.cli.printing import show
from preceptor.errors import InputError, PreceptorError

if TYPE_CHECKING:
    from preceptor.export import AnswerQuality, Cost, Export, QuantizationResult, SavedNetwork
    from preceptor.models import ModelCard
    from preceptor.run.evaluation import EvaluationData

EXAMPLES = """examples:
  preceptor export runs/student --out deployed
  preceptor export runs/student --out deployed --format onnx --format pt2 --format state-dict
  preceptor export runs/student --out deployed --int8 static
  preceptor export runs/student --out deployed --teacher runs/teacher --json

An ONNX or pt2 file takes uint8 images and holds normalization, softmax, score and decision. Each file is run on images
of the data set (on random ones where the data is missing) before it is put in place; nothing is left of one that
differs from the student.
"""

COVERAGES = ("100", "95", "90", "80")


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        shown: the images that were compared; None where they were random.
        without_data: why they were random.
        teacher: listed among the costs; None without one.
        without_teacher: why there is none.
    """

    exports: "list[Export]"
    card: "ModelCard"
    shown: "EvaluationData | None"
    without_data: str | None
    int8: "QuantizationResult | None"
    teacher: "SavedNetwork | None"
    without_teacher: str | None
    costs: "list[Cost]"

    @property
    def data(self) -> str | None:
        return None if self.shown is None else self.shown.dataset.name

    @property
    def split(self) -> str | None:
        """The part of it: "test", or "train" for all training images."""
        return None if self.shown is None else "train" if self.shown.whole else "test"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.epilog = EXAMPLES
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of the student")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; no file there is overwritten")
    parser.add_argument(
        "--format",
        action="append",
        choices=("onnx", "pt2", "state-dict"),
        help="onnx (default), pt2 (torch.export) or state-dict (safetensors and card); may be given several times",
    )
    parser.add_argument(
        "--int8",
        choices=("dynamic", "static"),
        help="also the ONNX file in int8, measured before and after; static takes its ranges from training images",
    )
    parser.add_argument("--teacher", type=Path, help="run folder to list beside it (default: the run's own teacher)")
    add_data_options(parser)
    parser.add_argument("--split", choices=("test", "train"), default="test", help="which images to compare on")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write, compare and show."""
    from preceptor.export import FILES, check_formats, check_places
    from preceptor.export.int8 import INT8_FILE
    from preceptor.run.progress import StatusLine

    formats = list(dict.fromkeys(arguments.format or ["onnx"]))
    check_formats(formats)
    if arguments.int8 is not None and "onnx" not in formats:
        raise InputError("int8 is made from the ONNX file: give --format onnx with it")
    names = [name for chosen in formats for name in FILES[chosen]]
    check_places(arguments.out, [*names, *([INT8_FILE] if arguments.int8 else [])])
    with StatusLine(quiet=arguments.quiet or arguments.json) as tell:
        tell("reading the student and its data")
        exported = _export(arguments, formats, tell)
    show(arguments, lambda: _plain(exported, arguments), lambda: _lines(exported, arguments.out))


def _export(arguments: argparse.Namespace, formats: Sequence[str], tell: Callable[[str], None]) -> Exported:
    """Everything is compared and measured before the first file is put in place."""
    from preceptor.export import (
        SavedNetwork,
        cost_table,
        export_student,
        measure_int8,
        put_in_place,
        quantize,
        random_images,
        some_of,
    )
    from preceptor.models import load_student
    from preceptor.models.sized import resized

    student = SavedNetwork(arguments.run, *load_student(arguments.run))
    card = student.card
    shown, without_data = _data(arguments)
    teacher, without_teacher = _teacher(arguments, card)
    images = random_images(card) if shown is None else resized(some_of(shown.images.images), card.image_size)
    exports, int8 = export_student(student.network, card, images, formats, tell=tell), None
    if shown is not None and arguments.int8 is not None:
        tell(f"quantizing to int8 ({arguments.int8}) and measuring on {len(shown.images):,} images")
        onnx, train = next(export for export in exports if export.format == "onnx"), shown.dataset.train.images
        exports.append(quantize(onnx, arguments.int8, card, train))
        int8 = measure_int8(arguments.int8, onnx, exports[-1], card, shown.images)
    tell("measuring latencies")
    networks = {"student": student} if teacher is None else {"teacher": teacher, "student": student}
    costs = cost_table(networks, exports, images)
    put_in_place(arguments.out, exports)
    return Exported(exports, card, shown, without_data, int8, teacher, without_teacher, costs)


def _data(arguments: argparse.Namespace) -> "tuple[EvaluationData | None, str | None]":
    """The images to compare on, or why there are none."""
    try:
        return shown_student(arguments), None
    except PreceptorError as error:
        # A run folder may be copied to a machine without its data. Data that is named must be there, and so must the
        # labels that int8 is measured on.
        if arguments.data is not None or arguments.int8 is not None:
            raise
        return None, str(error)


def _teacher(arguments: argparse.Namespace, student: "ModelCard") -> "tuple[SavedNetwork | None, str | None]":
    """The teacher to list, or why there is none; one that is named must be there."""
    from preceptor.export import SavedNetwork
    from preceptor.models import load_student
    from preceptor.run.history import saved_run

    try:
        folder = arguments.teacher
        if folder is None:
            saved = saved_run(arguments.run)
            if saved is None or len(saved.config.teachers) != 1:
                return None, "the run has no single network as teacher"
            (folder,) = saved.config.teachers
        teacher = SavedNetwork(folder, *load_student(folder))
        if (teacher.card.channels, teacher.card.image_size) != (student.channels, student.image_size):
            raise InputError(f"teacher {folder}: takes images of another size or number of channels than the student")
    except PreceptorError as error:
        if arguments.teacher is not None:
            raise
        return None, str(error)
    return teacher, None


def _plain(exported: Exported, arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "run": str(arguments.run),
        "out": str(arguments.out),
        "files": [
            {
                "format": export.format,
                "bytes": {file: len(content) for file, content in export.contents.items()},
                "agreement": None if export.agreement is None else asdict(export.agreement),
            }
            for export in exported.exports
        ],
        "data": exported.data,
        "split": exported.split,
        "without_data": exported.without_data,
        "int8": None if exported.int8 is None else asdict(exported.int8),
        "teacher": None if exported.teacher is None else str(exported.teacher.folder),
        "without_teacher": exported.without_teacher,
        "costs": [asdict(cost) for cost in exported.costs],
    }


def _lines(exported: Exported, out: Path) -> Iterator[str]:
    from preceptor.cli.guarantees import guarantees_of

    card = exported.card
    for export in exported.exports:
        yield f"{out / export.name}: {_agreement(export, exported)}"
    if exported.without_data is not None:
        yield f"not compared on real images: {exported.without_data}"
    yield from guarantees_of(card) or ["no decision on the student's card: it always answers (preceptor calibrate)"]
    if card.sets is not None:
        yield "prediction sets are on the card, not in the file: apply their threshold to its probabilities"
    if exported.int8 is not None:
        yield from ("", *_table(_int8_rows(exported.int8, card)))
        if card.decision is not None:
            yield "the guarantee is fp32's: it does not carry over to int8, and is not on the card of that file"
    yield from ("", *_table(_cost_rows(exported.costs)))
    yield "median latency on one thread of this CPU; multiply-adds are those of one image"
    if exported.without_teacher is not None:
        yield f"teacher not listed: {exported.without_teacher} (--teacher RUN names one)"


def _agreement(export: "Export", exported: Exported) -> str:
    agreement = export.agreement
    if agreement is None:
        return "the network in int8, measured below"
    images = "random images" if exported.data is None else f"images of {exported.data} ({exported.split})"
    sizes = ", ".join(str(size) for size in agreement.batch_sizes)
    text = (
        f"on {agreement.images} {images}, in batches of {sizes}, all labels are the student's, probabilities "
        f"within {agreement.probability_difference:.0e}"
    )
    if agreement.decided_otherwise:
        text += f"; {agreement.decided_otherwise} at the threshold decided otherwise, by rounding to float32"
    return text


def _int8_rows(int8: "QuantizationResult", card: "ModelCard") -> list[tuple[str, ...]]:
    def column(quality: "AnswerQuality") -> dict[str, str]:
        errors = {f"error at coverage {share} %": quality.selective.error_at_coverage[share] for share in COVERAGES}
        texts = {
            "accuracy": f"{quality.accuracy:.2%}",
            f"AURC by {quality.selective.score}": f"{quality.selective.aurc:.5f}",
            **{name: f"{error:.2%}" for name, error in errors.items()},
        }
        if card.decision is not None:
            texts["coverage at the threshold"] = f"{quality.coverage:.2%}"
            texts["risk at the threshold"] = "answers none" if quality.risk is None else f"{quality.risk:.2%}"
        return texts

    before, after = column(int8.before), column(int8.after)
    heading = (f"on {int8.before.images:,} images", "fp32", f"int8, {int8.mode}")
    return [heading, *((name, text, after[name]) for name, text in before.items())]


def _cost_rows(costs: "list[Cost]") -> list[tuple[str, ...]]:
    batches = (f"batch of {size}, ms" for size in costs[0].milliseconds)
    rows: list[tuple[str, ...]] = [("", "file, bytes", "parameters", "multiply-adds", *batches)]
    for cost in costs:
        counts = ("" if count is None else f"{count:,}" for count in (cost.parameters, cost.multiply_adds))
        times = (f"{milliseconds:.3f}" for milliseconds in cost.milliseconds.values())
        rows.append((cost.name, f"{cost.file_bytes:,}", *counts, *times))
    return rows


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """The first column is aligned left, all others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()
