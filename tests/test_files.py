import csv
import errno
import os
from io import StringIO
from pathlib import Path

import pytest

from preceptor import files
from preceptor.errors import InputError, MachineError
from preceptor.files import check_free, check_is_file, check_writable, csv_line, read_json, whole_file, write_whole


def test_files_are_written_whole_and_nothing_is_left_beside(tmp_path):
    write_whole({tmp_path / "new" / "a": b"first", tmp_path / "new" / "b": b"second"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == {"a": b"first", "b": b"second"}


def test_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")

    def half_then_full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_write_synced", half_then_full)
    with pytest.raises(MachineError, match=r"a: cannot be written: No space left on device: choose another"):
        write_whole({tmp_path / "a": b"newer"})
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


@pytest.mark.parametrize("write", [lambda path: write_whole({path / "a": b""}), check_writable])
def test_a_place_inside_a_file_is_named(tmp_path, write):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"file/run.*: cannot be written: Not a directory"):
        write(tmp_path / "file" / "run")


def test_looking_whether_a_folder_can_be_written_leaves_it_empty(tmp_path):
    check_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_link_in_place_of_a_part_is_not_followed(tmp_path):
    """Somebody else's folder may hold one for every process."""
    (tmp_path / "precious").write_text("dear")
    (tmp_path / f".a.{os.getpid()}.part").symlink_to(tmp_path / "precious")
    write_whole({tmp_path / "a": b"new"})
    assert (tmp_path / "precious").read_text() == "dear"
    assert (tmp_path / "a").read_bytes() == b"new"
    assert not (tmp_path / "a").is_symlink()


def test_what_is_interrupted_leaves_nothing_beside(tmp_path, monkeypatch):
    def interrupted(path: Path, content: bytes) -> None:
        path.write_bytes(content[:2])
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_write_synced", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole({tmp_path / "a": b"newer"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "recursion"),
        (b"\xff", "decode"),
        (b"", "Expecting value"),
        (b"[1, 2, 3]", "longer than 8 bytes"),
    ],
    ids=["deep", "not UTF-8", "empty", "long"],
)
def test_json_that_cannot_be_read_is_one_error(tmp_path, monkeypatch, content, message):
    (tmp_path / "card.json").write_bytes(content)
    if "longer" in message:
        monkeypatch.setattr(files, "MOST_JSON_BYTES", 8)
    with pytest.raises(InputError, match=rf"card\.json: not valid JSON: .*{message}.*: mend it$"):
        read_json(tmp_path / "card.json", remedy="mend it")


def test_json_of_the_most_bytes_is_read(tmp_path, monkeypatch):
    (tmp_path / "card.json").write_bytes(b"[1, 2]")
    monkeypatch.setattr(files, "MOST_JSON_BYTES", 6)
    assert read_json(tmp_path / "card.json") == [1, 2]


def test_a_file_is_there_when_it_is_whole(tmp_path):
    with whole_file(tmp_path / "new" / "rows.csv") as file:
        file.write("größer\n")
        assert not (tmp_path / "new" / "rows.csv").exists()
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "new").iterdir()] == [
        ("rows.csv", "größer\n".encode())
    ]


@pytest.mark.parametrize("error", [ValueError("stop"), KeyboardInterrupt()], ids=["error", "interrupted"])
def test_of_a_file_that_is_not_finished_nothing_is_left(tmp_path, error):
    def write():
        with whole_file(tmp_path / "rows.csv") as file:
            file.write("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_half_of_a_file(tmp_path):
    def write():
        with whole_file(tmp_path / "rows.csv"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(MachineError, match=r"rows\.csv: cannot be written: No space left on device"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_meanwhile_is_not_put_down_to_the_file(tmp_path):
    def write():
        with whole_file(tmp_path / "rows.csv"):
            (tmp_path / "other").read_bytes()

    with pytest.raises(FileNotFoundError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_look_that_is_interrupted_leaves_nothing(tmp_path, monkeypatch):
    touch = Path.touch

    def interrupted(path: Path) -> None:
        touch(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "touch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["a pipe", "a folder"])
def test_what_is_no_file_is_neither_replaced_nor_read(tmp_path, make):
    place = tmp_path / "place"
    make(place)
    kind = place.lstat().st_mode
    with pytest.raises(MachineError, match=r"cannot be written: .* is in its place: choose another"):
        write_whole({tmp_path / "other": b"1", place: b"2"})
    with (
        pytest.raises(MachineError, match=r"cannot be written: .* is in its place: choose another"),
        whole_file(place) as file,
    ):
        file.write("2")
    with pytest.raises(InputError, match="cannot be read: a directory, a pipe or a device"):
        check_is_file(place)
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
    assert place.lstat().st_mode == kind


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "letter").write_text("dear")
    (tmp_path / "place").symlink_to(tmp_path / "letter")
    write_whole({tmp_path / "place": b"new"})
    assert (tmp_path / "letter").read_text() == "dear"
    assert (tmp_path / "place").read_bytes() == b"new"
    assert not (tmp_path / "place").is_symlink()


def test_a_place_is_free_when_not_even_a_link_is_there(tmp_path):
    check_free(tmp_path / "new" / "file")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(InputError, match="exists; nothing is ever overwritten: choose another --page"):
            check_free(tmp_path / name, "--page")
    with pytest.raises(MachineError, match="choose another --page"):
        check_free(tmp_path / "file" / "page", "--page")


def test_a_line_of_csv_is_one_record_whatever_its_cells_hold():
    line = csv_line(["a\nb", "c\rd", "=x", None, 1])
    assert list(csv.reader(StringIO(line, newline=""))) == [["a\nb", "c\rd", "'=x", "", "1"]]
