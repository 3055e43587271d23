"""Looking after a cache: is it whole, does the teacher still say so, how full is it."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy import ndarray
from torch import Tensor

from preceptor.data import Augmentation
from preceptor.errors import InputError
from preceptor.teachers.cache.cache import LogitCache
from preceptor.teachers.cache.layout import Layout
from preceptor.teachers.cache.metadata import CacheKey


@dataclass(frozen=True)
class Verified:
    """What going through a cache found.

    Attributes:
        filled: cells that hold a record which matches its checksum.
        damaged: cells whose record does not; they are empty now.
    """

    filled: int
    damaged: int


@dataclass(frozen=True)
class Info:
    """How a cache stands.

    Attributes:
        layout: its shape.
        fingerprint: what it is of.
        filled: cells that hold a record.
        bytes_used: what its files take on the disk now; holes take nothing.
        bytes_full: what they will take when every cell is filled.
    """

    layout: Layout
    fingerprint: CacheKey
    filled: int
    bytes_used: int
    bytes_full: int

    @property
    def share(self) -> float:
        """Of all cells, how many are filled."""
        return self.filled / self.layout.cells


def info(cache: LogitCache) -> Info:
    """How full a cache is, from its marks alone."""
    layout = cache.layout
    used = sum(_bytes_used(shard.path.stat()) for shard in cache.store.shards if shard.path.exists())
    return Info(layout, cache.card.fingerprint, cache.store.count(), used, layout.cells * layout.cell_bytes)


def verify(cache: LogitCache, *, repair: bool = False, progress: Callable[[int, int], None] | None = None) -> Verified:
    """Compare every record with its checksum.

    Args:
        cache: any.
        repair: empty the cells whose records are damaged, so that the teacher is asked again, instead of raising.
        progress: called now and then with the cells looked at so far and all there are.

    Raises:
        InputError: a damaged record, unless it is to be repaired; the first one is named.
        MachineError: it is to be repaired and the folder cannot be written.
    """
    looked = 0
    damaged = []
    for shard in range(cache.layout.shards):
        for number, wrong in cache.store.damaged(shard):
            looked += number
            damaged.append(wrong)
            if progress is not None:
                progress(looked, cache.layout.cells)
    cells = np.concatenate(damaged)
    if len(cells) and not repair:
        raise cache.store.damage(cells)
    if len(cells):
        cache.store.forget(cells)
    return Verified(cache.store.count(), len(cells))


@torch.no_grad()
def spot_check(
    cache: LogitCache,
    images: UInt8[Tensor, "samples channels height width"],
    rule: Augmentation,
    *,
    cells: int = 64,
    seed: int = 0,
    tolerance: float = 0.01,
) -> float:
    """Ask the teacher again about some filled cells, drawn at random, and compare.

    Args:
        cache: with a live signal.
        images: all training images, 0 to 255, on the device where the teacher runs.
        rule: of the views.
        cells: how many. Default 64.
        seed: of the draw.
        tolerance: how far a class's probability may be off. Default 0.01, ours: more than rounding and the order of
            sums make, less than a wrong view or another teacher does.

    Returns:
        the largest difference of a probability; 0 when no cell is filled.

    Raises:
        InputError: it is above the tolerance (sample and view are named), or the cache has no live signal.
    """
    if cache.live is None:
        raise InputError(f"cache {cache.folder}: no teacher to compare it with: give one")
    chosen = _some_filled(cache, cells, np.random.default_rng(seed))
    if not len(chosen):
        return 0.0
    index, view = (torch.from_numpy(numbers) for numbers in np.divmod(chosen, cache.layout.views))
    shown = rule.apply(images[index.to(images.device)], view.to(images.device))
    now = cache.codec.logits(cache.codec.encode(cache.live.outputs(shown, index, view).logits))
    apart = (now.softmax(dim=1) - cache.lookup(index, view).logits.softmax(dim=1)).abs().amax(dim=1)
    worst = int(apart.argmax())
    if apart[worst] > tolerance:
        raise InputError(
            f"cache {cache.folder}: the teacher now gives a probability that is {float(apart[worst]):.3f} off what was "
            f"kept for sample {int(index[worst])}, view {int(view[worst])}: it is not the teacher, or not the images, "
            "the cache was filled from: remove it and fill it again"
        )
    return float(apart[worst])


def _some_filled(cache: LogitCache, count: int, generator: np.random.Generator) -> Int64[ndarray, " some"]:
    """Up to so many of the filled cells, each as likely as any other."""
    filled = [shard.filled for shard in cache.store.shards]
    ends = np.cumsum(filled)
    ranks = np.sort(generator.choice(ends[-1], min(count, int(ends[-1])), replace=False))
    parts = [
        cache.store.filled(shard)[ranks[(ranks >= end - own) & (ranks < end)] - (end - own)]
        for shard, (own, end) in enumerate(zip(filled, ends.tolist(), strict=True))
    ]
    return np.concatenate(parts)


def _bytes_used(stat: os.stat_result) -> int:
    """A file's blocks, or its length where the system does not count blocks."""
    blocks: int | None = getattr(stat, "st_blocks", None)
    return stat.st_size if blocks is None else blocks * 512
