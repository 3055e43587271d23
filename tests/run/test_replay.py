"""A run that meets a step that is not finite: what it leaves, and what taking the step again shows."""

import hashlib
import io
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from preceptor import register
from preceptor.cli.main import main
from preceptor.data import hold_out, subset
from preceptor.errors import InputError, Interrupted
from preceptor.run import replay, resolve, resume, run
from preceptor.run import train as single_module
from preceptor.training import NotFinite, TrainingData
from tests.run.test_resume import StopsAfter, epochs
from tests.training_helpers import SMALL_RUN, batches, digits


@dataclass(frozen=True)
class NanAt:
    """Cross-entropy that is not a number for one sample."""

    position: int
    wants_index: ClassVar[bool] = True

    def __call__(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        return torch.where(index == self.position, torch.nan, cross_entropy(logits, label, reduction="none"))


def trained_on() -> Tensor:
    labels = digits().train.labels
    positions, _ = hold_out(labels, 0.1, 0)
    return positions[subset(labels[positions], SMALL_RUN["train_images"], 0)]


def met_at(step: int, epoch: int) -> tuple[int, int]:
    """A sample that a run shows in this step, and its view."""
    data = TrainingData.of_images(digits().train, trained_on(), digits().augmentation)
    batch = batches(data, SMALL_RUN["training"]["batch_size"], epoch=epoch)[step]
    return int(batch.index[5]), int(batch.view[5])


POSITION, VIEW = met_at(1, epoch=0)


@pytest.fixture
def nan_at(registry: None) -> None:
    register("label_loss", "nan_at", paper="control")(NanAt)


def settings(**others: Any) -> dict[str, Any]:
    truth = {"label_loss": {"name": "nan_at", "position": POSITION}}
    return {**SMALL_RUN, "recipe": {"terms": {"ce": {"label_loss": "cross_entropy"}, "odd": truth}}, **others}


@pytest.fixture
def failed(nan_at, tmp_path) -> Path:
    with pytest.raises(NotFinite, match=r"step 2 of 2: loss term 'odd' is nan; 1 of 28 samples.*preceptor replay "):
        run(resolve(settings()), tmp_path / "failed")
    return tmp_path / "failed"


def test_what_a_failed_run_leaves(failed):
    assert not (failed / "student.safetensors").exists()
    assert {path.name for path in (failed / "failure").iterdir()} == {"failure.json", "state.pt"}
    [entry] = [json.loads(line) for line in (failed / "metrics.jsonl").read_text().splitlines()]
    assert (entry["event"], entry["action"], entry["epoch"], entry["step"]) == ("failed", "raise", 1, 2)
    label = int(digits().train.labels[POSITION])
    assert entry["fault"]["samples"] == [{"index": POSITION, "label": label, "view": VIEW}]
    assert entry["message"].startswith("student 'student': epoch 1, step 2 of 2: loss term 'odd' is nan")


def test_the_step_goes_wrong_again_without_data_or_teacher(failed, monkeypatch):
    monkeypatch.setattr("preceptor.run.set_up.load_dataset", None)
    replayed = replay(failed)
    assert replayed.reproduced
    assert (replayed.again.place, replayed.again.at) == ("term", "odd")
    assert replayed.again == replayed.report.fault


def test_a_failed_run_does_not_go_on(failed):
    with pytest.raises(
        InputError, match=r"the run ended where it would end again \(student 'student': epoch 1, step 2"
    ):
        resume(failed)


def test_with_a_teacher_as_well(nan_at, tmp_path, teacher):
    recipe = {**settings()["recipe"], "temperature": {"name": "fixed", "temperature": 4.0}}
    recipe["terms"] = {**recipe["terms"], "kl": {"loss": "kl"}}
    with pytest.raises(NotFinite):
        run(resolve({**settings(recipe=recipe), "teacher": str(teacher)}), tmp_path / "run")
    replayed = replay(tmp_path / "run")
    assert replayed.reproduced
    assert replayed.again.teacher_largest is not None


def test_before_a_feature_loss_begins_and_the_teacher_is_asked(nan_at, tmp_path, teacher):
    recipe = settings()["recipe"]
    recipe = {**recipe, "terms": {**recipe["terms"], "hint": {"feature_loss": "hint", "since": 0.75}}}
    with pytest.raises(NotFinite):
        run(resolve({**settings(recipe=recipe), "teacher": str(teacher)}), tmp_path / "run")
    replayed = replay(tmp_path / "run")
    assert replayed.report.step.teacher is None
    assert replayed.again == replayed.report.fault


def test_a_run_that_skips_ends_and_says_so(nan_at, tmp_path):
    with pytest.warns(UserWarning, match="step left out"):
        run(resolve(settings(on_nonfinite="skip")), tmp_path / "run")
    entries = epochs(tmp_path / "run")
    assert [entry["event"] for entry in entries] == ["nonfinite", "epoch", "nonfinite", "epoch", "end"]
    assert [entry["skipped"] for entry in entries if entry["event"] == "epoch"] == [1, 1]
    assert replay(tmp_path / "run").report.context.epoch == 2


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.filterwarnings("ignore:step left out")
def test_a_run_that_skips_goes_on_as_if_it_had_not_stopped(nan_at, tmp_path, monkeypatch, steps):
    run(resolve(settings(on_nonfinite="skip")), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(StopsAfter, "steps", steps)
        patch.setattr(single_module, "CheckpointCallback", StopsAfter)
        with pytest.raises(Interrupted):
            run(resolve(settings(on_nonfinite="skip")), tmp_path / "stopped")
    resume(tmp_path / "stopped")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert (stopped / "student.safetensors").read_bytes() == (whole / "student.safetensors").read_bytes()
    assert epochs(stopped) == epochs(whole)


def test_another_policy_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="on_nonfinite is 'reduce_lr'; expected 'raise' or 'skip'"):
        resolve({**SMALL_RUN, "on_nonfinite": "reduce_lr"})


def test_what_cannot_be_replayed(failed, tmp_path):
    with pytest.raises(InputError, match=r"no run.yaml, so no run"):
        replay(tmp_path)
    shutil.move(failed / "failure", tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"no failure.json: no step of this run failed"):
        replay(failed)


@pytest.mark.parametrize("change", [{"outputs": 11}, {"outputs": -3}])
def test_a_failure_of_another_run_is_refused(failed, change):
    path = failed / "failure" / "failure.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=r"does not fit model 'convnet8' and the recipe of run.yaml"):
        replay(failed)


def test_the_weights_of_another_student_are_refused(failed):
    config = failed / "run.yaml"
    config.write_text(config.read_text().replace("convnet8", "resnet8"))
    with pytest.raises(InputError, match=r"does not fit model 'resnet8' and the recipe of run.yaml"):
        replay(failed)


def test_the_verb_shows_it(failed, capsys):
    assert main(["replay", str(failed)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert lines[0] == "student 'student': epoch 1, step 2 of 2, seed 0, learning rate 0.05 (on_nonfinite: raise)"
    assert lines[1].startswith("loss term 'odd' is nan; 1 of 28 samples, ")
    assert "; largest logits: student " in lines[1]
    assert f"  position {POSITION}, label {int(digits().train.labels[POSITION])}, view {VIEW}" in lines


def test_the_verb_speaks_json(failed, capsys):
    assert main(["replay", str(failed), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["reproduced"]
    assert shown["again"]["samples"][0]["index"] == POSITION
    assert shown["failure"]["epoch"] == 1


def test_the_verb_tells_what_is_wrong_in_one_line(tmp_path, capsys):
    assert main(["replay", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_that_diverges_ends_with_one_line_and_exit_code_2(tmp_path, capsys):
    out = str(tmp_path / "run")
    flags = ["--train-images", "60", "--epochs", "1", "--batch-size", "8", "--lr", "1e18", "--device", "cpu", "--quiet"]
    assert main(["train", "--model", "convnet4", *flags, "--out", out]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.endswith(f"to examine that step again: preceptor replay {out}\n")
    assert shown.err.count("\n") == 1
    assert main(["replay", out]) == 0
    assert "training has diverged" in capsys.readouterr().out


def test_a_state_that_is_no_state_is_refused(failed):
    file = io.BytesIO()
    torch.save([1, 2], file)
    (failed / "failure" / "state.pt").write_bytes(file.getvalue())
    path = failed / "failure" / "failure.json"
    record = json.loads(path.read_text())
    record["sha256"] = hashlib.sha256(file.getvalue()).hexdigest()
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="not the report of a failed step"):
        replay(failed)


def test_a_pipe_among_its_files_is_not_waited_for(failed):
    (failed / "failure" / "state.pt").unlink()
    os.mkfifo(failed / "failure" / "state.pt")
    with pytest.raises(InputError, match=r"no state\.pt"):
        replay(failed)


def test_names_in_it_steer_no_terminal(failed, capsys):
    path = failed / "failure" / "failure.json"
    record = json.loads(path.read_text())
    record |= {"student": "\x1b[2J", "fault": {**record["fault"], "at": "\x1b[1m"}}
    path.write_text(json.dumps(record))
    assert main(["replay", str(failed)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "in the run it was otherwise: loss term '\\x1b[1m' is nan" in shown
