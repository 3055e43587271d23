import hashlib

import numpy as np

from preceptor.teachers.cache.checksum import Checksum


def contents(n: int = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, (n, 3), np.uint32).view("V12").ravel()


def by_hand(seed: bytes, cell: int, words: list[int]) -> int:
    digest = hashlib.shake_256(seed).digest(8 * (len(words) + 2))
    keys = [int.from_bytes(digest[8 * i : 8 * i + 8], "little") for i in range(len(words) + 2)]
    total = keys[0] + keys[1] * cell + sum(key * word for key, word in zip(keys[2:], words, strict=True))
    return max(1, total % 2**64 >> 32)


def test_it_is_the_hash_of_its_formula():
    cells, records = np.arange(50) * 10_000_000, contents()
    sums = Checksum(b"seed", 12)(cells, records)
    words = records.view("<u4").reshape(-1, 3)
    assert sums.tolist() == [by_hand(b"seed", int(cell), row.tolist()) for cell, row in zip(cells, words, strict=True)]


def test_it_stays_as_it_is_between_releases():
    """A cache written by one release is read by the next."""
    sums = Checksum(b"preceptor", 12)(np.arange(3), np.zeros(3, "V12"))
    assert sums.tolist() == [3280966824, 2709777689, 2138588554]


def test_cell_seed_and_every_bit_count():
    cells, records = np.zeros(96, np.int64), np.zeros((96, 12), np.uint8)
    records[np.arange(96), np.arange(96) // 8] = 1 << (np.arange(96) % 8)
    sums = Checksum(b"seed", 12)(cells, records.view("V12").ravel())
    blank = np.zeros(1, "V12")
    plain = Checksum(b"seed", 12)(cells[:1], blank)
    others = [Checksum(b"seed", 12)(cells[:1] + 1, blank), Checksum(b"Seed", 12)(cells[:1], blank)]
    assert len({*sums.tolist(), *plain.tolist(), *np.concatenate(others).tolist()}) == 99
