"""Stratified splits: every class keeps its share, to within one image, however few images it has."""

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import LongTensor, Tensor

from preceptor.data.randomness import Stream, shuffled, words
from preceptor.errors import InputError


def hold_out(labels: Int[Tensor, " n"], share: float, seed: int) -> tuple[LongTensor, LongTensor]:
    """Set a share of the training data aside for validation, drawn class by class.

    Exactly ``round(share * n)`` images are set aside, each class giving its share to within about one image. As long as
    the numbers allow it, every class keeps at least one training image. Unlabeled images (-1) count as a class.

    Args:
        labels: integers, shape [n].
        share: of the images to set aside, from 0 to below 1; at 0 the validation part is empty.
        seed: the same seed gives the same split.

    Returns:
        positions for training and positions for validation, int64, each sorted; together they are 0 to n - 1.

    Raises:
        InputError: for a share outside [0, 1), or one that leaves no training image.
    """
    if not 0 <= share < 1:
        raise InputError(f"validation share {share}: allowed is 0 up to, but not including, 1")
    held = round(share * len(labels))
    if len(labels) and held == len(labels):
        raise InputError(f"validation share {share} of {len(labels)} images leaves none for training")
    aside = _set_aside(labels, held, seed, Stream.HOLD_OUT)
    return _positions(~aside), _positions(aside)


def subset(labels: Int[Tensor, " n"], size: int, seed: int) -> LongTensor:
    """Positions of a smaller, stratified set: sorted, int64, shape [size]; every class is in it if ``size`` allows.

    Raises:
        InputError: for a size outside 0 to n.
    """
    if not 0 <= size <= len(labels):
        raise InputError(f"subset of {size} images: allowed is 0 to {len(labels)}, the number there is")
    return _positions(~_set_aside(labels, len(labels) - size, seed, Stream.SUBSET))


def _set_aside(labels: Int[Tensor, " n"], count: int, seed: int, stream: Stream) -> NDArray[np.bool_]:
    """Marks ``count`` samples: one in so many of them, walking through the classes in random order within each."""
    order = shuffled(len(labels), seed, stream)
    by_class = labels.cpu().numpy()[order]
    grouped = np.argsort(by_class, kind="stable")
    order, by_class = order[grouped], by_class[grouped]
    keeps = np.diff(by_class, prepend=by_class[:1] - 1) != 0
    spare = order[~keeps]
    pool = spare if count <= len(spare) else order
    start = int(words(seed, stream, len(labels), len(labels) + 1)[0])
    marked = np.zeros(len(labels), dtype=bool)
    marked[pool[_every_so_many(len(pool), count, start)]] = True
    return marked


def _every_so_many(n: int, count: int, start: int) -> NDArray[np.int64]:
    """Systematic sampling: ``count`` different positions below ``n``, evenly spaced, from a random start."""
    return (np.arange(count, dtype=np.int64) * n + start % max(n, 1)) // max(count, 1)


def _positions(marked: NDArray[np.bool_]) -> LongTensor:
    return torch.from_numpy(np.flatnonzero(marked).astype(np.int64))  # type: ignore[return-value]
