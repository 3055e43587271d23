"""Who may write to a cache: one process at a time under its lock, or several at once, each with a part of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from preceptor.errors import InputError, MachineError

LOCK_FILE = ".lock"
PART_LOCKS = ".part-"
"""First characters of the lock files of parts."""

LOCK_SECONDS = 60.0
"""How long a writer waits. Nobody holds the lock for longer than it takes to write one batch."""


class Part(NamedTuple):
    """A share of the filling of a cache: chunk ``number`` and every ``total``-th after it.

    Attributes:
        number: of the part, from 0.
        total: how many parts there are.
    """

    number: int
    total: int

    @staticmethod
    def parse(text: str) -> "Part":
        """The part written ``I/N``.

        Raises:
            InputError: it is not written so, or I is not below N.
        """
        number, _, total = text.partition("/")
        if not (number.isdecimal() and total.isdecimal() and int(number) < int(total)):
            raise InputError(f"part {text!r}: expected I/N with I from 0 to N - 1, such as 0/4")
        return Part(int(number), int(total))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a cache's lock; the system lets go of it when the process ends, however it ends.

    Raises:
        MachineError: the folder cannot be written, or another process does not let go.
    """
    try:
        # A lock made anew also keeps out other threads, and forked processes.
        with FileLock(folder / LOCK_FILE, timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise MachineError(
            f"{folder}: another process has held the cache's lock for {LOCK_SECONDS:.0f} s: end it, try again"
        ) from error
    except (OSError, NotImplementedError) as error:  # the latter where a file system knows no locks
        raise unwritable(folder, error) from error


def owned_parts(folder: Path) -> list[Part]:
    """The parts that processes are filling now. To be called under the cache's lock."""
    names = [
        path.stem.removeprefix(PART_LOCKS).partition("-of-") for path in sorted(folder.glob(f"{PART_LOCKS}*.lock"))
    ]
    parts = [Part(int(number), int(total)) for number, _, total in names if number.isdecimal() and total.isdecimal()]
    return [part for part in parts if not _is_free(part_lock(folder, part))]


def part_lock(folder: Path, part: Part) -> FileLock:
    """The lock that the owner of a part holds; nobody waits for it."""
    return FileLock(folder / f"{PART_LOCKS}{part.number}-of-{part.total}.lock", timeout=0)


def _is_free(lock: FileLock) -> bool:
    try:
        with lock:
            return True
    except Timeout:
        return False


def unwritable(folder: Path, error: Exception) -> MachineError:
    """The error for a folder that cannot be written."""
    reason = getattr(error, "strerror", None) or str(error)
    return MachineError(f"{folder}: cannot be written: {reason}: make it writable, or give a cache in another folder")
