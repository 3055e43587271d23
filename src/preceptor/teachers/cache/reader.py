"""Reading the entries of a cache: the records, and a checksum for each, zero while it is empty."""

import hashlib
import time
from typing import ClassVar, Protocol

import numpy as np
from jaxtyping import Bool, Int64, Shaped, UInt32
from numpy import ndarray

from preceptor.errors import InputError
from preceptor.teachers.cache.metadata import Layout

ENTRIES_FILE = "entries.bin"
CHECKSUMS_FILE = "checksums.bin"

CHUNK = 2**14
"""Entries looked at together where all of a cache is gone through, so that memory stays bounded."""

Entries = Int64[ndarray, " n"]
Records = Shaped[ndarray, " n"]


class Rows(Protocol):
    """Records in memory, mapped or remote."""

    def __getitem__(self, entries: Entries, /) -> Records: ...


class EntryReader:
    """Records by entry number, each with a checksum that is zero while the entry is empty.

    Args:
        place: of the cache, for messages.
        layout: of the cache.
        seed: of the checksums.
        records: of all entries.
        checksums: of all entries.
    """

    remedy: ClassVar[str] = "copy the cache again"
    """Against damage."""

    def __init__(
        self, place: str, layout: Layout, seed: bytes, records: Rows, checksums: UInt32[ndarray, " entries"]
    ) -> None:
        self.place, self.layout = place, layout
        self._records, self._checksums = records, checksums
        words = layout.record.itemsize // 4
        self._keys = np.frombuffer(hashlib.shake_256(seed).digest(8 * (words + 2)), "<u8").astype(np.uint64)

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

    def damage(self, entries: Entries) -> InputError:
        """The error for entries whose records do not match their checksums."""
        sample, view = divmod(int(entries[0]), self.layout.views)
        more = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
        return InputError(
            f"{self.place}/{ENTRIES_FILE}: damaged: the record of sample {sample}, view {view}{more} does not match "
            f"its checksum: {self.remedy}"
        )

    def close(self) -> None:
        """Let go of the records; the store cannot be used after that, only closed once more."""
        self._records = self._checksums = np.empty(0, "<u4")

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
