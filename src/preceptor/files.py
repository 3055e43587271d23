"""Atomic writing of files, and bounded reading of untrusted ones.

What cannot be written is a ``MachineError``, what cannot be read an ``InputError``; both name the file.
"""

import csv
import io
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from preceptor.errors import InputError, MachineError

_REMAINS = re.compile(r"\.(lock|\d+\.probe|.+\.\d+\.part)")

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet read a cell as a formula; OWASP, "CSV Injection"."""

MOST_JSON_BYTES = 2**26
"""Largest JSON file that is read: in memory it may take a dozen times as much."""


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Write files beside their places, sync them, then rename them into place in order.

    A full disk leaves the former files as they were, and no part of the new ones.
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
    """A text file to write line by line, beside its place; synced and renamed into it at the end.

    Nothing is left of it if the block fails.
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
        if opened and error.filename not in (None, str(part)):  # of another file, which the block read
            raise
        raise MachineError(f"{path}: cannot be written: {error.strerror}: choose another place") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def remains(folder: Path) -> list[Path]:
    """What a killed process left in a folder: its lock, and unfinished files."""
    return [path for path in folder.iterdir() if _REMAINS.fullmatch(path.name)] if folder.is_dir() else []


def read_json(path: Path, wrong: str = "not valid JSON", remedy: str = "") -> Any:
    """The content of a JSON file of at most ``MOST_JSON_BYTES``; ``wrong`` and ``remedy`` are for the message."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_JSON_BYTES + 1)
        if len(content) > MOST_JSON_BYTES:
            raise ValueError(f"longer than {MOST_JSON_BYTES:,} bytes")
        return json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        end = f": {remedy}" if remedy else ""
        raise InputError(f"{path}: {wrong}: {error}{end}") from error


def name_as_text(name: str | Path) -> str:
    """A file's name as text that can be written anywhere: bytes that are not UTF-8 become ``\\udcNN``."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def csv_line(cells: Iterable[str | float | None]) -> str:
    """A line of a CSV file (RFC 4180), without its end.

    Text that a spreadsheet would take for a formula, such as a name that begins with ``=``, is preceded by an
    apostrophe.
    """
    line = io.StringIO()
    csv.writer(line).writerow(
        f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in cells
    )
    return line.getvalue().removesuffix("\r\n")


def is_inside(path: str, root: str) -> bool:
    """Whether a path is a folder, or lies in it; both are real paths, without links."""
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def check_is_file(path: Path) -> None:
    """Refuse a pipe, on which reading may wait without end, a device and a folder. A missing file passes."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: cannot be read: a directory, a pipe or a device: give a file")


def check_free(path: Path, option: str = "--out") -> None:
    """Check before the work that a file can be written, and that nothing is in its place, not even a dangling link.

    Its folder is made if need be. The message names the ``option`` that gives another one.
    """
    if os.path.lexists(path):
        raise InputError(f"{path}: exists; nothing is ever overwritten: choose another {option}")
    check_writable(path.resolve().parent, option)


def check_writable(folder: Path, option: str = "--out") -> None:
    """Check before the work that files can be written into a folder, which is made if need be."""
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
    """A file may be replaced, and a link (not its target); a folder, a pipe or a device may not."""
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError):  # missing, or impossible: writing will raise
        return
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise MachineError(
            f"{path}: cannot be written: a directory, a pipe or a device is in its place: choose another"
        )


def _sync_names(folder: Path) -> None:
    """Sync a folder's entries to the disk; Windows has no such call."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_synced(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with path.open("xb") as file:  # "w" would follow a link that somebody else put there
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
