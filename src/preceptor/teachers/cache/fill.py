"""Filling a cache ahead of training."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64, UInt8
from numpy import ndarray
from torch import Tensor

from preceptor.data import Augmentation
from preceptor.errors import InputError
from preceptor.teachers.cache.cache import LogitCache
from preceptor.teachers.cache.store import CHUNK

Entries = Int64[ndarray, " n"]


def fill(
    cache: LogitCache,
    images: UInt8[Tensor, "samples channels height width"],
    augmentation: Augmentation,
    *,
    samples: Int[Tensor, " some"] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Query the cache's teacher for every entry that is still empty. It may be stopped at any time and called again.

    Several processes may fill one cache: each goes through it in its own order and passes over what another has filled
    meanwhile, so they hardly ever do the same work.

    Args:
        cache: with a teacher.
        images: all training images, 0 to 255, on the device where the teacher runs.
        augmentation: whose views are shown.
        samples: fill the views of these samples only; None is all.
        progress: called after each batch with the entries done so far and those that were missing.

    Returns:
        how many entries it filled itself.

    Raises:
        InputError: images or augmentation do not fit the cache, or as by :meth:`LogitCache.query_and_store`.
        MachineError: the disk has less room than what is missing takes (raised before any work), or is full.
    """
    if len(images) != cache.layout.samples or augmentation.count != cache.layout.views:
        raise InputError(
            f"cache {cache.folder}: holds {cache.layout.samples} samples of {cache.layout.views} views; got "
            f"{len(images)} of {augmentation.count}: give all training images and the augmentation it was made for"
        )
    total = count_missing(cache, samples)
    cache.store.check_room(total)
    done = filled = 0
    for batch in _batches(cache, samples):
        empty = batch[~cache.store.is_filled(batch)]  # another process may have been here
        if len(empty):
            index, view = (torch.from_numpy(numbers) for numbers in np.divmod(empty, cache.layout.views))
            shown = augmentation.apply(images[index.to(images.device)], view.to(images.device))
            cache.query_and_store(shown, index, view)
        filled += len(empty)
        done += len(batch)
        if progress is not None:
            progress(min(done, total), total)
    cache.store.flush()
    return filled


def count_missing(cache: LogitCache, samples: Int[Tensor, " some"] | None = None) -> int:
    """Number of empty entries, of some samples or of all."""
    wanted = _wanted(cache, samples)
    return sum(len(_empty(cache, wanted, start)) for start in range(0, cache.layout.entries, CHUNK))


def _batches(cache: LogitCache, samples: Int[Tensor, " some"] | None) -> Iterator[Entries]:
    """The empty entries in batches of neighbors, in an order that no other process has.

    The order changes no number, so it needs no seed.
    """
    wanted, order = _wanted(cache, samples), np.random.default_rng()
    for start in order.permutation(np.arange(0, cache.layout.entries, CHUNK)).tolist():
        entries = _empty(cache, wanted, start)
        for first in order.permutation(np.arange(0, len(entries), cache.batch_size)).tolist():
            yield entries[first : first + cache.batch_size]


def _empty(cache: LogitCache, wanted: Bool[ndarray, " samples"], start: int) -> Entries:
    entries = cache.store.empty(start)
    empty: Entries = entries[wanted[entries // cache.layout.views]]
    return empty


def _wanted(cache: LogitCache, samples: Int[Tensor, " some"] | None) -> Bool[ndarray, " samples"]:
    wanted = np.full(cache.layout.samples, samples is None)
    if samples is not None:
        wanted[samples.cpu().numpy()] = True
    return wanted
