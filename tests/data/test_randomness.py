import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preceptor.data.randomness import RandomStream, random_words, shuffled
from preceptor.errors import InputError

_MASK = 2**64 - 1


def philox_block(key: tuple[int, int], counter: tuple[int, int, int, int]) -> list[int]:
    """Philox4x64 with 10 rounds, written from Salmon et al. 2011, figure and table of constants, in plain integers."""
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(10):
        low, high = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (high >> 64) ^ c1 ^ k0, high & _MASK, (low >> 64) ^ c3 ^ k1, low & _MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & _MASK, (k1 + 0xBB67AE8584CAA73B) & _MASK
    return [c0, c1, c2, c3]


def reference_word(seed: int, stream: int, epoch: int, position: int) -> int:
    """NumPy counts up before it makes a block, hence the + 1."""
    block, place = divmod(position, 4)
    return philox_block((seed, stream), (block + 1, epoch, 0, 0))[place]


@given(
    seed=st.integers(0, _MASK),
    epoch=st.integers(0, _MASK),
    stream=st.sampled_from(RandomStream),
    first=st.integers(0, 2**40),
    length=st.integers(0, 9),
)
def test_words_are_philox_at_a_counter(seed: int, epoch: int, stream: RandomStream, first: int, length: int) -> None:
    expected = [reference_word(seed, stream, epoch, position) for position in range(first, first + length)]
    assert random_words(seed, stream, first, first + length, epoch).tolist() == expected


def test_seeds_epochs_and_streams_are_unlike() -> None:
    drawn = [
        tuple(random_words(seed, stream, 0, 4, epoch).tolist())
        for seed in (0, 1)
        for epoch in (0, 1)
        for stream in RandomStream
    ]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("bad", [-1, 2**64])
def test_out_of_range_seed_and_epoch_are_refused(bad: int) -> None:
    with pytest.raises(InputError, match=f"seed is {bad}; expected"):
        random_words(bad, RandomStream.VIEWS, 0, 1)
    with pytest.raises(InputError, match=f"epoch is {bad}; expected"):
        random_words(0, RandomStream.VIEWS, 0, 1, epoch=bad)


def test_shuffled_is_a_permutation_that_moves_about_everything() -> None:
    order = shuffled(1000, 5, RandomStream.ORDER)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(1000))
    assert (order == np.arange(1000)).sum() < 10


def test_every_order_of_three_is_equally_likely() -> None:
    orders = [tuple(shuffled(3, seed, RandomStream.ORDER)) for seed in range(3000)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert ((counts - 500) ** 2 / 500).sum() < 20.5  # chi-square with 5 degrees of freedom, p = 0.001
