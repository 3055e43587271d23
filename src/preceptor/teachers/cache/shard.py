"""One file of a cache: a mark for each cell, then a record for each."""

import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped, UInt32
from numpy import ndarray

from preceptor.errors import InputError, MachineError
from preceptor.teachers.cache.layout import MARK_BYTES

Marks = UInt32[ndarray, " n"]
Cells = Int64[ndarray, " n"]
"""Cells of the shard, counted from its first."""


class Shard:
    """Reads through a memory map, writes through the file.

    A write into the hole of a mapped file ends the process when the disk is full; a write to the file is an error that
    can be told. Both go through the same pages, so a reader in another process of this machine sees what is written
    at once. A mark is written after its record, so that a process killed in between leaves an empty cell.

    Args:
        path: the file, which need not exist yet: then all cells are empty.
        cells: how many it has.
        record: type of a record.

    Raises:
        InputError: the file has another size than it was made with, or is a link.
    """

    def __init__(self, path: Path, cells: int, record: np.dtype[Any]) -> None:
        self.path, self.cells, self.record = path, cells, record
        self.bytes = cells * (MARK_BYTES + record.itemsize)
        self._map: tuple[Marks, Shaped[ndarray, " cells"]] | None = None
        self._file: int | None = None
        self._let_go: Callable[[], object] = _nothing
        if path.is_symlink():
            raise InputError(f"{path}: a link, and a cache has none: put what it leads to there, or remove it")
        if path.exists():
            self._check_size()

    @property
    def marks(self) -> Marks | None:
        """The marks of all cells, as they are on the disk now; None while there is no file."""
        mapped = self._mapped()
        return None if mapped is None else mapped[0]

    @property
    def filled(self) -> int:
        """How many cells are filled."""
        marks = self.marks
        return 0 if marks is None else int(np.count_nonzero(marks))

    def read(self, cells: Cells) -> tuple[Marks, Shaped[ndarray, " n"]]:
        """Marks and records of some cells, copied; zeros where nothing was ever written."""
        mapped = self._mapped()
        if mapped is None:
            return np.zeros(len(cells), np.uint32), np.zeros(len(cells), self.record)
        marks, records = mapped
        return marks.take(cells), records.take(cells)

    def write(self, cells: Cells, records: Shaped[ndarray, " n"], marks: Marks) -> None:
        """Fill cells, given in rising order; one that is filled already stays as it is. Call under the cache's lock.

        Raises:
            MachineError: the disk is full, or the folder cannot be written.
        """
        present = self.marks
        if present is not None:
            empty = present.take(cells) == 0
            cells, records, marks = cells[empty], records[empty], marks[empty]
        try:
            file = self._opened()
            _write_runs(file, self.cells * MARK_BYTES, cells, records)
            _write_runs(file, 0, cells, marks)
        except OSError as error:
            raise self._unwritable(error) from error

    def forget(self, cells: Cells) -> None:
        """Empty cells, given in rising order. Call under the cache's lock.

        Raises:
            MachineError: the file cannot be written.
        """
        try:
            _write_runs(self._opened(), 0, cells, np.zeros(len(cells), np.uint32))
        except OSError as error:
            raise self._unwritable(error) from error

    def flush(self) -> None:
        """Bring what was written through this object to the disk.

        Raises:
            MachineError: the disk refuses.
        """
        if self._file is not None:
            try:
                os.fsync(self._file)
            except OSError as error:
                raise self._unwritable(error) from error

    def close(self) -> None:
        """Flush, and let go of the file."""
        self.flush()
        self._let_go()
        self._file = self._map = None

    def _mapped(self) -> tuple[Marks, Shaped[ndarray, " cells"]] | None:
        if self._map is None and self.path.exists():
            self._check_size()
            try:
                raw = np.asarray(np.memmap(self.path, np.uint8, mode="r"))
            except OSError as error:
                raise MachineError(f"{self.path}: cannot be read: {error.strerror}") from error
            split = self.cells * MARK_BYTES
            self._map = raw[:split].view("<u4"), raw[split:].view(self.record)
        return self._map

    def _opened(self) -> int:
        if self._file is None:
            if not self.path.exists():
                self._create()
            self._file = os.open(self.path, os.O_RDWR)
            self._let_go = weakref.finalize(self, os.close, self._file)
        return self._file

    def _create(self) -> None:
        """A file of holes, which take no room until they are written."""
        part = self.path.with_suffix(".part")
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            file.truncate(self.bytes)
        part.replace(self.path)

    def _check_size(self) -> None:
        size = self.path.stat().st_size
        if size != self.bytes:
            raise InputError(
                f"{self.path}: damaged: {size} bytes instead of {self.bytes}: remove this file; "
                "the teacher is asked again for what it held"
            )

    def _unwritable(self, error: OSError) -> MachineError:
        return MachineError(
            f"{self.path}: cannot be written: {error.strerror}: make room or give a cache in another folder; "
            "what it holds is kept"
        )


def _nothing() -> None:
    """What it takes to let go of a file that was never opened."""


def _write_runs(file: int, offset: int, cells: Cells, values: Shaped[ndarray, " n"]) -> None:
    """Write values to their cells, neighbours together."""
    size, content = values.dtype.itemsize, values.tobytes()
    for start, stop in _runs(cells):
        _write_all(file, content[start * size : stop * size], offset + int(cells[start]) * size)


def _runs(cells: Cells) -> Iterator[tuple[int, int]]:
    """Where neighbouring cells start and stop in a rising list."""
    if len(cells):
        breaks = (np.flatnonzero(np.diff(cells) != 1) + 1).tolist()
        yield from zip([0, *breaks], [*breaks, len(cells)], strict=True)


def _write_all(file: int, content: bytes, offset: int) -> None:
    """A write may take a part; on a full disk it takes what fits, and the next one fails."""
    written = os.pwrite(file, content, offset)
    while written < len(content):
        written += os.pwrite(file, content[written:], offset + written)
