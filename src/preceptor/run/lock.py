"""One run at a time in a folder."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preceptor.errors import InputError, MachineError

LOCK_FILE = ".lock"

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""Opening a link is an error: in a folder from somebody else it may lead anywhere."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run's folder; the system lets go of it when the process ends, however it ends. Made if need be.

    Systems without POSIX file locks hold nothing.

    Raises:
        InputError: another process holds it; it is named. Or its lock is a link.
        MachineError: the folder cannot be written.
    """
    path = folder / LOCK_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
    except OSError as error:
        _check_no_link(path)
        raise MachineError(f"{folder}: cannot be written: {error.strerror}: choose another --out") from error
    try:
        _take(file, folder)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(file)


def check_unheld(folder: Path) -> None:
    """Make sure that no run goes on in a folder; systems without POSIX file locks cannot tell.

    Raises:
        InputError: another process holds it; it is named.
    """
    try:
        file = os.open(folder / LOCK_FILE, os.O_RDWR | NO_LINK)
    except OSError:  # no lock there, or one that is not ours to look at: whoever writes will be told
        return
    try:
        _lock(file, folder)
    finally:
        os.close(file)


def _check_no_link(path: Path) -> None:
    if path.is_symlink():
        raise InputError(f"{path}: a link, and a run makes none: remove it")


def _take(file: int, folder: Path) -> None:
    """Lock the file that is there now: whoever held it before takes it away when done."""
    _lock(file, folder)
    try:
        is_there = (folder / LOCK_FILE).stat().st_ino == os.fstat(file).st_ino
    except OSError:
        is_there = False
    if not is_there:
        raise InputError(f"{folder}: a run has only just ended here: look at it, or choose another --out")
    os.ftruncate(file, 0)
    os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)


def _lock(file: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(file, 200, 0).decode(errors="replace") or "another process"
        raise InputError(f"{folder}: {holder} is running here: wait for it, or choose another --out") from error
