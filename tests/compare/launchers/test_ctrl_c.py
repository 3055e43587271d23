"""Ctrl-C in a comparison, wherever its passes run: what runs is ended, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from preceptor.run.resume import run_entries
from tests.compare.test_parallel import running, wait_until_gone

COMMAND = ["compare", "--recipes", "none", "--seeds", "2", "--student", "convnet4", "--train-images", "100", "--force"]
COMMAND += ["--epochs", "12", "--batch-size", "16", "--device", "cpu", "precision=fp32"]


def start(out: Path, launcher: str, seconds: int) -> "subprocess.Popen[str]":
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # ignored in a background
    return subprocess.Popen(
        [
            *(sys.executable, "-c", begin + "from preceptor.cli.main import main; raise SystemExit(main())"),
            *(*COMMAND, "--launcher", launcher, "--jobs", "2", "--checkpoint-every", str(seconds), "--out", str(out)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
@pytest.mark.parametrize("launcher", ["processes", pytest.param("local", marks=pytest.mark.nightly)])
def test_it_says_how_to_go_on(tmp_path, launcher):
    if launcher == "local":
        pytest.importorskip("submitit", reason="needs submitit (extra slurm)")
    out = tmp_path / "out"
    first = start(out, launcher, 0)
    try:
        until = time.monotonic() + 240
        while len(run_entries(out / "runs/none/seed-0")) < 3 and time.monotonic() < until:
            assert first.poll() is None, first.stderr.read()
            time.sleep(0.02)
        os.killpg(first.pid, signal.SIGINT)  # a terminal tells the whole group
        _, errors = first.communicate(timeout=180)
        assert first.returncode == 4
        assert f"stopped, with checkpoints: give the same command again to go on ({out})" in errors
        assert "Traceback" not in errors or launcher == "local"  # submitit's own processes write theirs
        assert wait_until_gone(first.pid, 60) == []
    finally:
        if running(first.pid):
            os.killpg(first.pid, signal.SIGKILL)
    again = start(out, launcher, 60)
    shown, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors
    assert " of 2: none/seed-" in errors  # of one alone, where the other had ended
    assert "compare.json" in shown
    assert len(list((out / "jobs").glob("*"))) == (launcher == "local")  # the logs of the jobs that were canceled
