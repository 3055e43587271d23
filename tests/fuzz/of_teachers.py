"""Teachers: caches, files of logits, and ONNX models."""

import io
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from preceptor.errors import PreceptorError
from tests.fuzz.of_data import npy
from tests.fuzz.registry import target

_METADATA = {
    "format": 2,
    "preceptor": "0.1.0",
    "layout": {"samples": 4, "views": 2, "classes": 3},
    "key": {
        "data": "x",
        "views": {"rule": "CropFlip", "padding": 0},
        "class_names": ["a", "b", "c"],
        "teacher": "y",
        "normalization": {"mean": [0.5], "std": [0.25]},
    },
}
_ENTRIES, _CHECKSUMS = 8 * 12, 8 * 4


def _caches() -> list[bytes]:
    metadata = json.dumps(_METADATA).encode() + b"\0"
    size = _ENTRIES + _CHECKSUMS
    return [metadata + bytes(size), metadata + b"\x01" * size]


@target(_caches)
def cache(folder: Path, content: bytes) -> None:
    """The metadata and, behind a zero byte, the entries and their checksums."""
    from preceptor.teachers.cache import bytes_used, open_readonly, verify

    metadata, _, rest = content.partition(b"\0")
    (folder / "cache.json").write_bytes(metadata)
    (folder / "entries.bin").write_bytes(rest[:_ENTRIES])
    (folder / "checksums.bin").write_bytes(rest[_ENTRIES:])
    with open_readonly(folder) as opened:
        bytes_used(opened)
        verify(opened, repair=True)
        index = torch.arange(min(2, opened.layout.samples))
        opened.lookup(index, torch.zeros_like(index))


@target(lambda: [npy(np.ones((4, 3), np.float32)), npy(np.full((4, 3), 1 / 3)), npy(np.array([[{}] * 3] * 4))])
def logits_npy(folder: Path, content: bytes) -> None:
    _teach_from(folder / "logits.npy", content)


@target(lambda: [_parquet(index=np.arange(4)), _parquet(), _parquet(a=["x", "y", "z", "w"])])
def logits_parquet(folder: Path, content: bytes) -> None:
    _teach_from(folder / "logits.parquet", content)


def _parquet(**columns: object) -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    usual = {name: np.linspace(0, 1, 4) for name in "abc"}
    pyarrow.parquet.write_table(pyarrow.table(usual | columns), file)
    return file.getvalue()


def _teach_from(path: Path, content: bytes) -> None:
    from preceptor.teachers.file import FileTeacher

    path.write_bytes(content)
    for output_kind in ("probabilities", "logits"):
        with suppress(PreceptorError):
            teacher = FileTeacher(path, output_kind=output_kind, images=4, class_names="abc")
            index = torch.arange(4)
            logits = teacher.outputs(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), index, index).logits
            assert logits.isfinite().all()


def _models() -> list[bytes]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 2, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    beside: bytes = onnx.StringStringEntryProto(key="location", value="../../w").SerializeToString()
    sound: bytes = model.SerializeToString()
    return [sound, sound + beside]


@target(_models)
def onnx_model(folder: Path, content: bytes) -> None:
    from preceptor.data import Normalization
    from preceptor.teachers.onnx import OnnxTeacher

    (folder / "teacher.onnx").write_bytes(content)
    teacher = OnnxTeacher(
        folder / "teacher.onnx",
        output_kind="logits",
        image_shape=(1, 2, 2),
        default_normalize=Normalization((0.5,), (0.5,)),
    )
    index = torch.arange(3)
    logits = teacher.outputs(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), index, index).logits
    assert logits.isfinite().all()
