"""A run of several processes: one folder, the numbers of one process, and no end that loses it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import preceptor
from preceptor.cli.main import main
from preceptor.run import resume
from preceptor.run.resume import run_entries, run_state

LAUNCHER = [sys.executable, "-m", "torch.distributed.run"]
TIMES = ("seconds", "student_seconds", "images_per_second", "folder")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("distributed") / "teacher"
    return preceptor.train("convnet8", "digits", out=folder, epochs=2, device="cpu", progress=False).folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, teacher) -> Path:
    """A run of two processes."""
    folder = tmp_path_factory.mktemp("distributed") / "run"
    done = started(2, folder, teacher)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("measured")]
    assert len(told) == 2
    assert len(set(told)) == 1  # every process returns what the first has measured
    return folder


def started(count: int, folder: Path, teacher: Path, *killed: int, restarts: int = 0, shard: str = "whole"):
    worker = ["-m", "tests.run.distributed_worker", str(folder), str(teacher), shard, *map(str, killed)]
    command = [*LAUNCHER, f"--nproc-per-node={count}", f"--max-restarts={restarts}", *worker]
    return subprocess.run(command, check=False, text=True, capture_output=True, timeout=300)


def entries(folder: Path) -> list[dict]:
    """The lines of the metrics, without what differs by the clock."""
    return [{key: value for key, value in entry.items() if key not in TIMES} for entry in run_entries(folder)]


def same_weights(one: Path, other: Path) -> bool:
    before, after = (load_file(folder / "student.safetensors") for folder in (one, other))
    return all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def weights_apart(one: Path, other: Path) -> float:
    before, after = (load_file(folder / "student.safetensors") for folder in (one, other))
    return max(float((tensor - after[name]).abs().max()) for name, tensor in before.items())


def test_two_processes_end_in_the_table_of_one(tmp_path, teacher, undisturbed, capsys):
    arguments = ["--teacher", teacher, "--recipe", "kd", "--student", "convnet4", "--device", "cpu", "--epochs", "3"]
    arguments += ["--batch-size", "128", "precision=fp32", "--json"]
    command = ["distill", *map(str, arguments), "--out"]
    assert main([*command, str(tmp_path / "one")]) == 0
    alone = capsys.readouterr().out
    together = subprocess.run(
        [*LAUNCHER, "--nproc-per-node=2", "-m", "preceptor", *command, str(tmp_path / "two")],
        check=True,
        text=True,
        capture_output=True,
    ).stdout
    one, two = json.loads(alone), json.loads(together)  # the first process alone shows anything
    assert two["test"]["accuracy"] == pytest.approx(one["test"]["accuracy"], abs=0.003)  # an image of 449, by rounding
    assert two["test"]["nll"] == pytest.approx(one["test"]["nll"], rel=1e-3)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )
    for before, after in zip(entries(tmp_path / "one")[:-1], entries(tmp_path / "two")[:-1], strict=True):
        assert after["total"] == pytest.approx(before["total"], rel=1e-3)
        assert after["queried"] == before["queried"]
    assert same_weights(tmp_path / "two", undisturbed)  # of Python and of the command line


def test_torchrun_goes_on_from_the_last_checkpoint_to_the_same_end(tmp_path, teacher, undisturbed):
    done = started(2, tmp_path / "run", teacher, 1, 1, restarts=1)
    assert done.returncode == 0, done.stderr
    assert same_weights(tmp_path / "run", undisturbed)
    assert entries(tmp_path / "run") == entries(undisturbed)


@pytest.mark.parametrize("count", [1, pytest.param(3, marks=pytest.mark.nightly)])
def test_a_killed_process_is_named_and_another_number_goes_on(tmp_path, teacher, undisturbed, count):
    killed = started(2, tmp_path / "run", teacher, 1, 1)
    assert killed.returncode != 0
    assert "Signal 9 (SIGKILL)" in killed.stderr
    assert "rank      : 1" in killed.stderr
    assert run_state(tmp_path / "run") == "stopped"
    if count == 1:
        resume(tmp_path / "run")
    else:
        done = started(count, tmp_path / "run", teacher)
        assert done.returncode == 0, done.stderr
    assert weights_apart(tmp_path / "run", undisturbed) < 1e-3
    for before, after in zip(entries(undisturbed)[:-1], entries(tmp_path / "run")[:-1], strict=True):
        assert after["total"] == pytest.approx(before["total"], rel=1e-3)


@pytest.mark.nightly
@pytest.mark.parametrize("count", [1, 2])
def test_a_divided_student_goes_on_divided_and_whole(tmp_path, teacher, undisturbed, count):
    started(2, tmp_path / "run", teacher, 1, 1, shard="shard")
    assert run_state(tmp_path / "run") == "stopped"
    done = started(count, tmp_path / "run", teacher, shard="shard")
    assert done.returncode == 0, done.stderr
    assert weights_apart(tmp_path / "run", undisturbed) < 1e-3


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The processes that torchrun has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in children.read_text().split()] if children.exists() else []


@pytest.mark.nightly
def test_thirty_kills_at_random(tmp_path, teacher, undisturbed):
    draw, kills, runs = random.Random(0), 0, 0
    while kills < 30:
        folder, runs = tmp_path / f"{runs}", runs + 1
        while run_state(folder) != "complete":
            command = [*LAUNCHER, "--nproc-per-node=2", "-m", "tests.run.distributed_worker"]
            process = subprocess.Popen(
                [*command, str(folder), str(teacher), "whole"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            with suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(3, 9))
            if alive := workers(process):
                os.kill(draw.choice(alive), signal.SIGKILL)
                kills += 1
            process.wait(300)
        assert same_weights(folder, undisturbed)
        assert entries(folder) == entries(undisturbed)


def test_a_signal_stops_all_after_the_same_step(tmp_path, teacher):
    out = tmp_path / "run"
    arguments = ["--teacher", str(teacher), "--recipe", "kd", "--student", "convnet4", "--epochs", "3000"]
    command = [*LAUNCHER, "--nproc-per-node=2", "-m", "preceptor", "distill", *arguments, "--device", "cpu"]
    process = subprocess.Popen([*command, "--quiet", "--out", str(out)], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 300
    while not (out / "metrics.jsonl").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    assert process.returncode != 0
    assert error.count("stopped, with a checkpoint in") == 2, error
    assert list((out / "checkpoint").glob("*.pt"))
    assert run_state(out) == "stopped"
