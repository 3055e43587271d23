"""A checksum for each cell of a cache."""

import hashlib

import numpy as np
from jaxtyping import Int64, Shaped, UInt32
from numpy import ndarray


class Checksum:
    """Multilinear hashing of a cell's number n and the 32-bit words w of its record.

    ``(a_0 + a_1 n + sum_i a_(i+2) w_i mod 2^64) >> 32``, which two different records share with a probability of 2^-32
    (Lemire & Kaser 2014, "Strongly universal string hashing is fast", section 3). It is a few operations on whole
    arrays, where a CRC goes through its bytes one by one. Zero is kept for empty cells.

    Args:
        seed: the keys ``a`` follow from it, so a record brought here from another cache is noticed.
        record_bytes: a multiple of 4.
    """

    def __init__(self, seed: bytes, record_bytes: int) -> None:
        words = record_bytes // 4
        keys = np.frombuffer(hashlib.shake_256(seed).digest(8 * (words + 2)), "<u8").astype(np.uint64)
        self._start, self._for_cell, self._keys = keys[0], keys[1], keys[2:]
        self._words = words

    def __call__(self, cells: Int64[ndarray, " n"], records: Shaped[ndarray, " n"]) -> UInt32[ndarray, " n"]:
        """Checksums above zero of contiguous records."""
        words = records.view("<u4").reshape(len(records), self._words)
        total = words.astype(np.uint64) @ self._keys + self._for_cell * cells.astype(np.uint64) + self._start
        marks: UInt32[ndarray, " n"] = np.maximum(total >> np.uint64(32), 1).astype(np.uint32)
        return marks
