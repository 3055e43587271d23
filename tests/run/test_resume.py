import hashlib
import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from preceptor.errors import InputError, Interrupted
from preceptor.run import resolve, resume, run
from preceptor.run import train as single_module
from preceptor.run.doctor import ProblemsFound
from preceptor.run.folder import read_run
from preceptor.run.lock import held
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.cache.store import EntryStore
from preceptor.training.checkpoint import CheckpointCallback
from tests.training_helpers import SMALL_RUN

resume_module = importlib.import_module("preceptor.run.resume")  # its name is also that of the function


class StopsAfter(CheckpointCallback):
    """Told to stop after so many steps."""

    steps = 3

    def on_step_end(self, trainer, step) -> None:
        self.steps -= 1
        if self.steps == 0:
            self.stopping.set()
        super().on_step_end(trainer, step)


@pytest.fixture
def stopped(tmp_path, monkeypatch, teacher) -> Path:
    """A run with a teacher that was stopped in its second epoch."""
    with monkeypatch.context() as patch:
        patch.setattr(single_module, "CheckpointCallback", StopsAfter)
        with pytest.raises(Interrupted, match=r"preceptor resume .*stopped"):
            run(resolve({**SMALL_RUN, "recipe": "kd", "teacher": str(teacher)}), tmp_path / "stopped")
    return tmp_path / "stopped"


def epochs(folder: Path) -> list[dict]:
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {
            key: value
            for key, value in entry.items()
            if key not in ("seconds", "student_seconds", "images_per_second", "folder")
        }
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


def test_a_line_of_metrics_that_has_no_end_is_not_read_to_it(stopped, monkeypatch):
    monkeypatch.setattr(resume_module, "MOST_LETTERS", 2000)
    with (stopped / "metrics.jsonl").open("a") as file:
        file.write('{"event": "end", "message": "' + 10_000 * "x" + '"}\n')
    resume(stopped)
    assert [entry["event"] for entry in epochs(stopped)] == ["epoch", "epoch", "end"]


def test_a_damaged_checkpoint_is_named(stopped):
    (newest,) = (stopped / "checkpoint").glob("*.pt")
    newest.write_bytes(newest.read_bytes()[:-7])
    (newest.parent / ".half.pt.1.part").write_bytes(b"half")
    with pytest.warns(UserWarning, match=rf"damaged, the run begins again: {newest.name}"):
        resume(stopped)
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
        patch.setattr(single_module, "CheckpointCallback", StopsAfter)
        with pytest.raises(Interrupted):
            run(resolve({**settings, "train_labels": str(tmp_path / "labels.npy")}), tmp_path / "stopped", force=True)
    np.save(tmp_path / "labels.npy", (labels + 1) % 10)
    with pytest.raises(InputError, match=r"stopped: was started with other data than there is now"):
        resume(tmp_path / "stopped")
    np.save(tmp_path / "labels.npy", labels)
    shutil.rmtree(tmp_path / "teacher")
    run(resolve({**SMALL_RUN, "student": "convnet4", "seed": 5}), tmp_path / "teacher")
    with pytest.raises(InputError, match=r"stopped: was started with another teacher than there is now"):
        resume(tmp_path / "stopped")


def edited(folder: Path, change: Callable[[dict], None]) -> None:
    content = yaml.safe_load((folder / "run.yaml").read_text())
    change(content)
    (folder / "run.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.update(student="convnet8x2"),
        lambda config: config["training"].update(batch_size=16),
        lambda config: config["recipe"]["terms"]["kl"].update(weight=3.0),
        lambda config: config.update(cache="cache"),
    ],
    ids=["student", "training", "recipe", "cache"],
)
def test_settings_that_were_changed_are_noticed(stopped, change):
    before = (stopped / "metrics.jsonl").read_bytes()
    edited(stopped, lambda content: change(content["config"]))
    with pytest.raises(InputError, match=r"run\.yaml: its settings are not those that the run was started with"):
        resume(stopped)
    assert (stopped / "metrics.jsonl").read_bytes() == before
    assert not Path("cache").exists()


@pytest.mark.parametrize("where", [("config",), ("config", "recipe", "terms"), ("config", "training")])
def test_settings_with_names_of_several_kinds_are_one_line(stopped, where):
    def change(content: dict) -> None:
        for part in where:
            content = content[part]
        content[None] = {"loss": "kl"}

    edited(stopped, change)
    with pytest.raises(InputError, match=r"None is not a name|is None; expected text"):
        resume(stopped)


def test_a_run_goes_on_when_its_teacher_has_moved(stopped, tmp_path, teacher):
    shutil.copytree(teacher, tmp_path / "elsewhere")
    edited(stopped, lambda content: content["config"].update(teacher=str(tmp_path / "elsewhere")))
    resume(stopped)
    assert (stopped / "student.safetensors").exists()


