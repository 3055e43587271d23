"""The entries of a cache in two mapped files: the records, and a checksum for each, zero while it is empty."""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from itertools import pairwise
from pathlib import Path
from shutil import disk_usage
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import Bool, Int64, Shaped, UInt32
from numpy import ndarray

from preceptor.errors import InputError, MachineError
from preceptor.teachers.cache.metadata import Layout

ENTRIES_FILE = "entries.bin"
CHECKSUMS_FILE = "checksums.bin"
LOCK_FILE = ".lock"
PART_LOCKS = ".part-"
"""First characters of the lock files of parts."""

CHUNK = 2**14
"""Entries looked at together where all of a cache is gone through, so that memory stays bounded."""

LOCK_SECONDS = 60.0
"""How long a writer waits. Nobody holds the lock for longer than it takes to write one batch."""

SPARE_BYTES = 2**24
"""Left free on the disk for everything else."""

Entries = Int64[ndarray, " n"]
Records = Shaped[ndarray, " n"]


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


class EntryStore:
    """Records by entry number, safe against other processes of the same machine.

    An entry has bytes of its own in both files and is never changed once it is filled. Writers take turns under a file
    lock, or each owns a part of the entries (:meth:`owning`) and takes none. A record is written before its checksum: a
    process killed in between leaves the entry empty. What a power failure tears, the checksum finds. Readers take no
    lock.

    Args:
        folder: holds the files made by :func:`create_files`.
        layout: of the cache.
        seed: of the checksums.

    Raises:
        InputError: a file is missing, a link, or of another size than the layout says.
    """

    def __init__(self, folder: Path, layout: Layout, seed: bytes) -> None:
        self.folder, self.layout = folder, layout
        words = layout.record.itemsize // 4
        self._keys = np.frombuffer(hashlib.shake_256(seed).digest(8 * (words + 2)), "<u8").astype(np.uint64)
        self._mapped: list[np.memmap[Any, Any]] = []
        self._owns_part = self._written = False
        self._map()

    @property
    def count(self) -> int:
        """Number of filled entries."""
        return int(np.count_nonzero(self._checksums))

    def is_filled(self, entries: Entries) -> Bool[ndarray, " n"]:
        """Which entries are filled; their records are not read."""
        filled: Bool[ndarray, " n"] = self._checksums[entries] != 0
        return filled

    def chunk(self, start: int, size: int | None = None, *, filled: bool) -> Entries:
        """The filled or the empty entries among ``size`` (default ``CHUNK``) from ``start`` on, ascending."""
        return np.flatnonzero((self._checksums[start : start + (size or CHUNK)] != 0) == filled) + start

    def read(self, entries: Entries) -> tuple[Bool[ndarray, " n"], Records]:
        """Which entries are filled, and the records of all; those of empty entries mean nothing.

        Raises:
            InputError: a record does not match its checksum; sample and view are named.
        """
        known, wrong, records = self._compare(entries)
        if wrong.any():
            # Another core may show a checksum before the record it follows: look again before calling it damage.
            time.sleep(0.01)
            known, wrong, records = self._compare(entries)
        if wrong.any():
            raise self.damage(entries[wrong])
        return known, records

    def damaged(self, entries: Entries) -> Entries:
        """Those of the entries whose records do not match their checksums."""
        damaged: Entries = entries[self._compare(entries)[1]]
        return damaged

    def add(self, entries: Entries, records: Records) -> None:
        """Fill entries; one that is filled already, by whichever process, stays as it is.

        Raises:
            MachineError: the disk is full, the folder cannot be written, or its lock cannot be had.
        """
        entries, first = np.unique(entries, return_index=True)
        with self._writing():
            self.check_room(len(entries))
            is_empty = self._checksums[entries] == 0
            entries, records = entries[is_empty], records[first][is_empty]
            self._write(ENTRIES_FILE, entries, records)
            # Last, for this marks them as filled.
            self._write(CHECKSUMS_FILE, entries, self._checksum(entries, records))

    def check_room(self, entries: int) -> None:
        """Make sure that the disk has room for so many more entries.

        Raises:
            MachineError: it has not.
        """
        needed, free = entries * self.layout.entry_bytes + SPARE_BYTES, disk_usage(self.folder).free
        if entries and needed > free:
            raise MachineError(
                f"{self.folder}: {needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free: make room, use "
                "another disk, or keep the largest logits only (--top-k); what the cache holds stays"
            )

    def clear(self, entries: Entries) -> None:
        """Empty those of the entries that still do not match their checksums.

        Raises:
            MachineError: the folder cannot be written, or its lock cannot be had.
        """
        with self._writing():
            damaged = self.damaged(entries)
            self._write(CHECKSUMS_FILE, damaged, np.zeros(len(damaged), "<u4"))

    def damage(self, entries: Entries) -> InputError:
        """The error for entries whose records do not match their checksums."""
        sample, view = divmod(int(entries[0]), self.layout.views)
        more = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
        return InputError(
            f"{self.folder / ENTRIES_FILE}: damaged: the record of sample {sample}, view {view}{more} does not match "
            "its checksum: run preceptor cache --verify --repair, which empties such entries, or remove the cache"
        )

    def flush(self) -> None:
        """Bring what was written to the disk; what is written survives the end of this process in any case.

        Raises:
            MachineError: the disk refuses.
        """
        if self._written:
            try:
                for name in (ENTRIES_FILE, CHECKSUMS_FILE):
                    with (self.folder / name).open("r+b") as file:
                        os.fsync(file.fileno())
            except OSError as error:
                raise _unwritable(self.folder, error) from error
            self._written = False

    def close(self) -> None:
        """Flush, and let go of the files; the store cannot be used after that, only closed once more."""
        if self._mapped:
            self.flush()
            self._mapped = []
            del self._records, self._checksums

    @contextmanager
    def owning(self, part: Part) -> Iterator[None]:
        """Own a part: this store then writes its entries without the cache's lock, as others write theirs.

        Meanwhile nobody else may write: no owner of the same part, nor of parts of another number, nor a writer under
        the cache's lock. So no two processes ever write the same bytes.

        Raises:
            MachineError: another process does one of these, or the folder cannot be written.
        """
        lock = _part_lock(self.folder, part)
        with locked(self.folder):  # nobody is writing now, and nobody begins
            others = [one for one in owned_parts(self.folder) if one == part or one.total != part.total]
            if others:
                raise MachineError(
                    f"{self.folder}: another process is filling part {others[0]} of this cache: let it end, or end it, "
                    f"then fill part {part} again"
                )
            lock.acquire()
        self._owns_part = True
        try:
            yield
        finally:
            self._owns_part = False
            lock.release()

    def _map(self) -> None:
        self._mapped = [_mapped(self.folder / name, dtype, self.layout.entries) for name, dtype in _files(self.layout)]
        # Plain views: indexing np.memmap itself pays for a subclass at every call.
        self._records: Records = np.asarray(self._mapped[0])
        self._checksums: UInt32[ndarray, " entries"] = np.asarray(self._mapped[1])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the folder's lock, unless a part is owned."""
        if self._owns_part:
            yield
            return
        with locked(self.folder):
            owned = owned_parts(self.folder)
            if owned:
                raise MachineError(
                    f"{self.folder}: another process is filling part {owned[0]} of this cache, and until it ends "
                    "nobody else adds to it: wait for it, then go on (preceptor resume, or the same command)"
                )
            yield

    def _write(self, name: str, entries: Entries, rows: Shaped[ndarray, " n"]) -> None:
        """Write the rows of ascending entries, neighbors in one piece.

        Not through a mapping: that writes whole pages, and on a file system that several machines share a page may hold
        another's entries too; and where it finds no room, it ends the process.
        """
        self._written = True
        starts = np.flatnonzero(np.diff(entries, prepend=-2) != 1)
        content, size = rows.tobytes(), rows.itemsize
        try:
            with (self.folder / name).open("r+b", buffering=0) as file:
                for start, end in pairwise([*starts.tolist(), len(entries)]):
                    file.seek(int(entries[start]) * size)
                    _write_all(file, memoryview(content)[start * size : end * size])
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def _compare(self, entries: Entries) -> tuple[Bool[ndarray, " n"], Bool[ndarray, " n"], Records]:
        """Which entries are filled, which of these are damaged, and the records."""
        checksums = self._checksums[entries]  # before the records, which are written first
        records = self._records[entries]
        known = checksums != 0
        return known, known & (self._checksum(entries, records) != checksums), records

    def _checksum(self, entries: Entries, records: Records) -> UInt32[ndarray, " n"]:
        """Multilinear hashing of an entry's number n and the 32-bit words w of its record; never 0, which is "empty".

        ``(a_0 + a_1 n + sum_i a_(i+2) w_i mod 2^64) >> 32``, which two different records share with a probability of
        2^-32 (Lemire & Kaser 2014, "Strongly universal string hashing is fast", section 3). One matrix product, where
        ``zlib.crc32`` in a loop takes four times as long. The number n makes a record in another's place stand out.
        """
        words = records.view("<u4").reshape(len(records), len(self._keys) - 2)
        total = words.astype(np.uint64) @ self._keys[2:] + self._keys[1] * entries.astype(np.uint64) + self._keys[0]
        checksums: UInt32[ndarray, " n"] = np.maximum(total >> np.uint64(32), 1).astype(np.uint32)
        return checksums


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
        raise _unwritable(folder, error) from error


