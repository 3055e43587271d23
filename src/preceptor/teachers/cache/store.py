"""The entries of a cache in two local files, mapped for reading."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from itertools import pairwise
from pathlib import Path
from shutil import disk_usage
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from preceptor.errors import InputError, MachineError
from preceptor.teachers.cache.locks import Part, locked, owned_parts, part_lock, unwritable
from preceptor.teachers.cache.metadata import Layout
from preceptor.teachers.cache.reader import CHECKSUMS_FILE, ENTRIES_FILE, Entries, EntryReader, Records

SPARE_BYTES = 2**24
"""Left free on the disk for everything else."""


class EntryStore(EntryReader):
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

    remedy: ClassVar[str] = "run preceptor cache --verify --repair, which empties such entries, or remove the cache"

    def __init__(self, folder: Path, layout: Layout, seed: bytes) -> None:
        self.folder = folder
        self._owns_part = self._written = False
        # Plain views: indexing np.memmap itself pays for a subclass at every call.
        records, checksums = (
            np.asarray(_mapped(folder / name, dtype, layout.entries)) for name, dtype in _files(layout)
        )
        super().__init__(str(folder), layout, seed, records, checksums)

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
                raise unwritable(self.folder, error) from error
            self._written = False

    def close(self) -> None:
        """Flush, and let go of the files."""
        self.flush()
        super().close()

    @contextmanager
    def owning(self, part: Part) -> Iterator[None]:
        """Own a part: this store then writes its entries without the cache's lock, as others write theirs.

        Meanwhile nobody else may write: no owner of the same part, nor of parts of another number, nor a writer under
        the cache's lock. So no two processes ever write the same bytes.

        Raises:
            MachineError: another process does one of these, or the folder cannot be written.
        """
        lock = part_lock(self.folder, part)
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
            raise unwritable(self.folder, error) from error


def _write_all(file: FileIO, content: memoryview) -> None:
    """A disk that is nearly full takes less than it is given, and only the next write fails."""
    while content:
        content = content[file.write(content) :]


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
