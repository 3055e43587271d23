"""Counter-based random numbers: each depends on the seed, the stream, the epoch and an index, and on nothing else.

Only the raw 64-bit words of NumPy's Philox generator are used. NumPy guarantees that these never change between
versions (NEP 19), which it doesn't guarantee for ``Generator.permutation`` and its like.
"""

from contextlib import AbstractContextManager
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray

from preceptor.errors import InputError

_WORDS_PER_BLOCK = 4  # Philox makes four words of one value of its counter


class RandomStream(IntEnum):
    """The purpose of a random number; streams of one seed are independent of each other. Never renumber."""

    VIEWS = 0
    ORDER = 1
    HOLD_OUT = 2
    SUBSET = 3
    SWAP = 4
    DRAWS = 6  # 5 was used once
    FOLDS = 7
    TRANSFORMS = 8
    MIXING = 9
    JOINT_DRAWS = 10
    IMAGE_NOISE = 11


def random_words(seed: int, stream: RandomStream, first: int, stop: int, epoch: int = 0) -> NDArray[np.uint64]:
    """The 64-bit words at indices ``first`` to ``stop - 1`` of a stream (Philox4x64-10, Salmon et al. 2011).

    Raises:
        InputError: a seed or epoch outside 0 to 2^64 - 1.
    """
    for name, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= value < 2**64:
            raise InputError(f"{name} is {value}; expected a whole number from 0 to 2^64 - 1")
    block, skipped = divmod(first, _WORDS_PER_BLOCK)
    philox = np.random.Philox(
        key=np.array([seed, stream], dtype=np.uint64),
        counter=np.array([block, epoch, 0, 0], dtype=np.uint64),
    )
    return philox.random_raw(stop - first + skipped)[skipped:]


def shuffled(n: int, seed: int, stream: RandomStream, epoch: int = 0) -> NDArray[np.int64]:
    """The indices 0 to n - 1 in random order."""
    return np.argsort(random_words(seed, stream, 0, n, epoch), kind="stable").astype(np.int64, copy=False)


def reseed(seed: int, device: torch.device) -> None:
    """Like ``torch.manual_seed``, which takes a hundred times as long: too long for every student in every step."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        number = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[number].manual_seed(seed)


def own_generators(device: torch.device) -> AbstractContextManager[object]:
    """Within it torch's global generators may be drawn from without anybody else noticing."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