def owned_parts(folder: Path) -> list[Part]:
    """The parts that processes are filling now. To be called under the cache's lock."""
    names = [
        path.stem.removeprefix(PART_LOCKS).partition("-of-") for path in sorted(folder.glob(f"{PART_LOCKS}*.lock"))
    ]
    parts = [Part(int(number), int(total)) for number, _, total in names if number.isdecimal() and total.isdecimal()]
    return [part for part in parts if not _is_free(_part_lock(folder, part))]


def _part_lock(folder: Path, part: Part) -> FileLock:
    return FileLock(folder / f"{PART_LOCKS}{part.number}-of-{part.total}.lock", timeout=0)


def _is_free(lock: FileLock) -> bool:
    try:
        with lock:
            return True
    except Timeout:
        return False


def _write_all(file: FileIO, content: memoryview) -> None:
    """A disk that is nearly full takes less than it is given, and only the next write fails."""
    while content:
        content = content[file.write(content) :]


def _unwritable(folder: Path, error: Exception) -> MachineError:
    reason = getattr(error, "strerror", None) or str(error)
    return MachineError(f"{folder}: cannot be written: {reason}: make it writable, or give a cache in another folder")


def create_files(folder: Path, layout: Layout) -> None:
    """Make the files of an empty cache. Where the file system knows holes, they take no room until they are filled.

    Raises:
        MachineError: they cannot be made.
    """
    for name, dtype in _files(layout):
        path = folder / name
        try:
            with path.open("xb") as file:  # never over a file of somebody else, nor through a link
                file.truncate(layout.entries * dtype.itemsize)
        except OSError as error:
            raise MachineError(
                f"{path}: cannot be made: {error.strerror}: choose another folder, or remove it"
            ) from error


def _files(layout: Layout) -> list[tuple[str, np.dtype[Any]]]:
    return [(ENTRIES_FILE, layout.record), (CHECKSUMS_FILE, np.dtype("<u4"))]


def _mapped(path: Path, dtype: np.dtype[Any], entries: int) -> "np.memmap[Any, Any]":
    expected = entries * dtype.itemsize
    if path.is_symlink():  # in a cache from somebody else it may lead anywhere
        raise InputError(f"{path}: is a link; expected a file of {expected} bytes: remove the cache and fill it again")
    size = path.stat().st_size if path.is_file() else 0
    if size != expected:
        raise InputError(f"{path}: damaged: {size} bytes, expected {expected}: remove the cache and fill it again")
    try:
        return np.memmap(path, dtype, mode="r", shape=(entries,))
    except OSError as error:
        raise MachineError(f"{path}: cannot be opened: {error.strerror}: make it readable") from error
