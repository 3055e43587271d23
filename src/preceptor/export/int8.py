"""A student's ONNX file in int8, and what that does to its answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from jaxtyping import Int, UInt8
from torch import Tensor

from preceptor.errors import MachineError, first_line, unknown_name
from preceptor.export.make import Export
from preceptor.export.onnx_file import INPUT, NETWORK, describe, open_session, run_session
from preceptor.export.packages import silence
from preceptor.export.verify import Run, replies
from preceptor.metrics import SelectiveMetrics, selective_metrics
from preceptor.models import ModelCard
from preceptor.teachers.onnx_runtime import package

Mode = Literal["dynamic", "static"]
"""Ranges of activations taken anew from each batch, or once from training images."""

MODES: tuple[Mode, ...] = get_args(Mode)
INT8_FILE = "student.int8.onnx"
CALIBRATION_IMAGES = 256
_AT_A_TIME = 32
_MEASURED_AT_A_TIME = 64


@dataclass(frozen=True)
class Standing:
    """How good a file's answers are on labeled images.

    Attributes:
        images: how many.
        accuracy: share of right labels, declined or not.
        selective: risk against coverage, by the file's own score.
        coverage: share that it answers.
        risk: share of errors among these; None where it answers none.
    """

    images: int
    accuracy: float
    selective: SelectiveMetrics
    coverage: float
    risk: float | None


def quantized(whole: Export, mode: Mode, card: ModelCard, images: UInt8[Tensor, "n channels height width"]) -> Export:
    """An ONNX export with its network's weights, and what flows between, in int8; what is around it stays fp32.

    Weights are held per channel in the static mode, in seven bits, so that sums of products fit the registers of
    every processor and the file says the same on each.

    Args:
        whole: of format "onnx".
        mode: "dynamic" or "static".
        card: of the student.
        images: of the training set; what "static" takes the ranges from.

    Raises:
        InputError: an unknown mode.
        MachineError: ONNX Runtime cannot quantize it, or cannot run what came of it.
    """
    if mode not in MODES:
        raise unknown_name("int8 mode", mode, MODES)
    onnx = package("onnx")
    with TemporaryDirectory(prefix="preceptor-int8-") as folder:
        source, target = Path(folder) / whole.name, Path(folder) / INT8_FILE
        source.write_bytes(whole.contents[whole.name])
        around = [node.name for node in onnx.load(source).graph.node if not node.name.startswith(NETWORK)]
        try:
            with silence():
                _quantize(source, target, mode, around, images)
        except MemoryError:
            raise
        except Exception as error:  # the quantizer's errors have no base of their own
            raise MachineError(
                f"int8: onnxruntime cannot quantize {card.architecture!r} ({first_line(error)}): try the other mode"
            ) from error
        model = onnx.load(target)
        describe(model, without_promise(card, mode))
        target.write_bytes(model.SerializeToString())
        run = partial(run_session, open_session(target))
        return Export("int8", {INT8_FILE: target.read_bytes()}, run, None)


def without_promise(card: ModelCard, mode: Mode) -> ModelCard:
    """The card of the int8 student: what was guaranteed of the fp32 student is guaranteed no more, and it says so."""
    note = f"quantized to int8 ({mode})"
    if card.decision is not None:
        note += (
            f"; it declines by {card.decision.score} where the fp32 student would, at a threshold calibrated for that "
            "one: the risk guaranteed there is not guaranteed here"
        )
    return card.model_copy(update={"decision": None, "sets": None, "notes": {**card.notes, "int8": note}})


def standing(
    run: Run, images: UInt8[Tensor, "n channels height width"], labels: Int[Tensor, " n"], score: str
) -> Standing:
    """Measure a file's answers.

    Args:
        run: it.
        images: to show it.
        labels: all known.
        score: what the file's score is called.
    """
    found = replies(run, images, _MEASURED_AT_A_TIME)
    wrong = found.label != labels
    answered = found.answered
    return Standing(
        images=len(images),
        accuracy=float((~wrong).double().mean()),
        selective=selective_metrics(found.score, wrong, score),
        coverage=float(answered.double().mean()),
        risk=float(wrong[answered].double().mean()) if answered.any() else None,
    )


def _quantize(source: Path, target: Path, mode: Mode, around: list[str], images: Tensor) -> None:
    library = package("onnxruntime.quantization")
    unsigned = library.QuantType.QUInt8
    if mode == "dynamic":
        library.quantize_dynamic(source, target, weight_type=unsigned, nodes_to_exclude=around)
        return
    library.quantize_static(
        source,
        target,
        _reader(library, images),
        quant_format=library.QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=unsigned,
        weight_type=library.QuantType.QInt8,
        nodes_to_exclude=around,
        extra_options={
            "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]
        },  # 256 levels of logits would tie scores
    )


def _reader(library: Any, images: Tensor) -> Any:
    """Images in ONNX Runtime's own form; its base class is known only once it is imported."""
    batches: Iterator[Tensor] = iter(images[:CALIBRATION_IMAGES].split(_AT_A_TIME))

    class Reader(library.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            batch = next(batches, None)
            return None if batch is None else {INPUT: batch.contiguous().numpy()}

    return Reader()
