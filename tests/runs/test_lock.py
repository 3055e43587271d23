import os
import subprocess
import sys
from pathlib import Path

import pytest

from preceptor.errors import EnvironmentProblem, InputError
from preceptor.runs.lock import held

HOLD = "import sys; from pathlib import Path; from preceptor.runs.lock import held\n{body}"


def other_process(folder: Path, body: str) -> subprocess.Popen[str]:
    code = HOLD.format(body=body)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


def test_another_process_is_kept_out_and_told_who_is_there(tmp_path):
    body = "with held(Path(sys.argv[1])):\n    print('in', flush=True)\n    sys.stdin.readline()"
    with other_process(tmp_path / "run", body) as process:
        assert process.stdout.readline() == "in\n"
        with pytest.raises(InputError, match=rf"run: process {process.pid} on .* is running here: wait for it"):
            held(tmp_path / "run").__enter__()
        process.communicate("\n")
    with held(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").read_text().startswith(f"process {os.getpid()} on")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_process_that_was_killed_holds_nothing(tmp_path):
    body = "with held(Path(sys.argv[1])):\n    print('in', flush=True)\n    sys.stdin.readline()"
    with other_process(tmp_path / "run", body) as process:
        assert process.stdout.readline() == "in\n"
        process.kill()
    with held(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").exists()


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentProblem, match=r"cannot be written: Not a directory"):
        held(tmp_path / "file" / "run").__enter__()
