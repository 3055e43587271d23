"""The verb ``compare``: from flags and from a file, its table, and bad input in one line."""

import json
from pathlib import Path

import pytest

from preceptor.cli.main import main
from tests.training_helpers import SMALL_RUN

SMALL = ["--train-images", "60", "--epochs", "2", "--batch-size", "32", "--device", "cpu", "--student", "convnet4"]
ONCE = [*SMALL, "--seeds", "1", "--jobs", "1", "precision=fp32"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("teachers") / "teacher"
    assert main(["train", "--out", str(folder), "--quiet", *SMALL[:2], "--epochs", "10", *SMALL[6:8]]) == 0
    return folder


def test_flags_say_what_to_compare(tmp_path, teacher, capsys):
    out = tmp_path / "out"
    asked = ["compare", "--teacher", str(teacher), "--recipes", "none,kd", "--force", "--out", str(out), *ONCE]
    assert main(asked) == 0
    text = capsys.readouterr()
    assert "2 of 2: " in text.err
    assert "kd" in text.out
    assert "intervals are corrected for 1 comparison." in text.out
    assert main([*asked, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [arm["recipe"] for arm in result["arms"]] == ["none", "kd"]
    assert main(["compare", "--config", str(out / "plan.yaml"), "--out", str(out), "--quiet", "--jobs", "1"]) == 0


def test_a_file_says_what_to_compare(tmp_path, teacher, capsys):
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        json.dumps(
            {
                **SMALL_RUN,
                "precision": "fp32",
                "student": "convnet4",
                "teachers": {"big": str(teacher)},
                "recipes": {"none": None, "mild": {"recipe": "kd", "recipe.temperature.temperature": 2}},
                "vary": {"training.learning_rate": [0.05, 0.1]},
                "seeds": 1,
                "baseline": "none",
            }
        )
    )
    command = ["compare", "--config", str(plan), "--out", str(tmp_path / "out"), "--jobs", "1", "--force", "--json"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert [(arm["recipe"], arm["settings"]["training.learning_rate"]) for arm in result["arms"]] == [
        ("none", 0.05),
        ("mild", 0.05),
        ("none", 0.1),
        ("mild", 0.1),
    ]
    assert result["differing"]["training.learning_rate"] == [0.05, 0.05, 0.1, 0.1]
    assert result["compared"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipes", "kd"], "recipe 'kd' needs a teacher: give --teacher"),
        (["--recipes", "none,kdd", "--teacher", "x"], "unknown recipe 'kdd': did you mean 'kd'?"),
        (["--vary", "training.learning_rate"], "expected KEY=X,..."),
        (["--recipes", "none", "--seeds", "0"], "expected one seed or more"),
        (["--seed", "3"], "unknown option --seed: did you mean --seeds?"),
        (["--recipes", "none", "--baseline", "kd"], "unknown baseline 'kd'"),
        (["--recipes", "none,kd", "--teacher", "runs/nowhere"], "runs/nowhere"),
        (["--recipes", "none", "--launcher", "slrm"], "unknown launcher 'slrm': did you mean 'slurm'?"),
        (["--recipes", "none", "--slurm", "gpu"], "--slurm gpu: expected KEY=VALUE, such as partition=gpu"),
        (["--recipes", "none", "--launcher", "ray", "--slurm", "time=5"], "--slurm with --launcher ray: leave one of"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, options, message):
    assert main(["compare", "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
