import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from preceptor.errors import InputError, Stopped
from preceptor.runs import resolve, resume, run
from preceptor.runs import single as single_module
from preceptor.runs.lock import held
from preceptor.training.checkpoint import CheckpointKeeper
from tests.classroom import SMALL_RUN


class StopsAfter(CheckpointKeeper):
    """Told to stop after so many steps."""

    steps = 3

    def after_step(self, moment) -> None:
        self.steps -= 1
        if self.steps == 0:
            self.stopping.set()
        super().after_step(moment)


@pytest.fixture
def stopped(tmp_path, monkeypatch, teacher) -> Path:
    """A run with a teacher that was stopped in its second epoch."""
    with monkeypatch.context() as patch:
        patch.setattr(single_module, "CheckpointKeeper", StopsAfter)
        with pytest.raises(Stopped, match=r"preceptor resume .*stopped"):
            run(resolve({**SMALL_RUN, "recipe": "kd", "teacher": str(teacher)}), tmp_path / "stopped")
    return tmp_path / "stopped"


def epochs(folder: Path) -> list[dict]:
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in entry.items() if key not in ("seconds", "images_per_second", "folder")}
        for entry in entries
    ]


def test_it_ends_as_if_it_had_never_stopped(stopped, tmp_path, teacher):
    assert len(epochs(stopped)) == 1
    result = resume(stopped)
    whole = run(resolve({**SMALL_RUN, "recipe": "kd", "teacher": str(teacher)}), tmp_path / "whole")
    assert (stopped / "student.safetensors").read_bytes() == (tmp_path / "whole/student.safetensors").read_bytes()
    assert epochs(stopped) == epochs(tmp_path / "whole")
    assert (result.test, result.validation) == (whole.test, whole.validation)
    assert {path.name for path in stopped.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}


def test_a_line_of_metrics_that_was_torn_is_made_again(stopped):
    with (stopped / "metrics.jsonl").open("a") as file:
        file.write('{"event": "epoch", "epo')
    resume(stopped)
    assert [entry["event"] for entry in epochs(stopped)] == ["epoch", "epoch", "end"]


def test_a_damaged_checkpoint_is_named(stopped):
    (newest,) = (stopped / "checkpoint").glob("*.pt")
    newest.write_bytes(newest.read_bytes()[:-7])
    (newest.parent / ".half.pt.1.part").write_bytes(b"half")
    with pytest.warns(UserWarning, match=rf"damaged, the one before is used: {newest.name}"):
        resume(stopped)  # from the beginning: there is none before it
    assert not (stopped / "checkpoint").exists()


def test_what_cannot_go_on(stopped, tmp_path):
    with pytest.raises(InputError, match=r"no run.yaml, so no run that could go on"):
        resume(tmp_path / "nowhere")
    with held(stopped), pytest.raises(InputError, match=rf"process {os.getpid()} on .* is running here"):
        resume(stopped)
    resume(stopped)
    with pytest.raises(InputError, match="the run is complete: there is nothing to go on with"):
        resume(stopped)


def test_other_labels_or_another_teacher_are_noticed(tmp_path, monkeypatch, teacher):
    labels = np.arange(1348) % 10
    np.save(tmp_path / "labels.npy", labels)
    shutil.copytree(teacher, tmp_path / "teacher")
    settings = {**SMALL_RUN, "recipe": "kd", "teacher": str(tmp_path / "teacher")}
    with monkeypatch.context() as patch:
        patch.setattr(single_module, "CheckpointKeeper", StopsAfter)
        with pytest.raises(Stopped):
            run(resolve({**settings, "train_labels": str(tmp_path / "labels.npy")}), tmp_path / "stopped")
    np.save(tmp_path / "labels.npy", (labels + 1) % 10)
    with pytest.raises(InputError, match=r"stopped: was started with other data than there is now"):
        resume(tmp_path / "stopped")
    np.save(tmp_path / "labels.npy", labels)
    shutil.rmtree(tmp_path / "teacher")
    run(resolve({**SMALL_RUN, "student": "convnet4", "seed": 5}), tmp_path / "teacher")
    with pytest.raises(InputError, match=r"stopped: was started with another teacher than there is now"):
        resume(tmp_path / "stopped")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "preceptor", *arguments]


def test_sigterm_leaves_a_checkpoint_and_an_exit_code_of_its_own(tmp_path):
    out = str(tmp_path / "run")
    process = subprocess.Popen(
        command("train", "--model", "convnet4", "--epochs", "2000", "--quiet", "--device", "cpu", "--out", out),
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 120
    while not (tmp_path / "run/metrics.jsonl").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 4
    assert "stopped, with a checkpoint in" in said
    assert f"preceptor resume {out}" in said
    assert list((tmp_path / "run/checkpoint").glob("*.pt"))
