"""Filling a cache ahead of training, and looking after it."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, Int64
from numpy import ndarray
from torch import Tensor

from preceptor.data import Augmentation
from preceptor.data.lazy import Inputs, views_of
from preceptor.errors import InputError
from preceptor.teachers.cache.cache import LogitCache, make_folder, open_readonly
from preceptor.teachers.cache.locks import Part
from preceptor.teachers.cache.metadata import METADATA_FILE
from preceptor.teachers.cache.reader import CHECKSUMS_FILE, CHUNK, ENTRIES_FILE
from preceptor.teachers.cache.remote import RemoteFolder

Entries = Int64[ndarray, " n"]
PART_CHUNK = 2**12
"""Entries of a chunk, the unit that is given to one of several parts; of a small cache fewer."""

Progress = Callable[[int, int], None]
"""Called with how much is done so far, and how much there was to do."""


def fill(
    cache: LogitCache,
    images: Inputs,
    augmentation: Augmentation,
    *,
    samples: Int[Tensor, " some"] | None = None,
    part: Part | None = None,
    progress: Progress | None = None,
) -> int:
    """Query the cache's teacher for every entry that is still empty. It may be stopped at any time and called again.

    Several processes may fill one cache. Without parts each goes through it in its own order and passes over what
    another has filled meanwhile, so they hardly ever do the same work, and they take turns to write. Each with a part
    of its own, they need not know of one another: the cache is cut in chunks of consecutive samples, of which a part
    has every N-th; no two write the same bytes, and each chunk is read back when it is full. The number of parts may
    be another one whenever the filling goes on. A process that is killed loses one batch.

    Args:
        cache: with a teacher.
        images: all training images, 0 to 255, on the device where the teacher runs.
        augmentation: whose views are shown.
        samples: fill the views of these samples only; None is all.
        part: fill the chunks of this part only; None is all, in turns with others.
        progress: called after each batch with the entries done so far and those that were missing.

    Returns:
        how many entries it filled itself.

    Raises:
        InputError: images or augmentation do not fit the cache, or as by :meth:`LogitCache.query_and_store`.
        MachineError: the disk has less room than what is missing takes (raised before any work), or is full; the part
            is being filled already, or other parts than those of this number.
    """
    if len(images) != cache.layout.samples or augmentation.count != cache.layout.views:
        raise InputError(
            f"cache {cache.folder}: holds {cache.layout.samples} samples of {cache.layout.views} views; got "
            f"{len(images)} of {augmentation.count}: give all training images and the augmentation it was made for"
        )
    with nullcontext() if part is None else cache.writable.owning(part):
        total = count_missing(cache, samples, part)
        cache.writable.check_room(total)
        done = filled = 0
        for batch in _batches(cache, samples, part):
            empty = batch[~cache.store.is_filled(batch)]  # another process may have been here
            if len(empty):
                index, view = (torch.from_numpy(numbers) for numbers in np.divmod(empty, cache.layout.views))
                cache.query_and_store(views_of(images, index, view, augmentation), index, view)
            filled += len(empty)
            done += len(batch)
            if progress is not None:
                progress(min(done, total), total)
        cache.writable.flush()
    return filled


def count_missing(cache: LogitCache, samples: Int[Tensor, " some"] | None = None, part: Part | None = None) -> int:
    """Number of empty entries: of some samples or of all, of one part or of all."""
    return sum(len(entries) for entries in _empty(cache, samples, part, np.random.default_rng()))


def _batches(cache: LogitCache, samples: Int[Tensor, " some"] | None, part: Part | None) -> Iterator[Entries]:
    """The empty entries in batches of neighbors, in an order that no other process has.

    The order changes no number, so it needs no seed.
    """
    order = np.random.default_rng()
    for entries in _empty(cache, samples, part, order):
        for first in order.permutation(np.arange(0, len(entries), cache.batch_size)).tolist():
            yield entries[first : first + cache.batch_size]
        damaged = entries[:0] if part is None else cache.store.damaged(entries)
        if len(damaged):
            raise cache.store.damage(damaged)


def _empty(
    cache: LogitCache, samples: Int[Tensor, " some"] | None, part: Part | None, order: np.random.Generator
) -> Iterator[Entries]:
    """The empty entries of each chunk: of some samples or of all, of one part or of all."""
    wanted = np.full(cache.layout.samples, samples is None)
    if samples is not None:
        wanted[samples.cpu().numpy()] = True
    size, first, step = CHUNK, 0, CHUNK
    if part is not None:
        size = _part_chunk(cache, part.total)
        first, step = size * part.number, size * part.total
    for start in order.permutation(np.arange(first, cache.layout.entries, step)).tolist():
        entries = cache.store.chunk(start, size, filled=False)
        yield entries[wanted[entries // cache.layout.views]]


def _part_chunk(cache: LogitCache, parts: int) -> int:
    """Entries of a chunk: of whole samples, and so few that every part has at least four where there are enough."""
    layout = cache.layout
    return layout.views * max(1, min(PART_CHUNK // layout.views, layout.samples // (4 * parts)))


def verify(cache: LogitCache, *, repair: bool = False, progress: Progress | None = None) -> int:
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
        chunks.append(cache.store.damaged(cache.store.chunk(start, filled=True)))
        if progress is not None:
            progress(min(start + CHUNK, entries), entries)
    damaged = np.concatenate(chunks)
    if len(damaged) and not repair:
        raise cache.store.damage(damaged)
    if len(damaged):
        cache.writable.clear(damaged)
    return len(damaged)


def copy(source: Path | str, target: Path | str, progress: Progress | None = None) -> LogitCache:
    """Copy a cache from a folder to a URL or back, and compare every record of the copy with its checksum.

    Stopped, it can be called again. Of a cache that is being filled, what is filled at the start is copied.

    Args:
        source: of the cache.
        target: without a cache; of the two one is a folder and one a URL.
        progress: called as by :func:`verify`.

    Returns:
        the copy.

    Raises:
        InputError: two folders or two URLs, no cache to copy, or a target that holds one; a damaged record.
        MachineError: one of the two cannot be read or written.
    """
    if isinstance(source, str) == isinstance(target, str):
        raise InputError(f"{target}: expected one folder and one URL, such as s3://bucket/folder, to copy between")
    with open_readonly(source) as cache:
        filled = cache.count
    # What the checksums mark as filled is written before them. Without its metadata the copy is no cache yet.
    names = (CHECKSUMS_FILE, ENTRIES_FILE, METADATA_FILE)
    if isinstance(target, Path):
        make_folder(target)
        if (target / METADATA_FILE).exists():
            raise InputError(f"{target}: holds a cache; nothing is ever overwritten: choose another folder")
        for name in names:
            RemoteFolder(str(source)).get(target / name)
    else:
        remote = RemoteFolder(target)
        if remote.holds(METADATA_FILE):
            raise InputError(f"{target}: holds a cache; nothing is ever overwritten: choose another URL")
        for name in names:
            remote.put(Path(source) / name)
    copied = open_readonly(target)
    verify(copied, progress=progress)
    if copied.count < filled:
        raise InputError(f"{target}: holds {copied.count:,} of {filled:,} entries: remove it and copy again")
    return copied


def bytes_used(cache: LogitCache) -> int:
    """What a cache's files take on the disk now; entries that were never filled take next to nothing.

    At a URL they take as much as filled ones.
    """
    if isinstance(cache.folder, str):
        return cache.layout.bytes
    files = [(cache.folder / name).stat() for name in (ENTRIES_FILE, CHECKSUMS_FILE)]
    # Blocks of 512 bytes; the length where the system does not count blocks.
    return sum(512 * file.st_blocks if hasattr(file, "st_blocks") else file.st_size for file in files)
