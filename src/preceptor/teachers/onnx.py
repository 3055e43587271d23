"""An ONNX file as teacher, through ONNX Runtime (extra ``onnx``), imported when it is needed."""

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped, UInt8
from numpy import ndarray
from torch import Tensor

from preceptor.data import Normalization
from preceptor.errors import InputError, first_line
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.onnx_runtime import cpu_session, package
from preceptor.teachers.rows import OutputKind, as_logits, check_output_kind, check_rows

_TYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
}
_TRIED = 2
"""Images in a trial: a graph that takes a single image, against its own signature, would pass with one."""


class OnnxTeacher:
    """A classifier in an ONNX file, run on the CPU with as many threads as torch has when it is opened.

    The graph has one input, images [batch, channels, height, width] in floating point or uint8, and an output
    [batch, classes]. A graph with a fixed batch gets that many at a time, black images making up the last batch.

    Args:
        path: of the file; weights kept beside it are found.
        output_kind: whether its output is "logits" or "probabilities"; never guessed.
        image_shape: channels, height and width of the images it will be shown.
        normalize: what its images go through first. A graph that takes uint8 gets pixels of 0 to 255 as they are,
            and must have none.
        default_normalize: what they go through where ``normalize`` is None and the graph takes floating point.
        output: name of the output to use; None takes the only one, or of several that called as ``output_kind``.

    Attributes:
        classes: number of classes, from a trial on black images.
        normalize: what its images go through; None for pixels as they are.

    Raises:
        InputError: the file is missing or no ONNX model, or its input, output or normalization is none of these.
        MachineError: onnxruntime is not installed, or cannot be imported.
    """

    def __init__(
        self,
        path: Path,
        *,
        output_kind: OutputKind,
        image_shape: tuple[int, int, int],
        normalize: Normalization | None = None,
        default_normalize: Normalization | None = None,
        output: str | None = None,
    ) -> None:
        check_output_kind(output_kind)
        self.path, self.output_kind = path, output_kind
        self._session = _open(path)
        self._input = _image_input(path, self._session.get_inputs(), image_shape)
        self._output = _class_output(path, self._session.get_outputs(), output, output_kind)
        takes_pixels = self._input.type == "tensor(uint8)"
        self.normalize = normalize if normalize is not None or takes_pixels else default_normalize
        if takes_pixels and self.normalize is not None:
            raise InputError(f"{path}: takes uint8 pixels and normalizes them itself: give it no normalization")
        if not takes_pixels and self.normalize is None:
            raise InputError(f"{path}: takes {self._input.type}: give the mean and deviation that it was trained with")
        self._batch: int | None = self._input.shape[0] if isinstance(self._input.shape[0], int) else None
        rows = self._rows(torch.zeros(_TRIED, *image_shape, dtype=torch.uint8))
        check_rows(rows, output_kind, lambda _: f"{path}: a black image")
        self.classes: int = rows.shape[1]

    @torch.no_grad()
    def outputs(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> TeacherOutput:
        """Logits in float32 on the images' device; see ``Teacher``.

        Raises:
            InputError: ONNX Runtime cannot run it on these images, or its outputs are not finite, or not probabilities
                where they should be.
        """
        rows = self._rows(images)
        check_rows(rows, self.output_kind, lambda row: f"{self.path}: training image {int(index[row])}")
        return TeacherOutput(as_logits(rows, self.output_kind).to(images.device))

    def _rows(self, images: UInt8[Tensor, "batch channels height width"]) -> Shaped[ndarray, "batch outputs"]:
        pixels = (images if self.normalize is None else self.normalize(images)).cpu()
        array = pixels.contiguous().numpy().astype(_TYPES[self._input.type], copy=False)
        if self._batch is None:
            return self._run(array)
        parts = []
        for start in range(0, len(array), self._batch):
            part = array[start : start + self._batch]
            padded = np.zeros((self._batch, *array.shape[1:]), array.dtype)
            padded[: len(part)] = part
            parts.append(self._run(padded)[: len(part)])
        return np.concatenate(parts)

    def _run(self, pixels: Shaped[ndarray, "batch channels height width"]) -> Shaped[ndarray, "batch outputs"]:
        try:
            (rows,) = self._session.run([self._output], {self._input.name: pixels})
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise InputError(
                f"{self.path}: cannot take {len(pixels)} images of {_size(pixels.shape[1:])} ({first_line(error)}): "
                "export it with a dynamic batch, for images of this size"
            ) from error
        if not isinstance(rows, ndarray) or rows.ndim != 2 or len(rows) != len(pixels):
            returned = f"an array of shape {list(rows.shape)}" if isinstance(rows, ndarray) else type(rows).__name__
            raise InputError(
                f"{self.path}: output {self._output!r} is {returned} for {len(pixels)} images: "
                "expected [batch, classes]"
            )
        return rows


def _open(path: Path) -> Any:
    package("onnxruntime")
    if not path.is_file():
        raise InputError(f"{path}: no such file: give an ONNX model")
    weights_beside(path)
    try:
        session = cpu_session(path, torch.get_num_threads())
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise InputError(f"{path}: ONNX Runtime cannot open it: {first_line(error)}") from error
    try:
        for one in (*session.get_inputs(), *session.get_outputs()):
            str((one.name, one.type, one.shape))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: a name in it is not UTF-8: damaged, or no ONNX model: export it again") from error
    return session


_EXTERNAL = re.compile(rb"\n\x08location\x12([\x80-\xff]?[\x00-\x7f])")
"""How a field "location" of ONNX's ``TensorProto.external_data`` begins: the length of the name that follows is written
seven bits to a byte, the lowest first."""


def weights_beside(path: Path) -> list[Path]:
    """The files in which an ONNX file keeps weights that it does not hold itself.

    Only the package onnx reads their names, and it takes more room than all else that an ONNX teacher needs.

    Raises:
        InputError: one of them would lie elsewhere than in the folder of the model or below it.
    """
    content = path.read_bytes()
    names = set()
    for match in _EXTERNAL.finditer(content):
        length = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(match[1]))
        names.add(content[match.end() : match.end() + length].decode(errors="replace").split("\0")[0])
    for name in sorted(names):
        # It must not lead out of the folder on any system.
        if any(one.anchor or ".." in one.parts for one in (PurePosixPath(name), PureWindowsPath(name))):
            raise InputError(
                f"{path}: wants weights from {name!r}, outside its own folder: not opened; export it again"
            )
    return [path.parent / name for name in sorted(names) if (path.parent / name).is_file()]


