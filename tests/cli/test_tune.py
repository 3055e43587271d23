"""The verb ``tune``: from flags and from a file, its table, and bad input in one line."""

import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("optuna", reason="needs optuna (extra tune)")

SMALL = ["--train-images", "60", "--batch-size", "32", "--device", "cpu", "--student", "convnet4", "precision=fp32"]
ALONE = [*SMALL, "--recipe", "none", "--jobs", "1", "--force"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    from preceptor.cli.main import main

    folder = tmp_path_factory.mktemp("teachers") / "teacher"
    assert main(["train", "--model", "convnet4", *SMALL[:6], "--epochs", "10", "--quiet", "--out", str(folder)]) == 0
    return folder


def test_flags_say_what_to_tune(preceptor, tmp_path, teacher):
    out = tmp_path / "out"
    command = ["tune", "--teacher", teacher, "--space", "recipe=safe,ka-ps", "--space", "training.epochs=1..3", *SMALL]
    command += ["--trials", "3", "--epochs", "2", "--final-seeds", "1", "--jobs", "1", "--force", "--out", out]
    done = preceptor(*command)
    assert done.code == 0, done.err
    assert "trial 3 of 3: " in done.err
    assert "│ defaults │" in done.out
    assert "flatters itself: the best of 3 trials was chosen by it" in done.out
    assert "On the test set (449 images), 1 new seed:" in done.out
    assert not any(name in done.out + done.err for name in ("[I 2", "optuna", "Trial 0 finished"))
    result = json.loads((out / "tune.json").read_text())
    again = json.loads(preceptor(*command, "--json").out)
    assert again == result
    best = result["trials"][result["best"]]
    content = yaml.safe_load((out / "best.yaml").read_text())
    assert content["training"]["epochs"] == best["settings"]["training.epochs"]
    once_more = preceptor("distill", "--config", out / "best.yaml", "--out", tmp_path / "run", "--json", "--force")
    assert json.loads(once_more.out)["validation"]["accuracy"] == pytest.approx(best["held_out"])


def test_a_file_says_what_to_tune(preceptor, tmp_path):
    file = tmp_path / "tune.yaml"
    space = {"training.learning_rate": [0.02, 0.05], "training.weight_decay": "1e-5..1e-3:log"}
    file.write_text(yaml.safe_dump({"training": {"epochs": 1}, "space": space}))
    command = ["tune", "--config", file, *ALONE, "--trials", "2", "--final-seeds", "0", "--out", tmp_path / "out"]
    done = preceptor(*command)
    assert done.code == 0, done.err
    assert "what the best settings are worth is not known" in done.out
    result = json.loads((tmp_path / "out/tune.json").read_text())
    assert result["space"] == {"training.learning_rate": "0.02,0.05", "training.weight_decay": "1e-05..0.001:log"}
    assert preceptor(*command, "--quiet").out == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "the space is empty: give --space, such as"),
        (["--space", "training.epochs"], "expected KEY=A..B, KEY=A..B:log or KEY=X,..."),
        (["--space", "training.epoch=1..2"], "unknown key"),
        (["--space", "seed=1..2"], "is not tuned"),
        (["--space", "training.epochs=1..2", "--sampler", "cmaes"], "unknown sampler 'cmaes'"),
        (["--space", "training.epochs=1..2", "--trials", "0"], "trials are 0"),
        (["--space", "training.epochs=1..2", "--seeds", "3"], "unknown option --seeds"),
    ],
)
def test_bad_input_is_one_line(preceptor, tmp_path, options, message):
    done = preceptor("tune", *ALONE, *options, "--out", tmp_path / "out")
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_with_a_list_for_a_space_is_refused(preceptor, tmp_path):
    (tmp_path / "tune.yaml").write_text("space: [training.epochs]\n")
    done = preceptor("tune", "--config", tmp_path / "tune.yaml", "--out", tmp_path / "out")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "expected a mapping of keys" in done.err
