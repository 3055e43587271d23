"""Checkpoints on disk: whole or not there, of the newest state, and written when training is told to stop."""

import errno
import hashlib
import os
import pickle
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preceptor import files
from preceptor.errors import InputError, Interrupted, MachineError
from preceptor.training import checkpoint
from preceptor.training.callbacks import TrainState
from preceptor.training.checkpoint import CheckpointCallback, load, load_newest, save, stopping_on_signals
from tests.training_helpers import make_student, same_bits, train, weights

CPU = torch.device("cpu")


def state(epoch: int = 1, step: int = 2) -> TrainState:
    return TrainState(epoch, step, {"student": {"weights": torch.arange(3.0) + step, "rate": 0.1}})


def test_a_state_comes_back(tmp_path):
    save(tmp_path, state())
    newest = load_newest({"student": tmp_path}, CPU)
    assert (newest.state.epoch, newest.state.step, newest.damaged) == (1, 2, ())
    assert torch.equal(newest.state.students["student"]["weights"], state().students["student"]["weights"])


def test_the_newest_two_are_kept(tmp_path):
    for epoch, step in [(0, 7), (1, 2), (1, 10), (2, 0)]:
        save(tmp_path, state(epoch, step))
    kept = sorted(path.name.rpartition("-")[0] for path in tmp_path.iterdir())
    assert kept == ["epoch-000001-step-00000010", "epoch-000002-step-00000000"]
    assert load_newest({"student": tmp_path}, CPU).path.name.startswith(kept[-1])


@given(st.data())
def test_a_damaged_one_is_named_and_the_one_before_it_is_used(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("checkpoints")
    save(folder, state(1, 2))
    newest = save(folder, state(1, 3))
    content = bytearray(newest.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    newest.write_bytes(content)
    latest = load_newest({"student": folder}, CPU)
    assert (latest.state.epoch, latest.state.step) == (1, 2)
    assert latest.damaged == (newest.name,)
    with pytest.raises(InputError, match="damaged: its content does not match"):
        load(newest, CPU)


def test_an_empty_folder_holds_none(tmp_path):
    assert load_newest({"student": tmp_path}, CPU).state is None
    assert load_newest({"student": tmp_path / "absent"}, CPU).state is None


def test_a_full_disk_leaves_the_last_one_whole(tmp_path, monkeypatch):
    save(tmp_path, state(1, 2))

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_write_synced", full)
    with pytest.raises(MachineError, match="No space left on device"):
        save(tmp_path, state(1, 3))
    assert load_newest({"student": tmp_path}, CPU).state.step == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_one_is_written_when_it_is_due_and_not_before(tmp_path):
    train([make_student("none")], callbacks=[CheckpointCallback({"none": tmp_path / "seldom"})])
    assert not (tmp_path / "seldom").exists()
    train([make_student("none")], callbacks=[CheckpointCallback({"none": tmp_path / "always"}, seconds=0)])
    newest = load_newest({"none": tmp_path / "always"}, CPU).state
    assert (newest.epoch, newest.step) == (2, 0)


def test_a_stopped_run_goes_on_in_the_same_bits(tmp_path):
    whole, stopped, resumed = make_student("kd"), make_student("kd"), make_student("kd")
    train([whole])
    checkpoints = CheckpointCallback({"kd": tmp_path / "checkpoint"})
    checkpoints.stopping.set()
    with pytest.raises(Interrupted, match=r"stopped, with a checkpoint in .*: preceptor resume "):
        train([stopped], callbacks=[checkpoints])
    train([resumed], state=load_newest(checkpoints.folders, CPU).state)
    assert same_bits(weights(whole.network), weights(resumed.network))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_a_second_one_ends_it_at_once(tmp_path, number):
    checkpoints, before = CheckpointCallback({"student": tmp_path}), signal.getsignal(number)
    with stopping_on_signals(checkpoints):
        signal.raise_signal(number)
        assert checkpoints.stopping.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1"])
def test_a_dropped_connection_and_a_time_limit_stop_it_too(tmp_path, name):
    number, checkpoints = getattr(signal, name), CheckpointCallback({"student": tmp_path})
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with stopping_on_signals(checkpoints):
            for received in (number, number, signal.SIGTERM):  # as when a terminal closes or a system shuts down
                signal.raise_signal(received)
            assert checkpoints.stopping.is_set()
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signal")
def test_under_nohup_a_dropped_connection_stops_nothing(tmp_path):
    checkpoints, before = CheckpointCallback({"student": tmp_path}), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_on_signals(checkpoints):
            signal.raise_signal(signal.SIGHUP)
            assert not checkpoints.stopping.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", pickle.dumps({"epoch": 1}, 2), pickle.dumps(print, 2)],
    ids=["empty", "zip", "pickle", "of code"],
)
def test_what_is_no_checkpoint_is_not_opened_even_if_its_name_fits(tmp_path, content):
    path = tmp_path / f"epoch-000001-step-00000002-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"\.pt: no checkpoint of a run"):
        load(path, torch.device("cpu"))
    assert load_newest({"student": tmp_path}, torch.device("cpu")).damaged == (path.name,)


def test_one_that_holds_another_state_than_its_name_says_is_damaged(tmp_path):
    path = save(tmp_path, state(1, 2))
    path.rename(path.with_name(path.name.replace("epoch-000001", "epoch-000007")))
    assert load_newest({"student": tmp_path}, CPU).state is None


def test_a_pipe_is_no_checkpoint(tmp_path):
    """It would be waited for without end."""
    os.mkfifo(tmp_path / f"epoch-000001-step-00000002-{'0' * 16}.pt")
    assert load_newest({"student": tmp_path}, CPU) == checkpoint.LatestCheckpoint(None, None, ())


def test_where_there_is_no_memory_for_it_it_is_not_damaged(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    save(tmp_path, state())
    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        load_newest({"student": tmp_path}, CPU)


def test_of_several_students_the_newest_state_that_all_have_is_taken(tmp_path):
    """As after a kill between the writing of two students' checkpoints."""
    folders = {"a": tmp_path / "a", "b": tmp_path / "b"}
    for folder, steps in zip(folders.values(), [(2, 3), (2, 3, 4)], strict=True):
        for step in steps:
            save(folder, state(1, step))
    latest = load_newest(folders, CPU)
    assert latest.state.step == 3
    assert set(latest.state.students) == {"a", "b"}
    next(folders["a"].glob("*step-00000003*")).write_bytes(b"torn")
    assert load_newest(folders, CPU).state is None  # the other keeps steps 3 and 4


def test_each_student_has_a_checkpoint_of_its_own_from_which_it_goes_on_alone(tmp_path):
    whole, resumed = make_student("kd"), make_student("kd")
    train([whole])
    checkpoints = CheckpointCallback({"kd": tmp_path / "kd", "none": tmp_path / "none"})
    checkpoints.stopping.set()
    with pytest.raises(Interrupted):
        train([make_student("kd"), make_student("none")], callbacks=[checkpoints])
    train([resumed], state=load_newest({"kd": tmp_path / "kd"}, CPU).state)
    assert same_bits(weights(whole.network), weights(resumed.network))
