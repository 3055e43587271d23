"""``--gpus N``: several processes by one command."""

import subprocess
import sys

import pytest

from preceptor.cli.main import main
from preceptor.cli.processes import run_in_processes, without_option
from preceptor.errors import MachineError
from preceptor.launched import VARIABLES

SETTINGS = ("--model", "convnet4", "--epochs", "1", "--device", "cpu", "--gpus", "2")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "preceptor", *arguments], check=False, text=True, capture_output=True, timeout=300
    )


def test_a_command_in_two_processes_shows_its_result_once(tmp_path):
    done = command("train", *SETTINGS, "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder") == 1
    assert (tmp_path / "run" / "student.safetensors").exists()


def test_what_is_wrong_is_told_as_by_one_process(tmp_path):
    done = command("train", *SETTINGS, "--data", "folder:nowhere", "--out", str(tmp_path / "run"))
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert all(line.startswith("preceptor: ") and "nowhere" in line for line in lines), done.stderr
    assert 1 <= len(lines) <= 2  # one process may be ended before it says the same


def test_a_killed_process_is_named(monkeypatch):
    kill = "import os, signal; os.environ['RANK'] == '1' and os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr("preceptor.cli.processes.COMMAND", ("-c", kill))
    with pytest.raises(MachineError, match="process 1 of 2 was killed by signal 9"):
        run_in_processes(2, [])


@pytest.mark.parametrize("option", ["--gpus 3", "--gpus=3", "--processes 3", "--processes=3"])
def test_one_process_does_not_see_the_option(option):
    tokens = ["train", *option.split(), "--model", "resnet8", "training.epochs=3"]
    assert without_option(tokens) == ["train", "--model", "resnet8", "training.epochs=3"]


def test_less_than_one_process(capsys):
    assert main(["train", "--gpus", "0", "--out", "nowhere"]) == 2
    assert "--gpus 0: give at least 1" in capsys.readouterr().err


def test_a_verb_of_one_process_under_torchrun(monkeypatch, capsys):
    for name in VARIABLES:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["compare", "kd", "--out", "nowhere"]) == 2
    assert "process 1 of 2: compare: is for one process; torchrun is for train, distill" in capsys.readouterr().err
