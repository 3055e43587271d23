"""One run at a time in a folder."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from preceptor.errors import InputError, MachineError
from preceptor.training.distributed import rank

LOCK_FILE = ".lock"


@contextmanager
def held(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold a run's folder, made if need be. The system releases it when the process ends, however it ends.

    Of several processes that train together the first holds it for all.

    Args:
        folder: of the run.
        wait: for another process that holds it, for as long as it does. Default False.

    Raises:
        InputError: another process holds it, and is not waited for; it is named. Or the lock is a link.
        MachineError: the folder cannot be written.
    """
    if rank() > 0:
        yield
        return
    path = folder / LOCK_FILE
    lock = FileLock(path, blocking=wait)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise _taken(path) from error
    except OSError as error:
        if path.is_symlink():  # in a folder from somebody else it may lead anywhere
            raise InputError(f"{path}: a link, and a run makes none: remove it") from error
        raise MachineError(f"{folder}: cannot be written: {error.strerror}: choose another --out") from error
    try:
        with suppress(OSError):  # Windows lets nobody write a locked file: then the holder has no name
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        with suppress(OSError):  # while it is held, so that nobody else's lock is removed; Windows keeps the file
            path.unlink()
        lock.release()


def check_unheld(folder: Path) -> None:
    """Make sure that no run is going on in a folder, without making anything there."""
    path = folder / LOCK_FILE
    if not path.is_file() or path.is_symlink():
        return
    try:
        with FileLock(path, blocking=False):
            pass
    except Timeout as error:
        raise _taken(path) from error
    except OSError:  # not ours to open: the writer will be told
        return


def _taken(path: Path) -> InputError:
    holder = "another process"
    with suppress(OSError):
        holder = path.read_text(errors="replace")[:200] or holder
    return InputError(f"{path.parent}: {holder} is running here: wait for it, or choose another --out")
