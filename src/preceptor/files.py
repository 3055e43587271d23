"""Writing files so that nobody ever sees half of one, and reading those whose length is anybody's guess."""

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from preceptor.errors import InputError, MachineError

_REMAINS = re.compile(r"\.(lock|\d+\.probe|.+\.\d+\.part)")

MOST_JSON_BYTES = 2**26
"""No card and no record that we write is longer; what JSON comes to in memory can be a dozen times as much."""


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Write files beside their places, sync them, then rename them into place in the order given.

    What was there survives a full disk; nothing half-written is left.

    Raises:
        MachineError: a file cannot be written; it is named.
    """
    for path in contents:
        _check_replaceable(path)
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in contents}
    path = Path()
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_synced(parts[path], content)
        for path, part in parts.items():
            part.replace(path)
        for folder in {path.parent for path in contents}:
            _sync_names(folder)
    except OSError as error:
        raise MachineError(f"{path}: cannot be written: {error.strerror}: choose another place") from error
    finally:
        for part in parts.values():
            with suppress(OSError):  # a folder that could not be made holds no part to remove
                part.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A text file to write line by line: beside its place, synced and renamed into it at the end.

    Of what fails in between nothing is left.

    Raises:
        MachineError: it cannot be written; it is named.
    """
    _check_replaceable(path)
    part, opened = path.with_name(f".{path.name}.{os.getpid()}.part"), False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        with part.open("x", encoding="utf-8", newline="") as file:
            opened = True
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_names(path.parent)
    except OSError as error:
        if opened and error.filename not in (None, str(part)):  # of another file, that was read meanwhile
            raise
        raise MachineError(f"{path}: cannot be written: {error.strerror}: choose another place") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def remains(folder: Path) -> list[Path]:
    """What a process left beside the files of a folder when it was killed: its lock, and halves of files."""
    return [path for path in folder.iterdir() if _REMAINS.fullmatch(path.name)] if folder.is_dir() else []


def read_json(path: Path, wrong: str = "not valid JSON", remedy: str = "") -> Any:
    """What a JSON file of at most ``MOST_JSON_BYTES`` says.

    Raises:
        InputError: it cannot be read, is longer, or no JSON; that is said in the words given.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_JSON_BYTES + 1)
        if len(content) > MOST_JSON_BYTES:
            raise ValueError(f"longer than {MOST_JSON_BYTES:,} bytes")
        return json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        end = f": {remedy}" if remedy else ""
        raise InputError(f"{path}: {wrong}: {error}{end}") from error


def check_is_file(path: Path) -> None:
    """Refuse a pipe, which would be waited for without end, a device and a folder; what is not there is not looked at.

    Raises:
        InputError: it is one of these.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: cannot be read: a directory, a pipe or a device: give a file")


def check_free(path: Path, option: str = "--out") -> None:
    """Make sure, before the work, that a file can be written and nothing is in its place, be it a link to nowhere.

    Args:
        path: of the file; its folder is made if need be.
        option: by which another one can be given.

    Raises:
        InputError: something is there.
        MachineError: nothing can be written there.
    """
    if os.path.lexists(path):
        raise InputError(f"{path}: exists; nothing is ever overwritten: choose another {option}")
    check_writable(path.resolve().parent, option)


def check_writable(folder: Path, option: str = "--out") -> None:
    """Make a folder if need be, and make sure that files can be written there, before hours of work.

    Args:
        folder: to be written to.
        option: by which another one can be given.

    Raises:
        MachineError: they cannot.
    """
    probe = folder / f".{os.getpid()}.probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
    except OSError as error:
        raise MachineError(f"{folder}: cannot be written: {error.strerror}: choose another {option}") from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _check_replaceable(path: Path) -> None:
    """A file in its place is replaced, and so is a link, not what it points to; whatever else is left alone."""
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError):  # nothing there, or nothing that can be: writing will tell
        return
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise MachineError(
            f"{path}: cannot be written: a directory, a pipe or a device is in its place: choose another"
        )


def _sync_names(folder: Path) -> None:
    """Bring the folder's own entries to the disk; Windows knows no such thing."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_synced(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with path.open("xb") as file:  # a link of that name, laid by somebody else, would be followed by "w"
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
