"""Names from files are shown as text: never as markup, a path or a control sequence of a terminal."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from preceptor.errors import InputError, MachineError
from preceptor.teachers.cache import Layout
from preceptor.teachers.cache.metadata import CHECKSUM_BYTES
from preceptor.teachers.cache.store import EntryStore, create_files
from preceptor.teachers.onnx import weights_beside
from tests.bad_input.workbench import Workbench
from tests.cli.conftest import Command


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret", "a/../../secret", "C:\\secret", "\\\\host\\share", "..\\x"]
)
def test_an_onnx_file_reads_nothing_outside_its_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\n\x08location\x12" + bytes([len(name)]) + name.encode())
    with pytest.raises(InputError, match="outside its own folder"):
        weights_beside(path)


@pytest.mark.parametrize("name", ["model.onnx_data", "parts/weights.bin"])
def test_an_onnx_file_reads_what_lies_beside_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / name).touch()
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\n\x08location\x12" + bytes([len(name)]) + name.encode())
    assert weights_beside(path) == [tmp_path / name]


@pytest.mark.parametrize("name", ["../../escape", "/tmp/escape", "timm:../../escape", "timm:hf_hub:someone/something"])
def test_a_card_names_an_architecture_not_a_place(tmp_path: Path, teacher: Path, name: str, preceptor: Command) -> None:
    bench = Workbench(tmp_path, teacher)
    outcome = preceptor("evaluate", bench.changed_card(architecture=name))
    assert outcome.code in (2, 3)
    assert outcome.err.count("\n") == 1


def test_an_error_steers_no_terminal(tmp_path: Path, preceptor: Command) -> None:
    outcome = preceptor("evaluate", tmp_path / "\x1b[2Jgone\x07")
    assert "\\x1b[2Jgone\\x07" in outcome.err
    assert outcome.err[:-1].isprintable()


def test_a_card_with_names_that_steer_a_terminal_is_refused(tmp_path: Path, teacher: Path, preceptor: Command) -> None:
    bench = Workbench(tmp_path, teacher)
    outcome = preceptor("evaluate", bench.changed_card(class_names=["\x1b[2J", *"123456789"]))
    assert outcome.code == 2
    assert "student.json: class_names" in outcome.err


ESCAPE = "\x1b[2J"


def test_a_score_file_steers_no_terminal(tmp_path: Path, preceptor: Command) -> None:
    origin = {"component": ESCAPE, "options": {ESCAPE: ESCAPE}, "data": ESCAPE, "data_fingerprint": "", "size": 3}
    origin |= {"teacher_fingerprint": "", "held_out": 0, "checkpoints": 1, "seed": 0, "preceptor": "0"}
    tensors = {"index": torch.arange(3), "score": torch.zeros(3), "selected": torch.ones(3, dtype=torch.bool)}
    (tmp_path / "scores.safetensors").write_bytes(save(tensors, {"preceptor-scores": json.dumps(origin)}))
    outcome = preceptor("select", "--show", tmp_path / "scores.safetensors")
    assert outcome.code == 0
    assert "\\x1b[2J" in outcome.out
    assert "\x1b" not in outcome.out


def test_a_cache_steers_no_terminal(tmp_path: Path, preceptor: Command) -> None:
    key = {"data": ESCAPE, "views": {ESCAPE: 1}, "class_names": [ESCAPE, "b"], "teacher": ESCAPE, "normalization": {}}
    layout = Layout(samples=3, views=1, classes=2)
    metadata = {"format": 2, "preceptor": "0", "layout": layout.model_dump(), "key": key}
    (tmp_path / "cache.json").write_text(json.dumps(metadata))
    create_files(tmp_path, layout)
    outcome = preceptor("cache", tmp_path, "--info")
    assert outcome.code == 0
    assert "\\x1b[2J" in outcome.out
    assert "\x1b" not in outcome.out


@pytest.mark.parametrize("name", ["entries.bin", "checksums.bin", ".lock"])
def test_a_cache_writes_through_no_link(tmp_path: Path, name: str) -> None:
    """Of whatever size the file is that it leads to."""
    layout = Layout(samples=3, views=1, classes=2)
    size = CHECKSUM_BYTES if name == "checksums.bin" else layout.record.itemsize
    mine, folder = tmp_path / "mine", tmp_path / "cache"
    before = b"\0" * layout.entries * size
    mine.write_bytes(before)
    folder.mkdir()
    create_files(folder, layout)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(mine)

    def store() -> None:
        EntryStore(folder, layout, b"seed").add(np.arange(3), np.ones(3, layout.record))

    with pytest.raises((InputError, MachineError)):
        store()
    assert mine.read_bytes() == before
