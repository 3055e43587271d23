"""Writing files so that nobody ever sees half of one."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from preceptor.errors import EnvironmentProblem


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Write files beside their places, sync them, then rename them into place in the order given.

    What was there survives a full disk; nothing half-written is left.

    Raises:
        EnvironmentProblem: a file cannot be written; it is named.
    """
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
        for part in parts.values():
            with suppress(OSError):  # a folder that could not be made holds no part to remove
                part.unlink(missing_ok=True)
        raise EnvironmentProblem(f"{path}: cannot be written: {error.strerror}: choose another place") from error


def check_writable(folder: Path) -> None:
    """Make a folder if need be, and make sure that files can be written there, before hours of work.

    Raises:
        EnvironmentProblem: they cannot.
    """
    probe = folder / f".{os.getpid()}.probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise EnvironmentProblem(f"{folder}: cannot be written: {error.strerror}: choose another --out") from error


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
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