def test_another_version_is_told_and_goes_on(stopped):
    edited(stopped, lambda content: content["record"]["versions"].update(torch="0.1"))
    with pytest.warns(UserWarning, match="was started with another torch: the bits may differ"):
        resume(stopped)


@pytest.fixture
def stops(monkeypatch) -> Callable[..., Path]:
    """Starts a run that stops in its second epoch."""

    def start(out: Path, **settings: Any) -> Path:
        with monkeypatch.context() as patch:
            patch.setattr(single_module, "CheckpointCallback", StopsAfter)
            with pytest.raises(Interrupted):
                run(resolve({**SMALL_RUN, **settings}), out)
        return out

    return start


def test_another_test_set_is_noticed(tmp_path, stops):
    draw = np.random.default_rng(0)
    images = {"train_images": draw.integers(0, 256, (70, 8, 8), np.uint8), "train_labels": np.arange(70) % 10}

    def write(seed: int) -> None:
        shown = np.random.default_rng(seed).integers(0, 256, (20, 8, 8), np.uint8)
        np.savez(tmp_path / "set.npz", **images, test_images=shown, test_labels=np.arange(20) % 10)

    write(1)
    stopped = stops(tmp_path / "stopped", data=f"arrays:{tmp_path / 'set.npz'}")
    write(2)
    with pytest.raises(InputError, match="was started with another test set than there is now"):
        resume(stopped)
    write(1)
    resume(stopped)


def test_another_normalization_of_the_teacher_is_noticed(tmp_path, stops, teacher):
    shutil.copytree(teacher, tmp_path / "teacher")
    stopped = stops(tmp_path / "stopped", recipe="kd", teacher=str(tmp_path / "teacher"))
    card = tmp_path / "teacher" / "student.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "mean": [0.9]}))
    with pytest.raises(InputError, match="was started with another normalization of the teacher's images"):
        resume(stopped)


def test_a_run_goes_on_from_its_cache_alone(tmp_path, stops, teacher):
    given = {"recipe": "kd", "teacher": str(teacher), "cache": str(tmp_path / "cache")}
    run(resolve({**SMALL_RUN, **given}), tmp_path / "whole")
    stopped = stops(tmp_path / "stopped", **given)
    edited(stopped, lambda content: content["config"].pop("teacher"))
    resume(stopped)
    assert (stopped / "student.safetensors").read_bytes() == (tmp_path / "whole/student.safetensors").read_bytes()


@pytest.mark.parametrize("name", [".lock", "checkpoint", "checkpoints", "failure", "metrics.jsonl", ".x.part"])
def test_a_folder_with_a_link_in_it_is_left_alone(stopped, tmp_path, name):
    """Else what is written or cleared away there would be so wherever the link leads."""
    if (stopped / name).is_dir():
        shutil.rmtree(stopped / name)
    (stopped / name).unlink(missing_ok=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".precious.part").write_text("dear")
    (stopped / name).symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match=rf"{name}: a link, and a run makes none"):
        resume(stopped)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [".precious.part"]


def replaced(folder: Path, content: object, epoch: int = 1, step: int = 1) -> Path:
    """A checkpoint of somebody else's making, its checksum right."""
    file = io.BytesIO()
    torch.save(content, file)
    digest = hashlib.sha256(file.getvalue()).hexdigest()[:16]
    shutil.rmtree(folder / "checkpoint")
    (folder / "checkpoint").mkdir()
    path = folder / "checkpoint" / f"epoch-{epoch:06}-step-{step:08}-{digest}.pt"
    path.write_bytes(file.getvalue())
    return path


@pytest.mark.parametrize(
    "students",
    [{}, {"student": None}, {"student": {"student": {"weight": torch.zeros(3)}}}],
    ids=["none", "null", "other"],
)
def test_a_checkpoint_of_another_run_is_one_line(stopped, students):
    path = replaced(stopped, {"epoch": 1, "step": 1, "students": students})
    with pytest.raises(InputError, match=rf"{path.name}: of another run \(does not fit student and recipe \("):
        resume(stopped)


@pytest.mark.parametrize("moment", [(3, 0), (1, 2), (0, 7)])
def test_a_checkpoint_beyond_the_run_is_one_line(stopped, moment):
    (kept,) = (stopped / "checkpoint").glob("*.pt")
    students = torch.load(kept, weights_only=True)["students"]
    replaced(stopped, {"epoch": moment[0], "step": moment[1], "students": students}, *moment)
    with pytest.raises(InputError, match=rf"of another run \(epoch {moment[0] + 1}, step {moment[1] + 1} of 2 epochs"):
        resume(stopped)


