"""What is about to be written to a cache, noted first: a process that is killed meanwhile leaves no batch half kept.

A teacher asked again about the half that is missing would answer in a smaller batch, whose sums a processor may take in
another order; a run that goes on would then not end in the same bits.
"""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Int64, Shaped
from numpy import ndarray

from preceptor.errors import MachineError
from preceptor.teachers.cache.lock import NO_LINK

JOURNAL_FILE = ".adding"

MOST_BYTES = 2**28
"""Of a batch that is noted; the records of a larger one are kept cell by cell."""

Cells = Int64[ndarray, " n"]
Records = Shaped[ndarray, " n"]

_HEAD = np.dtype([("count", "<u8"), ("checksum", "<u8")])


class Journal:
    """The last batch that was begun. Call everything under the cache's lock.

    Args:
        folder: of the cache.
        cells: how many the cache has.
        record: type of a record.
    """

    def __init__(self, folder: Path, cells: int, record: np.dtype[Any]) -> None:
        self.path = folder / JOURNAL_FILE
        self._cells, self._record = cells, record
        self._each = 8 + record.itemsize

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to finish. True of every cache that nobody is writing to."""
        try:
            return self.path.lstat().st_size == 0
        except FileNotFoundError:
            return True

    def note(self, cells: Cells, records: Records) -> None:
        """Write down what is about to be kept.

        Raises:
            MachineError: the disk is full, or the folder cannot be written.
        """
        if len(cells) * self._each > MOST_BYTES:
            return
        content = cells.astype("<i8").tobytes() + records.tobytes()
        head = np.array((len(cells), zlib.crc32(content)), _HEAD).tobytes()
        with self._opened(os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "wb") as file:
            file.write(head + content)

    def noted(self) -> tuple[Cells, Records] | None:
        """What was begun; None where nothing was, or where writing it down was not finished either."""
        if self.is_empty:
            return None
        with self._opened(os.O_RDONLY, "rb") as file:
            head, body = file.read(_HEAD.itemsize), file.read(MOST_BYTES + 1)
        count, checksum = np.frombuffer(head.ljust(_HEAD.itemsize, b"\0"), _HEAD)[0].tolist()
        if len(body) != count * self._each or zlib.crc32(body) != checksum:
            return None
        cells = np.frombuffer(body[: 8 * count], "<i8").astype(np.int64)
        can_be = bool((np.diff(cells, prepend=-1) > 0).all() and (cells < self._cells).all())
        return (cells, np.frombuffer(body[8 * count :], self._record)) if can_be else None

    def clear(self) -> None:
        """All of it is kept."""
        if not self.is_empty:
            with self._opened(os.O_WRONLY | os.O_TRUNC, "wb"):
                pass

    @contextmanager
    def _opened(self, flags: int, mode: str) -> Iterator[IO[bytes]]:
        try:
            with os.fdopen(os.open(self.path, flags | NO_LINK, 0o666), mode) as file:
                yield file
        except OSError as error:
            raise MachineError(
                f"{self.path}: cannot be written: {error.strerror}: make room or give a cache in another folder; "
                "what it holds is kept"
            ) from error
