"""A student's ONNX file in int8, and the quality of its answers before and after."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from preceptor.context import UNLABELED
from preceptor.data import ImageSet
from preceptor.data.lazy import Inputs
from preceptor.errors import MachineError, first_line, unknown_name
from preceptor.export.formats import Export
from preceptor.export.module import DEFAULT_SCORE, ExportOutput
from preceptor.export.onnx_file import INPUT, NETWORK, OnnxFile, describe, silence
from preceptor.export.verify import Run, run_in_batches
from preceptor.metrics import SelectiveMetrics, selective_metrics
from preceptor.models import ModelCard
from preceptor.models.sized import resized
from preceptor.teachers.onnx_runtime import package

Mode = Literal["dynamic", "static"]
"""Ranges of activations taken from each batch anew, or once from training images."""

MODES: tuple[Mode, ...] = get_args(Mode)
INT8_FILE = "student.int8.onnx"
CALIBRATION_IMAGES = 256


@dataclass(frozen=True)
class AnswerQuality:
    """The quality of a file's answers on so many labeled images.

    Attributes:
        accuracy: share of right labels, abstained or not.
        selective: risk against coverage, by the file's own score.
        coverage: share that it answers.
        risk: share of errors among these; None where it answers none.
    """

    images: int
    accuracy: float
    selective: SelectiveMetrics
    coverage: float
    risk: float | None


@dataclass(frozen=True)
class QuantizationResult:
    """The answers of the fp32 file (before) and of the int8 file (after)."""

    mode: Mode
    before: AnswerQuality
    after: AnswerQuality


def quantize(export: Export, mode: Mode, card: ModelCard, train: Inputs) -> Export:
    """An ONNX export with the network's weights and activations in int8; what is around the network stays fp32.

    In the static mode weights have a scale per channel and keep to seven bits, so that sums of products fit the
    registers of every processor and the file's outputs are the same on each; it takes its ranges from some of the
    training images, always the same of the same set.

    Raises:
        InputError: an unknown mode.
        MachineError: ONNX Runtime cannot quantize the file, or cannot run the result.
    """
    if mode not in MODES:
        raise unknown_name("int8 mode", mode, MODES)
    onnx = package("onnx")
    with TemporaryDirectory(prefix="preceptor-int8-") as folder:
        source, target = Path(folder) / export.name, Path(folder) / INT8_FILE
        source.write_bytes(export.contents[export.name])
        around = [node.name for node in onnx.load(source).graph.node if not node.name.startswith(NETWORK)]
        try:
            with silence():
                _quantize(source, target, mode, around, train, card.image_size)
        except MemoryError:
            raise
        except Exception as error:  # the quantizer's errors have no base of their own
            raise MachineError(
                f"int8: onnxruntime cannot quantize {card.architecture!r} ({first_line(error)}): try the other mode"
            ) from error
        model = onnx.load(target)
        describe(model, without_guarantee(card, mode))
        target.write_bytes(model.SerializeToString())
        return Export("int8", {INT8_FILE: target.read_bytes()}, OnnxFile(target), None)


def without_guarantee(card: ModelCard, mode: Mode) -> ModelCard:
    """The card of the int8 student, without the guarantees of the fp32 student, and a note about it."""
    note = f"quantized to int8 ({mode})"
    if card.decision is not None:
        note += (
            f"; it abstains by {card.decision.score} at the threshold calibrated for the fp32 student: the risk "
            "guaranteed for that one is not guaranteed for this one"
        )
    return card.model_copy(update={"decision": None, "sets": None, "notes": {**card.notes, "int8": note}})


def _quantize(source: Path, target: Path, mode: Mode, around: list[str], train: Inputs, size: tuple[int, int]) -> None:
    library = package("onnxruntime.quantization")
    unsigned = library.QuantType.QUInt8
    if mode == "dynamic":
        library.quantize_dynamic(source, target, weight_type=unsigned, nodes_to_exclude=around)
        return
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    batches: Iterator[Tensor] = iter(resized(train[order[:CALIBRATION_IMAGES]], size).split(32))

    base: Any = library.CalibrationDataReader

    class Reader(base):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            batch = next(batches, None)
            return None if batch is None else {INPUT: batch.contiguous().numpy()}

    library.quantize_static(
        source,
        target,
        Reader(),
        quant_format=library.QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=unsigned,
        weight_type=library.QuantType.QInt8,
        nodes_to_exclude=around,
        # Logits on 256 levels would tie scores.
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
    )


def measure_int8(mode: Mode, before: Export, after: Export, card: ModelCard, images: ImageSet) -> QuantizationResult:
    """Measure the fp32 and the int8 file on the labeled ones of some images, which may be of another size."""
    labeled = (images.labels != UNLABELED).nonzero().flatten()
    score = DEFAULT_SCORE if card.decision is None else card.decision.score

    def quality(export: Export) -> AnswerQuality:
        def run(batch: Tensor) -> ExportOutput:
            return export.run(resized(batch, card.image_size))

        return answer_quality(run, images.images[labeled], images.labels[labeled], score)

    return QuantizationResult(mode, quality(before), quality(after))


def answer_quality(
    run: Run, images: UInt8[Tensor, "n channels height width"], labels: Int[Tensor, " n"], score: str
) -> AnswerQuality:
    """Measure the answers of a file with this score on labeled images."""
    output = run_in_batches(run, images, 64)
    wrong, answered = output.label != labels, output.answered
    return AnswerQuality(
        images=len(images),
        accuracy=float((~wrong).double().mean()),
        selective=selective_metrics(output.score, wrong, score),
        coverage=float(answered.double().mean()),
        risk=float(wrong[answered].double().mean()) if answered.any() else None,
    )
