"""What a teacher says: caches, files of logits, and ONNX models."""

import io
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from preceptor.errors import PreceptorError
from preceptor.teachers.base import TeacherOutput
from tests.fuzz.of_data import npy
from tests.fuzz.registry import target

_BANK = {
    "format": 1,
    "preceptor": "0.1.0",
    "layout": {"samples": 4, "views": 2, "classes": 3},
    "fingerprint": {
        "data": "x",
        "views": {"rule": "CropFlip", "padding": 0},
        "class_names": ["a", "b", "c"],
        "teacher": "y",
        "normalization": {"mean": [0.5], "std": [0.25]},
    },
}


def _banks() -> list[bytes]:
    cells = bytes(4 * 8) + bytes(12 * 8)
    return [json.dumps(_BANK).encode() + b"\0" + cells, json.dumps(_BANK).encode() + b"\0" + b"\x01" * len(cells)]


@target(_banks)
def cache(folder: Path, content: bytes) -> None:
    """The card, and, behind a zero byte, the first file of records."""
    from preceptor.teachers.cache import info, open_readonly, verify

    words, _, cells = content.partition(b"\0")
    (folder / "cache.json").write_bytes(words)
    if cells:
        (folder / "shard-00000.bin").write_bytes(cells)
    found = open_readonly(folder)
    info(found)
    if found.layout.cells <= 10_000:
        verify(found, repair=True)
        known = torch.arange(min(2, found.layout.samples))
        if found.store.known((known * found.layout.views).numpy()).all():
            found.recall(known, torch.zeros_like(known))
    found.close()


@target(lambda: [npy(np.ones((4, 3), np.float32)), npy(np.full((4, 3), 1 / 3)), npy(np.array([[{}] * 3] * 4))])
def logits_npy(folder: Path, content: bytes) -> None:
    _teach_from(folder / "said.npy", content)


@target(lambda: [_parquet(index=np.arange(4)), _parquet(), _parquet(a=["x", "y", "z", "w"])])
def logits_parquet(folder: Path, content: bytes) -> None:
    _teach_from(folder / "said.parquet", content)


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
    for says in ("probabilities", "logits"):
        with suppress(PreceptorError):
            teacher = FileTeacher(path, says=says, images=4, class_names="abc")
            index = torch.arange(4)
            said = teacher.outputs(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), index, index).logits
            assert said.isfinite().all()


def _journals() -> list[bytes]:
    from tempfile import TemporaryDirectory

    from preceptor.teachers.cache import Layout
    from preceptor.teachers.cache.journal import Journal

    layout = Layout(**_BANK["layout"])  # type: ignore[arg-type]
    with TemporaryDirectory() as name:
        made = Journal(Path(name), layout.cells, layout.record)
        made.note(np.arange(0, 6, 2), np.zeros(3, layout.record))
        return [made.path.read_bytes(), bytes(16)]


class Silent:
    """A teacher that is asked nothing."""

    classes = 3

    def outputs(self, images: torch.Tensor, index: torch.Tensor, view: torch.Tensor) -> TeacherOutput:
        return TeacherOutput(torch.zeros(len(images), 3))


@target(_journals)
def bank_journal(folder: Path, content: bytes) -> None:
    """What a killed writer left, its checksum made right."""
    import zlib

    from preceptor.teachers.cache import LogitCache, verify
    from preceptor.teachers.cache.journal import JOURNAL_FILE
    from preceptor.teachers.cache.metadata import read_card

    (folder / "cache.json").write_text(json.dumps(_BANK))
    right = zlib.crc32(content[16:]).to_bytes(8, "little")
    (folder / JOURNAL_FILE).write_bytes(content[:8] + right + content[16:])
    with LogitCache(folder, read_card(folder), Silent()) as cache:
        verify(cache)


def _models() -> list[bytes]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["said"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 2, 2])],
        [helper.make_tensor_value_info("said", TensorProto.FLOAT, None)],
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
        folder / "teacher.onnx", says="logits", image_shape=(1, 2, 2), otherwise=Normalization((0.5,), (0.5,))
    )
    index = torch.arange(3)
    said = teacher.outputs(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), index, index).logits
    assert said.isfinite().all()
