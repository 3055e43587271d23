"""The profiler: which steps it records, what it writes, and that training goes on as without it."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from preceptor.errors import MachineError
from preceptor.training import Callback, TrainingConfig
from preceptor.training.profiler import RECORDED, SKIPPED, TABLE_FILE, TRACE_FILE, Profiler
from tests.training_helpers import make_student, same_bits, train, weights

PARTS = {"batch", "teacher", "student", "loss", "backward", "optimizer"}


class Recording(Callback):
    """Notes after every step whether a profiler records, and interrupts one of them."""

    def __init__(self, interrupt: int | None = None) -> None:
        self.interrupt, self.steps = interrupt, []

    def on_step_end(self, trainer, step) -> None:
        self.steps.append(torch.autograd._profiler_enabled())
        if len(self.steps) == self.interrupt:
            raise KeyboardInterrupt


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def calls(folder: Path) -> Counter[str]:
    """How often each name occurs in a trace."""
    trace = json.loads(gzip.decompress((folder / TRACE_FILE).read_bytes()))
    return Counter(event["name"] for event in trace["traceEvents"] if event.get("cat") in ("user_annotation", "cpu_op"))


def test_the_parts_of_every_recorded_step_are_named(tmp_path):
    profiled, recording = [make_student("kd"), make_student("none")], Recording()
    train(
        profiled, images=40, training=TrainingConfig(epochs=4, batch_size=16), callbacks=[recording, Profiler(tmp_path)]
    )
    assert recording.steps[:4] == [False] * 4  # a third of 12 steps is skipped
    assert all(recording.steps[4:])
    assert not torch.autograd._profiler_enabled()
    assert files(tmp_path) == {TRACE_FILE, TABLE_FILE}
    traced, table = calls(tmp_path), (tmp_path / TABLE_FILE).read_text(encoding="utf-8")
    assert {name: traced[name] for name in PARTS} == {
        **dict.fromkeys(("batch", "teacher"), 8),
        **dict.fromkeys(("student", "loss", "backward", "optimizer"), 16),
    }
    assert traced["aten::convolution"] > 0
    assert all(name in table for name in PARTS)


def test_a_long_training_is_recorded_for_some_steps_only(tmp_path):
    recording = Recording()
    training = TrainingConfig(epochs=1, batch_size=2)
    train([make_student("none")], images=80, training=training, callbacks=[recording, Profiler(tmp_path)])
    assert recording.steps == [False] * SKIPPED + [True] * RECORDED + [False] * (40 - SKIPPED - RECORDED)
    assert calls(tmp_path)["student"] == RECORDED


def test_a_profiled_student_ends_in_the_same_bits(tmp_path):
    profiled, alone = make_student("kd"), make_student("kd")
    train([profiled], callbacks=[Profiler(tmp_path)])
    train([alone])
    assert same_bits(weights(profiled.network), weights(alone.network))


def test_a_training_of_one_step_says_that_nothing_was_recorded(tmp_path):
    training = TrainingConfig(epochs=1, batch_size=16)
    train([make_student("none")], images=10, training=training, callbacks=[Profiler(tmp_path)])
    assert files(tmp_path) == {TABLE_FILE}
    assert (tmp_path / TABLE_FILE).read_text(encoding="utf-8") == "no step was recorded: training ended too early\n"


@pytest.mark.parametrize(("interrupt", "recorded"), [(1, 0), (2, 0), (4, 0), (6, 1), (9, 4)])
def test_an_interrupted_training_leaves_what_was_recorded(tmp_path, interrupt, recorded):
    callbacks = [Recording(interrupt), Profiler(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        train([make_student("none")], images=40, training=TrainingConfig(epochs=4, batch_size=16), callbacks=callbacks)
    assert not torch.autograd._profiler_enabled()
    assert TABLE_FILE in files(tmp_path)
    if recorded:
        assert calls(tmp_path)["student"] >= recorded


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot be written"):
        train([make_student("none")], callbacks=[Profiler(tmp_path / "file" / "folder")])
    assert not torch.autograd._profiler_enabled()
