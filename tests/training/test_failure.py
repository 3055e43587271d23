"""The report of a failed step in a folder: the same when read, and refused when it is not what was written."""

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from preceptor.context import MixedLabels
from preceptor.errors import InputError, MachineError
from preceptor.teachers.base import TeacherOutput
from preceptor.training import FailureReport
from preceptor.training.failure import load_failure, save_failure
from preceptor.training.step import rng_seed
from tests.training.spoilt import NanTeacher
from tests.training.test_guard import failure_of, sample_of
from tests.training_helpers import digits, make_student, same_bits

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def report() -> FailureReport:
    return failure_of([make_student("kd")], teacher=NanTeacher(sample_of(4)))[1]


@pytest.fixture
def folder(report, tmp_path) -> Path:
    save_failure(tmp_path / "failure", report)
    return tmp_path / "failure"


def test_it_comes_back_as_it_was(report, folder):
    loaded = load_failure(folder, CPU)
    assert (loaded.context, loaded.fault, loaded.line()) == (report.context, report.fault, report.line())
    assert loaded.context.normalization == digits().normalization
    assert same_bits(loaded.state["network"], report.state["network"])
    assert torch.equal(loaded.step.teacher.logits.isnan(), report.step.teacher.logits.isnan())
    for name in ("inputs", "label", "index", "own_index", "view"):
        assert torch.equal(getattr(loaded.step.batch, name), getattr(report.step.batch, name))


def test_inputs_by_name_features_and_no_teacher_come_back_too(report, folder):
    inputs = {"ids": torch.arange(6).reshape(2, 3), "mask": torch.ones(2, 3, dtype=torch.bool)}
    teacher = TeacherOutput(torch.rand(2, 4), {"layers.0": torch.rand(2, 5, 1, 1)})
    save_failure(
        folder,
        replace(report, step=replace(report.step, batch=replace(report.step.batch, inputs=inputs), teacher=teacher)),
    )
    loaded = load_failure(folder, CPU)
    assert same_bits(loaded.step.batch.inputs, inputs)
    assert same_bits(loaded.step.teacher.features, teacher.features)
    save_failure(folder, replace(report, step=replace(report.step, teacher=None)))
    assert load_failure(folder, CPU).step.teacher is None


def test_mixed_labels_come_back_too(report, folder):
    assert load_failure(folder, CPU).step.batch.mixed is None
    size = len(report.step.batch.label)
    mixed = MixedLabels(torch.arange(size) % 10, torch.linspace(0, 1, size))
    save_failure(folder, replace(report, step=replace(report.step, batch=replace(report.step.batch, mixed=mixed))))
    loaded = load_failure(folder, CPU).step.batch.mixed
    assert torch.equal(loaded.partner, mixed.partner)
    assert torch.equal(loaded.share, mixed.share)


def test_the_step_is_the_same_again(report, folder):
    step = load_failure(folder, CPU).step
    assert (step.epoch, step.number, step.steps, step.progress) == (0, 4, 10, 4 / 30)
    assert step.rng_seed == rng_seed(0, 0, 4)
    assert torch.equal(step.batch.inputs, report.step.batch.inputs)
    assert torch.equal(step.batch.label, report.step.batch.label)
    assert torch.equal(step.teacher.logits.nan_to_num(), report.step.teacher.logits.nan_to_num())


def test_a_newer_report_takes_its_place(report, folder):
    save_failure(folder, replace(report, context=replace(report.context, step=7)))
    assert len(list(folder.iterdir())) == 2
    assert load_failure(folder, CPU).context.step == 7


def test_a_folder_without_a_report(tmp_path):
    with pytest.raises(InputError, match=r"no failure.json: no step of this run failed"):
        load_failure(tmp_path, CPU)


def test_a_damaged_file_is_named(folder):
    (folder / "state.pt").write_bytes((folder / "state.pt").read_bytes()[:-3] + b"xyz")
    with pytest.raises(InputError, match=r"state.pt: damaged: its content does not match its checksum"):
        load_failure(folder, CPU)


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"sha256": 3, "fault": 4}', b"[" * 5000, b"\xff\xfe"])
def test_what_is_no_report_is_refused(folder, content):
    (folder / "failure.json").write_bytes(content)
    with pytest.raises(InputError, match=r"not valid JSON|damaged"):
        load_failure(folder, CPU)


@pytest.mark.parametrize("key", ["epoch", "precision", "fault", "outputs"])
def test_a_value_of_another_kind_is_refused(folder, key):
    record = json.loads((folder / "failure.json").read_text())
    (folder / "failure.json").write_text(json.dumps({**record, key: "much"}))
    with pytest.raises(InputError, match="not the report of a failed step"):
        load_failure(folder, CPU)


def test_nothing_is_unpickled(folder, tmp_path):
    content = pickle.dumps(Evil(tmp_path / "made"), protocol=2)
    (folder / "state.pt").write_bytes(content)
    record = json.loads((folder / "failure.json").read_text())
    record["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "failure.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="not the report of a failed step"):
        load_failure(folder, CPU)
    assert not (tmp_path / "made").exists()


def test_a_folder_that_cannot_be_written(report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot be written"):
        save_failure(tmp_path / "file", report)
