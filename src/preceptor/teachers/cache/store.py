"""The files of a cache together: cells in, cells out, safe against other processes."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64, Shaped
from numpy import ndarray

from preceptor.errors import InputError
from preceptor.teachers.cache.checksum import Checksum
from preceptor.teachers.cache.journal import Journal
from preceptor.teachers.cache.layout import Layout
from preceptor.teachers.cache.lock import locked
from preceptor.teachers.cache.shard import Shard

Cells = Int64[ndarray, " n"]
Records = Shaped[ndarray, " n"]

_BLOCK = 16384
_PAUSES = (0.001, 0.1)


class Store:
    """Records by cell, in a folder.

    Writers take turns and never write a cell twice, so a mark always belongs to the record beside it. Readers take no
    lock: they compare each record with its mark. Of a batch that is added all cells are kept, or none, wherever the
    process is killed (:class:`Journal`).

    Args:
        folder: which exists.
        layout: of the cache.
        seed: of the checksums.

    Raises:
        InputError: a file has the wrong size.
    """

    def __init__(self, folder: Path, layout: Layout, seed: bytes) -> None:
        self.folder, self.layout = folder, layout
        self._record = layout.record
        self._checksum = Checksum(seed, self._record.itemsize)
        self._per_shard = layout.cells_per_shard
        self._journal = Journal(folder, layout.cells, self._record)
        self.shards = [
            Shard(folder / f"shard-{number:05d}.bin", layout.cells_in(number), self._record)
            for number in range(layout.shards)
        ]

    def known(self, cells: Cells) -> Bool[ndarray, " n"]:
        """Which cells are filled; their records are not looked at."""
        result = np.zeros(len(cells), bool)
        for shard, where, inside in self._by_shard(cells):
            if shard.marks is not None:
                result[where] = shard.marks.take(inside) != 0
        return result

    def read(self, cells: Cells) -> tuple[Bool[ndarray, " n"], Records]:
        """Which cells are filled, and the records of all; those of empty cells mean nothing.

        Raises:
            InputError: a record does not match its checksum; file, sample and view are named.
        """
        known, wrong, records = self._read(cells)
        for pause in _PAUSES:
            if not wrong.any():
                return known, records
            time.sleep(pause)  # a record may be met while it is written
            known, wrong, records = self._read(cells)
        raise self.damage(cells[wrong])

    def _read(self, cells: Cells) -> tuple[Bool[ndarray, " n"], Bool[ndarray, " n"], Records]:
        parts = [(where, *shard.read(inside)) for shard, where, inside in self._by_shard(cells)]
        if len(parts) == 1:
            _, marks, records = parts[0]
        else:
            marks, records = np.zeros(len(cells), np.uint32), np.zeros(len(cells), self._record)
            for where, some_marks, some_records in parts:
                marks[where], records[where] = some_marks, some_records
        known = marks != 0
        return known, known & (self._checksum(cells, records) != marks), records

    def add(self, cells: Cells, records: Records) -> None:
        """Fill cells; one that is filled already, by whomever, stays as it is.

        Raises:
            MachineError: the disk is full, the folder cannot be written, or its lock cannot be had.
        """
        cells, first = np.unique(cells, return_index=True)
        records = records[first]
        with locked(self.folder):
            self._finish()
            self._journal.note(cells, records)
            self._write(cells, records)
            self._journal.clear()

    def finish(self) -> None:
        """Keep the rest of a batch in the midst of which a process was killed; nothing where none was.

        Raises:
            MachineError: there is a rest, and it cannot be written.
        """
        if not self._journal.is_empty:
            with locked(self.folder):
                self._finish()

    def _finish(self) -> None:
        begun = self._journal.noted()
        if begun is not None:
            self._write(*begun)
        self._journal.clear()

    def _write(self, cells: Cells, records: Records) -> None:
        marks = self._checksum(cells, records)
        for shard, where, inside in self._by_shard(cells):
            shard.write(inside, records[where], marks[where])

    def forget(self, cells: Cells) -> None:
        """Empty those of the cells, given in rising order, whose record still does not match its mark."""
        with locked(self.folder):
            _, wrong, _ = self._read(cells)
            for shard, _, inside in self._by_shard(cells[wrong]):
                shard.forget(inside)

    def damaged(self, shard: int) -> Iterator[tuple[int, Cells]]:
        """Goes through a shard: how many cells it looked at, and which of these do not match their checksums."""
        if not self.shards[shard].path.exists():  # then nothing was ever written
            yield self.shards[shard].cells, np.empty(0, np.int64)
            return
        for start in range(0, self.shards[shard].cells, _BLOCK):
            stop = min(start + _BLOCK, self.shards[shard].cells)
            cells = np.arange(start, stop, dtype=np.int64) + shard * self._per_shard
            _, wrong, _ = self._read(cells)
            yield stop - start, cells[wrong]

    def filled(self, shard: int) -> Cells:
        """The filled cells of a shard, rising."""
        return self._where(shard, filled=True)

    def empty(self, shard: int) -> Cells:
        """The empty cells of a shard, rising."""
        return self._where(shard, filled=False)

    def count(self) -> int:
        """How many cells are filled."""
        return sum(shard.filled for shard in self.shards)

    def damage(self, cells: Cells) -> InputError:
        """The error for cells whose records do not match their checksums."""
        sample, view = divmod(int(cells[0]), self.layout.views)
        path = self.shards[int(cells[0]) // self._per_shard].path
        more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        return InputError(
            f"{path}: damaged: the record of sample {sample}, view {view}{more} does not match its checksum: "
            "verify the cache with repair, which empties such records, or remove this file; the teacher is asked again"
        )

    def flush(self) -> None:
        """Bring what was written to the disk."""
        for shard in self.shards:
            shard.flush()

    def close(self) -> None:
        """Flush, and let go of the files."""
        for shard in self.shards:
            shard.close()

    def _where(self, shard: int, filled: bool) -> Cells:
        marks = self.shards[shard].marks
        if marks is None:
            marks = np.zeros(self.shards[shard].cells, np.uint32)
        return np.flatnonzero((marks != 0) == filled) + shard * self._per_shard

    def _by_shard(self, cells: Cells) -> Iterator[tuple[Shard, slice | Cells, Cells]]:
        """For each shard that holds some of the cells: which ones, and their numbers within it."""
        if len(self.shards) == 1:
            yield self.shards[0], slice(None), cells
            return
        numbers, inside = np.divmod(cells, self._per_shard)
        for number in np.unique(numbers).tolist():
            where = np.flatnonzero(numbers == number)
            yield self.shards[number], where, inside[where]
