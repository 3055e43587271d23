"""A student of one's own architecture, through every verb; and what a stranger's folder cannot do."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from preceptor.models.custom import ALLOWED
from preceptor.run.folder import read_run
from tests.cli.conftest import SMALL as FLAGS
from tests.cli.conftest import Command

SMALL = [*FLAGS, "precision=fp32", "compile=never"]
SOURCE = """
from pathlib import Path
from torch import nn

Path(__file__).with_name("imported").touch()

def build(classes, channels):
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, classes),
    )
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of the user's in the current directory, which is a folder of its own."""
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").touch()
    (tmp_path / "own_package" / "models.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setenv(ALLOWED, "")
    yield tmp_path / "own_package"
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.startswith("own_package")]:
        del sys.modules[name]


CODE = ("--allow-code", "own_package.models")


def test_a_network_of_ones_own_through_every_verb(
    package: Path, preceptor: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert preceptor("train", "--model", "own_package.models:build", *SMALL, "--out", "runs/own").code == 0
    monkeypatch.setenv(ALLOWED, "")  # as in another process
    refused = preceptor("evaluate", "runs/own")
    assert refused.code == 2
    assert "--allow-code own_package.models" in refused.err
    assert refused.err.count("\n") == 1
    for verb, *rest in (
        ("evaluate", "runs/own", "--quiet"),
        ("calibrate", "runs/own", "--split", "test", "--max-risk", "0.99", "--quiet"),
        ("export", "runs/own", "--out", "exported", "--format", "onnx", "--quiet"),
    ):
        monkeypatch.setenv(ALLOWED, "")
        done = preceptor(verb, *rest, *CODE)
        assert done.code == 0, done.err
    assert (package.parent / "exported").is_dir()
    torch.manual_seed(0)
    import numpy as np

    np.save(package.parent / "images.npy", np.zeros((3, 8, 8), np.uint8))
    shown = preceptor("predict", "runs/own", "images.npy", "--json", *CODE)
    assert shown.code == 0
    assert len(shown.out.strip().splitlines()) >= 1


def test_a_strangers_run_runs_no_code(package: Path, preceptor: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of its card, nor of the student or the teacher that its run.yaml names."""
    assert preceptor("train", "--model", "own_package.models:build", *SMALL, "--out", "runs/own").code == 0
    own = ["--teacher", "own_package.models:build", "--teacher-weights", "runs/own/student.safetensors"]
    taught = preceptor(
        "distill", *own, "--teacher-mean", "0", "--teacher-std", "1", "--student", "convnet4", "--recipe", "kd",
        *SMALL, "--force", "--out", "runs/taught",
    )  # fmt: skip
    assert taught.code == 0, taught.err
    assert "loaded 8 of 8 tensors" in taught.err
    shutil.copytree("runs/own", "runs/stopped")
    for left in ("student.safetensors", "student.json", "metrics.jsonl"):
        Path("runs/stopped", left).unlink()
    forget()
    monkeypatch.setenv(ALLOWED, "")
    (package / "imported").unlink()
    commands = {
        ("evaluate", "runs/own"): 2,
        ("predict", "runs/own", "runs/own"): 2,
        ("export", "runs/own", "--out", "x"): 2,
        ("resume", "runs/stopped"): 2,
        ("train", "--config", "runs/own/run.yaml", "--out", "runs/again"): 2,
        ("evaluate", "runs/taught", "--quiet"): 0,
    }
    for command, code in commands.items():
        outcome = preceptor(*command)
        assert outcome.code == code, (command, outcome.err)
        assert code == 0 or "nobody allowed" in outcome.err
    assert not (package / "imported").exists()
    assert preceptor("resume", "runs/stopped", *CODE, "--quiet").code == 0
    first, second = (load_file(f"runs/{name}/student.safetensors") for name in ("own", "stopped"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.usefixtures("package")
def test_a_teacher_that_states_no_normalization(preceptor: Command) -> None:
    outcome = preceptor(
        "distill", "--teacher", "own_package.models:build", "--recipe", "kd", *SMALL, "--out", "runs/taught"
    )
    assert outcome.code == 2
    assert "never guessed: give --teacher-mean and --teacher-std" in outcome.err


@pytest.mark.usefixtures("package")
def test_weights_that_a_student_starts_from(preceptor: Command) -> None:
    model = ["--model", "own_package.models:build"]
    assert preceptor("train", *model, *SMALL, "--out", "runs/own").code == 0
    start = ["--student-weights", "runs/own", "--freeze", "0", "--freeze", "1", "--layer-decay", "0.5"]
    done = preceptor("train", *model, *start, "--student-size", "12", *SMALL, "--out", "runs/next")
    assert done.code == 0
    assert "starts from runs/own/student.safetensors: loaded 8 of 8 tensors" in done.err
    assert "sees images of 12x12 pixels: those of digits, of 8x8, are resized for it" in done.err
    before, after = (load_file(f"runs/{name}/student.safetensors") for name in ("own", "next"))
    assert {name for name in before if torch.equal(before[name], after[name])} == {
        name for name in before if name.startswith(("0.", "1."))
    }
    config, record = read_run(Path("runs/next"))
    assert config["training"]["freeze"] == ["0", "1"]
    assert "loaded 8 of 8" in record["student"]
    assert json.loads(Path("runs/next/student.json").read_text())["image_size"] == [12, 12]
    assert preceptor("evaluate", "runs/next", "--quiet", *CODE).code == 0
    done = preceptor("export", "runs/next", "--out", "exported", "--format", "onnx", "--quiet", *CODE)
    assert done.code == 0, done.err
    wrong = preceptor("train", *model, "--student-weights", "runs/own", "--pretrained", *SMALL, "--out", "runs/x")
    assert wrong.code == 2
    assert "give one" in wrong.err
