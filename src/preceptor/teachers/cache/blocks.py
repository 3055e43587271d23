"""Reading the entries of a cache at a URL by ranges of bytes."""

from collections import OrderedDict
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped
from numpy import ndarray

from preceptor.errors import InputError
from preceptor.teachers.cache.metadata import Layout
from preceptor.teachers.cache.reader import CHECKSUMS_FILE, ENTRIES_FILE, EntryReader
from preceptor.teachers.cache.remote import RemoteFolder

BLOCK = 2**16
"""Bytes that are read at least: to wait for an answer takes longer than to receive so many."""

LONGEST = 2**7
"""Blocks of one request at most, 8 MiB. An object store answers several at once."""

KEPT = 2**12
"""Blocks that stay in memory, 256 MiB: a cache that is no larger is read once."""

AT_A_TIME = 2**9
"""Blocks looked at together, 32 MiB."""


class RemoteRecords:
    """The records in a remote file by entry number, read in blocks, of which the latest stay in memory.

    Args:
        folder: holds the file.
        name: of the file.
        record: type of a record.
        entries: how many there are.

    Raises:
        InputError: the file is of another size.
    """

    def __init__(self, folder: RemoteFolder, name: str, record: np.dtype[Any], entries: int) -> None:
        self._folder, self._name, self._record = folder, name, record
        self._bytes = entries * record.itemsize
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        _check_size(folder, name, folder.size(name), self._bytes)

    def __getitem__(self, entries: Int64[ndarray, " n"]) -> Shaped[ndarray, " n"]:
        records = np.empty(len(entries), self._record)
        order = np.argsort(entries)  # so that neighbors are read together
        step = max(1, AT_A_TIME // (2 + self._record.itemsize // BLOCK))
        for start in range(0, len(order), step):
            part = order[start : start + step]
            records[part] = self._read(entries[part])
        return records

    def _read(self, entries: Int64[ndarray, " n"]) -> Shaped[ndarray, " n"]:
        """The records of ascending entries."""
        size = self._record.itemsize
        starts = entries * size
        first, last = starts // BLOCK, (starts + size - 1) // BLOCK
        steps = np.arange(int((last - first).max()) + 1)
        needed = np.unique(np.minimum(first[:, None] + steps, last[:, None]))
        content = memoryview(b"".join(self._held(needed.tolist())))
        # All blocks of a record are needed, so they lie side by side in the content.
        places = np.searchsorted(needed, first) * BLOCK + starts % BLOCK
        return np.frombuffer(b"".join(content[place : place + size] for place in places.tolist()), self._record)

    def _held(self, needed: list[int]) -> list[bytes]:
        """The content of ascending blocks; the missing ones are read, neighbors in one request."""
        blocks = {number: self._blocks[number] for number in needed if number in self._blocks}
        runs: list[list[int]] = []
        for number in (number for number in needed if number not in blocks):
            if runs and runs[-1][-1] == number - 1 and len(runs[-1]) < LONGEST:
                runs[-1].append(number)
            else:
                runs.append([number])
        starts = [run[0] * BLOCK for run in runs]
        ends = [min((run[-1] + 1) * BLOCK, self._bytes) for run in runs]
        for run, content in zip(runs, self._folder.ranges(self._name, starts, ends) if runs else [], strict=True):
            blocks |= {number: content[i * BLOCK : (i + 1) * BLOCK] for i, number in enumerate(run)}
        for number in needed:
            self._blocks[number] = blocks[number]
            self._blocks.move_to_end(number)
        while len(self._blocks) > KEPT:
            self._blocks.popitem(last=False)
        return [blocks[number] for number in needed]


def remote_entries(url: str, layout: Layout, seed: bytes) -> EntryReader:
    """The entries of a cache at a URL. The checksums are read at once, 4 bytes an entry; records when looked up.

    Raises:
        InputError: a file is missing, or of another size than the layout says.
        MachineError: a package is missing, or the store cannot be reached.
    """
    folder = RemoteFolder(url)
    content = folder.read(CHECKSUMS_FILE)
    _check_size(folder, CHECKSUMS_FILE, len(content), 4 * layout.entries)
    records = RemoteRecords(folder, ENTRIES_FILE, layout.record, layout.entries)
    return EntryReader(url, layout, seed, records, np.frombuffer(content, "<u4"))


def _check_size(folder: RemoteFolder, name: str, size: int, expected: int) -> None:
    """Refuse a file of another size than its layout says."""
    if size != expected:
        raise InputError(
            f"{folder.url}/{name}: damaged: {size} bytes, expected {expected}: remove it and copy the cache again"
        )
