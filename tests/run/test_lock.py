import os
import subprocess
import sys
from pathlib import Path

import pytest

from preceptor.errors import InputError, MachineError
from preceptor.run.lock import check_unheld, held

HOLD = "import sys; from pathlib import Path; from preceptor.run.lock import held\n{body}"


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
    with pytest.raises(MachineError, match=r"cannot be written: Not a directory"):
        held(tmp_path / "file" / "run").__enter__()


def test_who_holds_a_folder_is_told_without_taking_it(tmp_path):
    check_unheld(tmp_path / "absent")
    check_unheld(tmp_path)
    with held(tmp_path), pytest.raises(InputError, match=rf"process {os.getpid()} on .* is running here"):
        check_unheld(tmp_path)
    (tmp_path / ".lock").write_text("process 1 on a machine that lost power")
    check_unheld(tmp_path)
    assert (tmp_path / ".lock").read_text().startswith("process 1 ")


def test_what_fails_takes_its_lock_away(tmp_path):
    with pytest.raises(KeyError), held(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    """Somebody else's folder may hold one that leads to a file of mine."""
    (tmp_path / "precious").write_text("dear")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    check_unheld(tmp_path / "run")
    with pytest.raises(InputError, match=r"\.lock: a link, and a run makes none: remove it"):
        held(tmp_path / "run").__enter__()
    assert (tmp_path / "precious").read_text() == "dear"