def _image_input(path: Path, inputs: list[Any], image_shape: tuple[int, int, int]) -> Any:
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs) or "none"
        raise InputError(f"{path}: {len(inputs)} inputs ({names}): expected one, the images")
    image = inputs[0]
    if image.type not in _TYPES or len(image.shape) != 4:
        raise InputError(
            f"{path}: input {image.name!r} is {image.type} of shape {image.shape}: "
            f"expected [batch, channels, height, width] as one of {', '.join(_TYPES)}"
        )
    sides = zip(image.shape[1:], image_shape, strict=True)
    if any(isinstance(wanted, int) and wanted != side for wanted, side in sides):
        raise InputError(
            f"{path}: input {image.name!r} takes images of {_size(image.shape[1:])}, these are {_size(image_shape)} "
            "(channels x height x width): export it for images of this shape"
        )
    return image


def _class_output(path: Path, outputs: list[Any], name: str | None, output_kind: OutputKind) -> str:
    names = [one.name for one in outputs]
    if name is None and output_kind in names:
        name = output_kind
    if not names:
        raise InputError(f"{path}: no output: expected one, [batch, classes]")
    if name is None and len(names) > 1:
        listed = ", ".join(names)
        raise InputError(f"{path}: {len(names)} outputs ({listed}): name that of the classes: --teacher-output-name")
    if name is not None and name not in names:
        raise InputError(f"{path}: no output {name!r}: known are {', '.join(names)}")
    chosen = outputs[names.index(name) if name else 0]
    if chosen.type not in _TYPES or chosen.type == "tensor(uint8)":
        raise InputError(
            f"{path}: output {chosen.name!r} is {chosen.type}: expected [batch, classes] in floating point"
        )
    return str(chosen.name)


def _size(shape: Any) -> str:
    return " x ".join("any" if not isinstance(side, int) else str(side) for side in shape)
