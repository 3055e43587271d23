import errno
from pathlib import Path

import pytest

from preceptor import files
from preceptor.errors import EnvironmentProblem
from preceptor.files import check_writable, write_whole


def test_files_are_written_whole_and_nothing_is_left_beside(tmp_path):
    write_whole({tmp_path / "new" / "a": b"first", tmp_path / "new" / "b": b"second"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == {"a": b"first", "b": b"second"}


def test_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")

    def half_then_full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_write_synced", half_then_full)
    with pytest.raises(EnvironmentProblem, match=r"a: cannot be written: No space left on device: choose another"):
        write_whole({tmp_path / "a": b"newer"})
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


@pytest.mark.parametrize("write", [lambda path: write_whole({path / "a": b""}), check_writable])
def test_a_place_inside_a_file_is_named(tmp_path, write):
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentProblem, match=r"file/run.*: cannot be written: Not a directory"):
        write(tmp_path / "file" / "run")


def test_looking_whether_a_folder_can_be_written_leaves_it_empty(tmp_path):
    check_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
