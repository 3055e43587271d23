"""``--track`` on the command line: train, resume, distill, evaluate."""

import math

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from preceptor.run import train as train_module
from preceptor.training.checkpoint import CheckpointCallback
from tests.cli.conftest import SMALL


class StopsInTheSecondEpoch(CheckpointCallback):
    def on_step_end(self, trainer, step) -> None:
        self.seconds = math.inf
        if trainer.completed_steps == 3:
            self.stopping.set()
        super().on_step_end(trainer, step)


def read(folder) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def test_a_run_that_is_stopped_and_resumed_with_its_tracker(preceptor, tmp_path, monkeypatch):
    run, track = tmp_path / "run", ["--track", "tensorboard"]
    model = ["--model", "convnet4", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "CheckpointCallback", StopsInTheSecondEpoch)
        assert preceptor("train", *model, "--out", run, *track).code == 4
    assert [event.step for event in read(run / "tensorboard").Scalars("loss/total")] == [1, 2]
    done = preceptor("resume", run, *track)
    assert done.code == 0, done.err
    # The step at which it was told to stop is the last: its losses are logged by nobody.
    assert [event.step for event in read(run / "tensorboard").Scalars("loss/total")] == [1, 2, 4]
    assert [event.step for event in read(run / "tensorboard").Scalars("epoch/total")] == [2, 4]
    assert "test/accuracy" in read(run / "tensorboard").Tags()["scalars"]


def test_tracking_changes_nothing_of_a_run(preceptor, teacher, tmp_path):
    distill = ["distill", "--teacher", teacher, "--recipe", "kd", "--student", "convnet4", *SMALL]
    assert preceptor(*distill, "--out", tmp_path / "plain").code == 0
    place = f"tensorboard:{tmp_path / 'board'}"
    assert preceptor(*distill, "--out", tmp_path / "tracked", "--track", place).code == 0
    for file in ("student.safetensors", "student.json"):
        assert (tmp_path / "plain" / file).read_bytes() == (tmp_path / "tracked" / file).read_bytes()
    assert "loss/kl" in read(tmp_path / "board" / "tracked").Tags()["scalars"]
    assert "board" not in (tmp_path / "tracked" / "run.yaml").read_text()


def test_the_page_of_an_evaluation(preceptor, tmp_path):
    run, place = tmp_path / "run", f"tensorboard:{tmp_path / 'board'}"
    assert preceptor("train", "--model", "convnet4", *SMALL, "--out", run, "--track", place).code == 0
    done = preceptor("evaluate", run, "--resamples", 2, "--track", place)
    assert done.code == 0, done.err
    events = read(tmp_path / "board" / "run")
    (page,) = events.Tensors("evaluation/text_summary")
    assert str(run / "evaluation.html") in page.tensor_proto.string_val[0].decode()
    assert [event.step for event in events.Scalars("loss/total")] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["train", "--out", "run", "--track", "comet"], "unknown tracker 'comet': known: mlflow, tensorboard, wandb"),
        (
            ["evaluate", "run", "--no-page", "--track", "wandb"],
            "--track and --no-page: a tracker takes the page: give one of them",
        ),
    ],
)
def test_what_is_refused(preceptor, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    done = preceptor(*options)
    assert (done.code, done.err) == (2, f"preceptor: {message}\n")
    assert not (tmp_path / "run").exists()
