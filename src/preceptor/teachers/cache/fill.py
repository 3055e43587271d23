"""Filling a cache ahead of training."""

import shutil
from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64, UInt8
from numpy import ndarray
from torch import Tensor

from preceptor.data import Augmentation
from preceptor.errors import InputError, MachineError
from preceptor.teachers.cache.cache import LogitCache


def fill(
    cache: LogitCache,
    images: UInt8[Tensor, "samples channels height width"],
    rule: Augmentation,
    *,
    positions: Int[Tensor, " some"] | None = None,
    batch_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Ask the cache's live signal for every cell that is still empty. It may be stopped at any time and called again.

    Several processes may fill one cache: each goes through it in an order of its own and passes over what another has
    filled meanwhile, so they hardly ever do the same work.

    Args:
        cache: with a live signal.
        images: all training images, 0 to 255, on the device where the teacher runs.
        rule: of the views.
        positions: fill the views of these samples only; None is all.
        batch_size: images the teacher is asked about at a time. Default 256.
        progress: called after each batch with the cells done so far and those there were to do.

    Returns:
        how many cells it filled itself.

    Raises:
        InputError: images or rule do not fit the cache, or as by :meth:`LogitCache.learn`.
        MachineError: the disk has less room than what is missing takes (said before any work), or is full.
    """
    _check_fit(cache, images, rule)
    wanted = _wanted(cache, positions)
    total = sum(len(_empty(cache, wanted, shard)) for shard in range(cache.layout.shards))
    _check_room(cache, total)
    done = asked = 0
    for cells in _batches(cache, wanted, batch_size):
        empty = cells[~cache.store.known(cells)]
        if len(empty):
            _ask(cache, images, rule, empty)
        asked += len(empty)
        done += len(cells)
        if progress is not None:
            progress(min(done, total), total)
    cache.flush()
    return asked


def _ask(cache: LogitCache, images: Tensor, rule: Augmentation, cells: Int64[ndarray, " n"]) -> None:
    index, view = (torch.from_numpy(numbers) for numbers in np.divmod(cells, cache.layout.views))
    shown = rule.apply(images[index.to(images.device)], view.to(images.device))
    cache.learn(shown, index, view)


def _batches(cache: LogitCache, wanted: Bool[ndarray, " samples"], batch_size: int) -> Iterator[Int64[ndarray, " n"]]:
    """The empty cells in batches of neighbours, the batches in an order that no other process has.

    The order changes no number, so it needs no seed.
    """
    order = np.random.default_rng()
    for shard in order.permutation(cache.layout.shards).tolist():
        cells = _empty(cache, wanted, shard)
        for start in order.permutation(np.arange(0, len(cells), batch_size)).tolist():
            yield cells[start : start + batch_size]


def _empty(cache: LogitCache, wanted: Bool[ndarray, " samples"], shard: int) -> Int64[ndarray, " n"]:
    cells = cache.store.empty(shard)
    return cells if wanted.all() else cells[wanted[cells // cache.layout.views]]


def _wanted(cache: LogitCache, positions: Int[Tensor, " some"] | None) -> Bool[ndarray, " samples"]:
    wanted = np.full(cache.layout.samples, positions is None)
    if positions is not None:
        wanted[positions.cpu().numpy()] = True
    return wanted


def _check_fit(cache: LogitCache, images: Tensor, rule: Augmentation) -> None:
    if len(images) != cache.layout.samples or rule.count != cache.layout.views:
        raise InputError(
            f"cache {cache.folder}: is for {cache.layout.samples} samples of {cache.layout.views} views, given are "
            f"{len(images)} of {rule.count}: give all training images and the rule the cache was made for"
        )


def _check_room(cache: LogitCache, cells: int) -> None:
    needed, free = cells * cache.layout.cell_bytes, shutil.disk_usage(cache.folder).free
    if needed > free:
        raise MachineError(
            f"{cache.folder}: {needed / 1e9:.1f} GB are to be written and {free / 1e9:.1f} GB are free: make room, "
            "use a disk with more, or keep the top classes only"
        )
