"""A failure in a folder: the same again when read, and refused when it is not what was written."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch

from preceptor.errors import InputError, MachineError
from preceptor.training import NotFinite
from preceptor.training.failure import FailureReport, load_failure, save_failure
from tests.training.spoilt import NanTeacher
from tests.training.test_guard import IMAGES, TRAINING, met_at
from tests.training_helpers import same_bits, make_student, train


@pytest.fixture(scope="module")
def failure() -> FailureReport:
    told: list[FailureReport] = []
    with pytest.raises(NotFinite):
        train(
            [make_student("kd")],
            images=IMAGES,
            training=TRAINING,
            teacher=NanTeacher(met_at(4)),
            on_failure=told.append,
        )
    return told[0]


@pytest.fixture
def folder(failure, tmp_path) -> Path:
    save_failure(tmp_path / "failure", failure)
    return tmp_path / "failure"


def test_it_comes_back_as_it_was(failure, folder):
    found = load_failure(folder)
    assert (found.context, found.fault, found.line()) == (failure.context, failure.fault, failure.line())
    assert same_bits(found.state["student"], failure.state["student"])
    assert torch.equal(found.signal.isnan(), failure.signal.isnan())
    for name in ("images", "label", "index", "position", "view"):
        assert torch.equal(getattr(found.batch, name), getattr(failure.batch, name))


def test_the_step_is_the_same_again(failure, folder):
    step = load_failure(folder).again(torch.device("cpu"))
    assert (step.epoch, step.number, step.draws) == (0, 4, 4)
    assert torch.equal(step.images, failure.context.normalization(failure.batch.images))


def test_a_newer_one_takes_its_place(failure, folder):
    save_failure(folder, failure)
    assert len(list(folder.iterdir())) == 3
    assert load_failure(folder).fault == failure.fault


def test_there_is_none(tmp_path):
    with pytest.raises(InputError, match=r"no failure.json: no step of this run went wrong"):
        load_failure(tmp_path)


@pytest.mark.parametrize("name", ["state.pt", "batch.safetensors"])
def test_a_damaged_file_is_named(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:-3] + b"xyz")
    with pytest.raises(InputError, match=rf"{name}: damaged: its content does not match its checksum"):
        load_failure(folder)


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"sha256": 3, "fault": 4}', b"[" * 5000, b"\xff\xfe"])
def test_what_is_no_failure_is_refused(folder, content):
    (folder / "failure.json").write_bytes(content)
    with pytest.raises(InputError, match=r"not valid JSON|not what a run writes of a step that went wrong, or damaged"):
        load_failure(folder)


@pytest.mark.parametrize("key", ["epoch", "precision", "fault", "outputs"])
def test_a_value_of_another_kind_is_refused(folder, key):
    record = json.loads((folder / "failure.json").read_text())
    (folder / "failure.json").write_text(json.dumps({**record, key: "much"}))
    with pytest.raises(InputError, match="not what a run writes"):
        load_failure(folder)


def test_nothing_is_unpickled(folder, tmp_path):
    content = pickle.dumps(Evil(tmp_path / "made"), training=2)
    (folder / "state.pt").write_bytes(content)
    record = json.loads((folder / "failure.json").read_text())
    record["sha256"]["state.pt"] = hashlib.sha256(content).hexdigest()
    (folder / "failure.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="not what a run writes"):
        load_failure(folder)
    assert not (tmp_path / "made").exists()


def test_a_place_that_cannot_be_written(failure, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot be written"):
        save_failure(tmp_path / "file", failure)
