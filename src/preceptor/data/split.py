"""Stratified splits: every class keeps its share, to within one image, however few images it has."""

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import LongTensor, Tensor

from preceptor.data.dataset import image_digests
from preceptor.data.lazy import Inputs
from preceptor.data.randomness import RandomStream, random_words, shuffled
from preceptor.errors import InputError


def hold_out(
    labels: Int[Tensor, " n"],
    share: float,
    seed: int,
    images: Inputs | None = None,
    groups: Int[Tensor, " n"] | None = None,
) -> tuple[LongTensor, LongTensor]:
    """Set a share of the training data aside for validation, drawn class by class.

    Exactly ``round(share * n)`` samples are set aside, each class giving its share to within about one sample. As long
    as the numbers allow it, every class keeps at least one training sample. Unlabeled samples (-1) count as a class.

    Copies of one image would make the held-out accuracy a measure of memory. Where ``images`` are passed, those with
    the same pixels stay together: the draw is among the different images, and the share is one of these. So do those
    with the same number in ``groups``, such as the X-rays of one patient.

    Returns:
        indices for training and indices for validation, int64, each sorted; together they are 0 to n - 1.

    Raises:
        InputError: a share outside [0, 1), or one that leaves no training sample.
    """
    if not 0 <= share < 1:
        raise InputError(f"validation share is {share}; expected 0 up to, but not including, 1")
    group = _groups(len(labels), images, groups)
    first = np.unique(group, return_index=True)[1]
    held = round(share * len(first))
    if len(first) and held == len(first):
        raise InputError(f"validation share {share} of {len(first)} different images leaves none for training")
    aside = _draw(labels[torch.from_numpy(first).to(labels.device)], held, seed, RandomStream.HOLD_OUT)[group]
    return _index(~aside), _index(aside)


def subset(labels: Int[Tensor, " n"], size: int, seed: int) -> LongTensor:
    """Indices of a smaller, stratified set: sorted, int64, shape [size]; every class is in it if ``size`` allows.

    Raises:
        InputError: a size outside 0 to n.
    """
    if not 0 <= size <= len(labels):
        raise InputError(f"subset of {size} images; expected 0 to {len(labels)}, the number of images")
    return _index(~_draw(labels, len(labels) - size, seed, RandomStream.SUBSET))


def folds(
    labels: Int[Tensor, " n"],
    count: int,
    seed: int,
    images: Inputs | None = None,
    groups: Int[Tensor, " n"] | None = None,
) -> list[tuple[LongTensor, LongTensor]]:
    """The data in several parts, each class evenly; every sample is in exactly one.

    Args:
        labels: integers, shape [n]. Unlabeled samples (-1) count as a class.
        count: number of parts, at least 2.
        seed: the same seed gives the same parts.
        images: of the samples; those with the same pixels are put into one part. Default None: all are different.
        groups: numbers; samples with the same one are put into one part. Default None: there are none.

    Returns:
        by part the indices outside it and those inside it, int64, each sorted.

    Raises:
        InputError: fewer than two parts, or more than different images.
    """
    group = _groups(len(labels), images, groups)
    first = np.unique(group, return_index=True)[1]
    if not 2 <= count <= len(first):
        raise InputError(f"{count} folds of {len(first)} different images; expected 2 to {len(first)}")
    order = shuffled(len(first), seed, RandomStream.FOLDS)
    by_class = labels.cpu().numpy()[first][order]
    dealt = np.empty(len(first), dtype=np.int64)
    dealt[order[np.argsort(by_class, kind="stable")]] = np.arange(len(first)) % count
    part = dealt[group]
    return [(_index(part != number), _index(part == number)) for number in range(count)]


def _groups(count: int, images: Inputs | None, groups: Int[Tensor, " n"] | None) -> NDArray[np.int64]:
    """The number of each sample's group, from 0 in the order of the groups' first samples.

    Copies of an image share a group, and so do samples of one of ``groups``, also by way of others.
    """
    if images is None and groups is None:
        return np.arange(count)
    copies = np.arange(count) if images is None else _numbered(image_digests(images))
    if groups is None:
        return copies
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # A graph whose nodes are both kinds of groups, and in which each sample is an edge between its two.
    stated = _numbered(groups.tolist())
    edges = coo_array((np.ones(count), (copies, count + stated)), shape=(2 * count, 2 * count))
    return _numbered(connected_components(edges, directed=False)[1][copies].tolist())


def _numbered(keys: Sequence[Hashable]) -> NDArray[np.int64]:
    """The number of each key, from 0 in the order in which they occur first."""
    number_of: dict[Hashable, int] = {}
    return np.array([number_of.setdefault(key, len(number_of)) for key in keys], dtype=np.int64)


def _draw(labels: Int[Tensor, " n"], count: int, seed: int, stream: RandomStream) -> NDArray[np.bool_]:
    """A mask of ``count`` samples, evenly spaced over the samples sorted by class and shuffled within each class."""
    order = shuffled(len(labels), seed, stream)
    by_class = labels.cpu().numpy()[order]
    grouped = np.argsort(by_class, kind="stable")
    order, by_class = order[grouped], by_class[grouped]
    # The first of each class is drawn only if nothing else is left, so that no class loses its last sample.
    is_first = np.diff(by_class, prepend=by_class[:1] - 1) != 0
    spare = order[~is_first]
    pool = spare if count <= len(spare) else order
    start = int(random_words(seed, stream, len(labels), len(labels) + 1)[0])
    # Systematic sampling: ``count`` different places in the pool, evenly spaced, from a random start.
    places = (np.arange(count, dtype=np.int64) * len(pool) + start % max(len(pool), 1)) // max(count, 1)
    mask = np.zeros(len(labels), dtype=bool)
    mask[pool[places]] = True
    return mask


def _index(mask: NDArray[np.bool_]) -> LongTensor:
    return torch.from_numpy(np.flatnonzero(mask).astype(np.int64))  # type: ignore[return-value]
