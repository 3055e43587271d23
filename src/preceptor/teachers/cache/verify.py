"""The state of a cache: how full it is, and whether it is undamaged."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from preceptor.teachers.cache.cache import LogitCache
from preceptor.teachers.cache.metadata import CacheKey, Layout
from preceptor.teachers.cache.store import CHECKSUMS_FILE, CHUNK, ENTRIES_FILE


@dataclass(frozen=True)
class Info:
    """The state of a cache.

    Attributes:
        layout: its shape.
        key: what its numbers follow from.
        filled: number of filled entries.
        bytes_used: what its files take on the disk now; holes take nothing.
    """

    layout: Layout
    key: CacheKey
    filled: int
    bytes_used: int

    @property
    def share(self) -> float:
        """Share of the entries that are filled."""
        return self.filled / self.layout.entries


def info(cache: LogitCache) -> Info:
    """The state of a cache; its records are not read."""
    used = sum(_bytes_used((cache.folder / name).stat()) for name in (ENTRIES_FILE, CHECKSUMS_FILE))
    return Info(cache.layout, cache.metadata.key, cache.count, used)


def verify(cache: LogitCache, *, repair: bool = False, progress: Callable[[int, int], None] | None = None) -> int:
    """Compare every record with its checksum.

    Args:
        cache: any.
        repair: empty damaged entries, so that the teacher is queried again, instead of raising.
        progress: called after each chunk with the entries done so far and all there are.

    Returns:
        how many entries were damaged; they are empty now.

    Raises:
        InputError: a damaged record, unless it is to be repaired; the first one is named.
        MachineError: it is to be repaired and the folder cannot be written.
    """
    chunks, entries = [], cache.layout.entries
    for start in range(0, entries, CHUNK):
        chunks.append(cache.store.damaged(start))
        if progress is not None:
            progress(min(start + CHUNK, entries), entries)
    damaged = np.concatenate(chunks)
    if len(damaged) and not repair:
        raise cache.store.damage(damaged)
    if len(damaged):
        cache.store.clear(damaged)
    return len(damaged)


def _bytes_used(stat: os.stat_result) -> int:
    """A file's blocks, or its length where the system does not count blocks."""
    blocks: int | None = getattr(stat, "st_blocks", None)
    return stat.st_size if blocks is None else blocks * 512
