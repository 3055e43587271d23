"""Exports the student of a run: writes and checks it, quantizes it, and counts what everything costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from preceptor.context import UNLABELED
from preceptor.data import Dataset, ImageSet
from preceptor.errors import InputError, PreceptorError
from preceptor.export import (
    FILES,
    Cost,
    Export,
    ExportModule,
    Mode,
    Standing,
    check_formats,
    check_places,
    export_student,
    latencies,
    multiply_adds,
    parameters,
    put_in_place,
    quantized,
    some_of,
    standing,
)
from preceptor.export.int8 import CALIBRATION_IMAGES, INT8_FILE
from preceptor.models import ModelCard, load_student
from preceptor.models.store import WEIGHTS_FILE
from preceptor.run.cards import check_card
from preceptor.run.evaluation import EvaluationData
from preceptor.run.history import saved_run
from preceptor.run.members import kind_of


@dataclass(frozen=True)
class Quantized:
    """What int8 did to the answers.

    Attributes:
        mode: "dynamic" or "static".
        calibration_images: of the training set, that ranges were taken from; 0 for "dynamic".
        before: of the fp32 file.
        after: of the int8 file.
    """

    mode: Mode
    calibration_images: int
    before: Standing
    after: Standing


@dataclass(frozen=True)
class Exported:
    """What an export came to.

    Attributes:
        exports: what was written.
        card: of the student.
        data: whose images were compared on.
        part: "test", or "train" for all of its training images, held out or not.
        int8: None where it was not asked for.
        teacher: its run folder; None where it is not shown.
        without_teacher: why it is not.
        costs: of the teacher, the student, and each file that can be run.
    """

    exports: list[Export]
    card: ModelCard
    data: str
    part: Literal["test", "train"]
    int8: Quantized | None
    teacher: Path | None
    without_teacher: str | None
    costs: list[Cost]


@dataclass(frozen=True)
class _Named:
    """A network from a run folder."""

    folder: Path
    network: nn.Module
    card: ModelCard


def check_order(out: Path, formats: Sequence[str], int8: Mode | None) -> None:
    """Make sure, before anything is read, that an export can be written where it is asked for.

    Raises:
        InputError: an unknown format, int8 of no ONNX file, or a file that is there already.
        MachineError: a package is missing, or the folder cannot be written.
    """
    check_formats(formats)
    if int8 is not None and "onnx" not in formats:
        raise InputError("int8 is made of the ONNX file: give --format onnx with it")
    names = [name for chosen in formats for name in FILES[chosen]]
    check_places(out, [*names, *([INT8_FILE] if int8 else [])])


def export_shown(
    shown: EvaluationData,
    out: Path,
    formats: Sequence[str],
    *,
    int8: Mode | None = None,
    teacher: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write a student in each format; nothing is left behind where one does not agree with it.

    Args:
        shown: the student, and the images to compare on.
        out: folder to write to.
        formats: keys of ``FILES``; "onnx" among them where int8 is asked for.
        int8: the mode; None leaves it away.
        teacher: run folder of the network to show beside it; None is the one that the run names.
        tell: told what is being done.

    Raises:
        InputError: a teacher or decision that cannot be used, an architecture that cannot be exported.
        MachineError: the folder cannot be written, or a file does not agree.
    """
    student = _Named(shown.folder, shown.network, shown.card)
    beside, why_not = _teacher(shown.folder, teacher, shown.dataset)
    images = some_of(shown.images.images)
    made = export_student(student.network, student.card, images, formats, tell=tell)
    found = None
    if int8 is not None:
        tell(f"quantizing to int8 ({int8}) and measuring on {len(shown.images):,} images")
        found, smaller = _in_int8(int8, made, shown)
        made.append(smaller)
    tell("measuring latencies")
    costs = _costs(student, beside, made, images)
    put_in_place(out, made)
    return Exported(
        exports=made,
        card=student.card,
        data=shown.dataset.name,
        part="train" if shown.whole else "test",
        int8=found,
        teacher=None if beside is None else beside.folder,
        without_teacher=why_not,
        costs=costs,
    )


def _teacher(run: Path, given: Path | None, dataset: Dataset) -> tuple[_Named | None, str | None]:
    """The teacher to show, or why there is none; one that was asked for must be there."""
    if given is not None:
        return _loaded_teacher(given, dataset), None
    try:
        past = saved_run(run)
        if past is None or len(past.config.teachers) != 1 or kind_of(past.config.teachers[0]) != "network":
            return None, "the run names no single network that taught it"
        return _loaded_teacher(past.config.teachers[0], dataset), None
    except PreceptorError as error:
        return None, str(error)


def _loaded_teacher(folder: Path, dataset: Dataset) -> _Named:
    network, card = load_student(folder)
    check_card(f"teacher {folder}", card, dataset)
    return _Named(folder, network, card)


def _in_int8(mode: Mode, made: Sequence[Export], shown: EvaluationData) -> tuple[Quantized, Export]:
    whole = next(export for export in made if export.format == "onnx")
    train = shown.dataset.train.images
    calibration = _drawn(train) if mode == "static" else train[:0]
    smaller = quantized(whole, mode, shown.card, calibration)
    labeled = shown.images.labels != UNLABELED
    judged = ImageSet(shown.images.images[labeled], shown.images.labels[labeled])
    score = ExportModule(shown.network, shown.card).score
    before, after = (standing(each.run, judged.images, judged.labels, score) for each in (whole, smaller))
    return Quantized(mode, len(calibration), before, after), smaller


def _drawn(images: UInt8[Tensor, "n channels height width"]) -> UInt8[Tensor, "some channels height width"]:
    """Training images to take ranges from, always the same ones of the same set."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order[:CALIBRATION_IMAGES]]


def _costs(student: _Named, teacher: _Named | None, made: Sequence[Export], images: Tensor) -> list[Cost]:
    networks = {"student, PyTorch": student}
    if teacher is not None:
        networks = {"teacher, PyTorch": teacher, **networks}
    files = {_title(export): export for export in made if export.format != "state-dict"}
    runs = {name: _from_pixels(named) for name, named in networks.items()}
    times = latencies({**runs, **{name: export.run for name, export in files.items()}}, images)
    found = [
        Cost(
            name=name,
            file_bytes=(named.folder / WEIGHTS_FILE).stat().st_size,
            parameters=parameters(named.network),
            multiply_adds=multiply_adds(named.network, named.card),
            milliseconds=times[name],
        )
        for name, named in networks.items()
    ]
    return found + [Cost(name, export.size, None, None, times[name]) for name, export in files.items()]


def _from_pixels(named: _Named) -> Callable[[Tensor], object]:
    """The whole way, as the files go it; whether it declines takes no time to speak of."""
    return ExportModule(named.network, named.card.model_copy(update={"decision": None})).reply


def _title(export: Export) -> str:
    return f"{export.name}, {'PyTorch' if export.format == 'pt2' else 'ONNX Runtime'}"