def test_a_run_that_another_process_ended_meanwhile_is_complete(stopped, monkeypatch):
    @contextmanager
    def only_just(folder: Path) -> Iterator[None]:
        with (folder / "metrics.jsonl").open("a") as file:
            file.write('{"event": "end"}\n')
        yield

    monkeypatch.setattr(resume_module, "held", only_just)
    with pytest.raises(InputError, match="the run is complete"):
        resume(stopped)


BY_NIGHT = ("SIGHUP", "SIGUSR1")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "preceptor", *arguments]


@pytest.mark.parametrize("name", ["SIGTERM", *(pytest.param(one, marks=pytest.mark.nightly) for one in BY_NIGHT)])
def test_a_signal_leaves_a_checkpoint_and_an_exit_code_of_its_own(tmp_path, name):
    out = str(tmp_path / "run")
    process = subprocess.Popen(
        command("train", "--model", "convnet4", "--epochs", "2000", "--quiet", "--device", "cpu", "--out", out),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # which nohup ignores
    )
    until = time.monotonic() + 600
    while not (tmp_path / "run/metrics.jsonl").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert (tmp_path / "run/metrics.jsonl").exists()
    process.send_signal(getattr(signal, name))
    _, error = process.communicate()
    assert process.returncode == 4
    assert "stopped, with a checkpoint in" in error
    assert f"preceptor resume {out}" in error
    assert list((tmp_path / "run/checkpoint").glob("*.pt"))


class Killed(BaseException):
    """Not to be caught by anything in the process."""


@pytest.mark.parametrize("writes", [0, 1, 2, 3, 4])
def test_a_run_killed_in_the_midst_of_filling_its_cache(tmp_path, monkeypatch, teacher, writes):
    """Half a batch is cached then. The teacher rounds otherwise in a batch of another size, as a processor may."""
    add, outputs = EntryStore.add, NetworkTeacher.outputs

    def of_the_size(self, inputs, index, view):
        return TeacherOutput(outputs(self, inputs, index, view).logits + len(inputs) / 7)

    def killed(self, entries, records):
        nonlocal writes
        if writes == 0:
            add(self, entries[::2], records[::2])
            raise Killed
        writes -= 1
        add(self, entries, records)

    monkeypatch.setattr(NetworkTeacher, "outputs", of_the_size)
    settings = {**SMALL_RUN, "recipe": "kd", "teacher": str(teacher)}
    run(resolve({**settings, "cache": str(tmp_path / "one")}), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(EntryStore, "add", killed)
        with pytest.raises(Killed):
            run(resolve({**settings, "cache": str(tmp_path / "two")}), tmp_path / "killed", checkpoint_seconds=0)
    if (tmp_path / "killed" / "run.yaml").exists():
        resume(tmp_path / "killed")
    else:
        run(resolve({**settings, "cache": str(tmp_path / "two")}), tmp_path / "killed")
    student = "student.safetensors"
    assert (tmp_path / "killed" / student).read_bytes() == (tmp_path / "whole" / student).read_bytes()


def test_what_a_run_added_to_its_cache_is_counted_from_its_start(tmp_path, stops, teacher):
    given = {"recipe": "kd", "teacher": str(teacher)}
    whole = run(resolve({**SMALL_RUN, **given, "cache": str(tmp_path / "one")}), tmp_path / "whole")
    stopped = stops(tmp_path / "stopped", **given, cache=str(tmp_path / "two"))
    assert resume(stopped).cached == whole.cached > 60


def test_a_run_that_was_forced_goes_on_and_another_has_to_be(tmp_path, monkeypatch, teacher):
    """The record tells; ``force`` adds to it."""
    np.save(tmp_path / "labels.npy", np.arange(1348) % 10)
    settings = {**SMALL_RUN, "recipe": "kd", "teacher": str(teacher), "train_labels": str(tmp_path / "labels.npy")}
    with monkeypatch.context() as patch:
        patch.setattr(single_module, "CheckpointCallback", StopsAfter)
        with pytest.raises(Interrupted):
            run(resolve(settings), tmp_path / "forced", force=True)
    unforced = Path(shutil.copytree(tmp_path / "forced", tmp_path / "unforced"))
    edited(unforced, lambda content: content["record"].pop("forced"))
    before = (unforced / "run.yaml").read_bytes()
    with pytest.raises(ProblemsFound, match="teacher accuracy"):
        resume(unforced)
    assert (unforced / "run.yaml").read_bytes() == before
    resume(tmp_path / "forced")
    resume(unforced, force=True)
    assert read_run(unforced)[1]["forced"] is True
    assert epochs(unforced) == epochs(tmp_path / "forced")
