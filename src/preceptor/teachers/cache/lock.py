"""A lock between processes, for the few microseconds in which a cache is written."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preceptor.errors import MachineError

LOCK_FILE = ".lock"

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""Opening a link is an error: in a cache from somebody else it may lead anywhere."""

LOCK_SECONDS = 60.0
"""How long to wait for it. Nobody holds it for more than the writing of one batch."""

_PAUSE = 0.001


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the system lets go of it when the process ends, however it ends.

    It is ``flock`` on a file opened anew each time, so it holds between threads and after a fork as well. The package
    filelock does the same; a lock and its release take it 200 microseconds, and these 7.

    Raises:
        MachineError: the folder cannot be written, another process does not let go, or the system has no such
            locks.
    """
    file = _opened(folder / LOCK_FILE)
    try:
        _wait_for(file, folder)
        yield
    finally:
        os.close(file)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
    except OSError as error:
        raise MachineError(
            f"{path.parent}: cannot be written: {error.strerror}: make the cache's folder writable, or fill the cache "
            "before it becomes read-only"
        ) from error


def _wait_for(file: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError as error:
        raise MachineError("a cache is written under POSIX file locks, which this system lacks") from error
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise MachineError(
                    f"{folder}: another process has held the cache's lock for {LOCK_SECONDS:.0f} s: end it, try again"
                ) from error
        except OSError as error:
            raise MachineError(
                f"{folder}: cannot be locked: {error.strerror}: choose a folder on another disk"
            ) from error
        time.sleep(_PAUSE)
