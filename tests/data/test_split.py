import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from preceptor.data.split import folds, hold_out, subset
from preceptor.errors import InputError

labels_of_any_kind = st.lists(st.integers(-1, 5), min_size=1, max_size=60).map(torch.tensor)
seeds = st.integers(0, 2**64 - 1)


def count(labels: Tensor, positions: Tensor) -> dict[int, int]:
    values, counts = np.unique(labels[positions].numpy(), return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


@given(labels=labels_of_any_kind, share=st.floats(0, 0.99), seed=seeds)
def test_hold_out_parts_the_positions_in_two(labels: Tensor, share: float, seed: int) -> None:
    held = round(share * len(labels))
    if held == len(labels):
        with pytest.raises(InputError, match="leaves none for training"):
            hold_out(labels, share, seed)
        return
    train, validation = hold_out(labels, share, seed)
    assert len(validation) == held
    assert sorted(train.tolist() + validation.tolist()) == list(range(len(labels)))
    for part in (train, validation):
        assert part.dtype == torch.int64
        assert part.tolist() == sorted(part.tolist())


@given(labels=labels_of_any_kind, share=st.floats(0, 0.99), seed=seeds)
def test_no_class_loses_its_last_training_image_without_need(labels: Tensor, share: float, seed: int) -> None:
    classes = len(labels.unique())
    if round(share * len(labels)) <= len(labels) - classes:
        train, _ = hold_out(labels, share, seed)
        assert len(labels[train].unique()) == classes


@given(sizes=st.lists(st.integers(10, 40), min_size=2, max_size=5), share=st.floats(0.05, 0.8), seed=seeds)
def test_every_class_gives_its_share(sizes: list[int], share: float, seed: int) -> None:
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    _, validation = hold_out(labels, share, seed)
    given_up = count(labels, validation)
    for label, size in enumerate(sizes):
        # one image a class is kept back from the draw, and it is shares of the rest that are met to within one
        expected = len(validation) * (size - 1) / (sum(sizes) - len(sizes))
        assert abs(given_up.get(label, 0) - expected) < 1


def test_balanced_classes_give_exactly_the_same() -> None:
    labels = torch.arange(1000) % 10
    _, validation = hold_out(labels, 0.1, 3)
    assert set(count(labels, validation).values()) == {10}


def test_single_images_stay_in_training() -> None:
    labels = torch.tensor([0] * 20 + [1] + [2, 2])
    for seed in range(30):
        train, validation = hold_out(labels, 0.3, seed)
        assert 1 in labels[train]
        assert 2 in labels[train]
        assert len(validation) == 7


def test_each_image_is_as_likely_as_the_next_of_its_class() -> None:
    labels = torch.tensor([0, 1] * 10)
    held = torch.zeros(20)
    for seed in range(600):
        held[hold_out(labels, 0.25, seed)[1]] += 1
    assert held.min() > 150 - 5 * 10.6  # five standard deviations of a binomial of 600 at 1/4
    assert held.max() < 150 + 5 * 10.6


def test_a_seed_decides_the_split() -> None:
    labels = torch.arange(200) % 7
    once, again, other = (hold_out(labels, 0.2, seed)[1] for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_share_zero_holds_nothing_out() -> None:
    train, validation = hold_out(torch.tensor([0, 1, 1]), 0, 0)
    assert train.tolist() == [0, 1, 2]
    assert validation.shape == (0,)


copies_of_images = st.lists(st.integers(0, 7), min_size=4, max_size=40).map(torch.tensor)


@given(which=copies_of_images, share=st.floats(0, 0.45), seed=seeds)
def test_copies_of_an_image_stay_together(which: Tensor, share: float, seed: int) -> None:
    images = which.to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    train, validation = hold_out(which % 3, share, seed, images)
    assert sorted(train.tolist() + validation.tolist()) == list(range(len(which)))
    assert not set(which[train].tolist()) & set(which[validation].tolist())
    different = len(which.unique())
    assert len(which[validation].unique()) == round(share * different)


@given(labels=labels_of_any_kind, share=st.floats(0, 0.45), seed=seeds)
def test_without_copies_the_images_change_nothing(labels: Tensor, share: float, seed: int) -> None:
    images = torch.arange(len(labels), dtype=torch.uint8).reshape(-1, 1, 1, 1)
    for part, other in zip(hold_out(labels, share, seed), hold_out(labels, share, seed, images), strict=True):
        assert torch.equal(part, other)


@pytest.mark.parametrize("share", [-0.1, 1.0, 5.0, float("nan")])
def test_shares_out_of_range(share: float) -> None:
    with pytest.raises(InputError, match="expected 0 up to, but not including, 1"):
        hold_out(torch.tensor([0, 1]), share, 0)


@given(labels=labels_of_any_kind, part=st.floats(0, 1), seed=seeds)
def test_subset_has_the_requested_size_and_every_class_it_can(labels: Tensor, part: float, seed: int) -> None:
    size = round(part * len(labels))
    positions = subset(labels, size, seed)
    assert len(positions) == size
    assert positions.tolist() == sorted(set(positions.tolist()))
    if size >= len(labels.unique()):
        assert len(labels[positions].unique()) == len(labels.unique())


def test_subset_of_balanced_classes_is_balanced_and_seeded() -> None:
    labels = torch.arange(1000) % 10
    assert set(count(labels, subset(labels, 300, 0)).values()) == {30}
    assert torch.equal(subset(labels, 300, 0), subset(labels, 300, 0))
    assert not torch.equal(subset(labels, 300, 0), subset(labels, 300, 1))


@pytest.mark.parametrize("size", [-1, 4])
def test_subset_of_more_than_there_is(size: int) -> None:
    with pytest.raises(InputError, match="expected 0 to 3"):
        subset(torch.tensor([0, 1, 1]), size, 0)


@given(labels=st.lists(st.integers(-1, 3), min_size=4, max_size=60), count=st.integers(2, 4), seed=st.integers(0, 9))
def test_folds_share_out_every_sample_once_and_every_class_evenly(labels: list[int], count: int, seed: int) -> None:
    given_labels = torch.tensor(labels)
    inside = folds(given_labels, count, seed)
    assert sorted(torch.cat([part for _, part in inside]).tolist()) == list(range(len(labels)))
    for outside, part in inside:
        assert sorted([*outside.tolist(), *part.tolist()]) == list(range(len(labels)))
    for label in set(labels):
        counts = [int((given_labels[part] == label).sum()) for _, part in inside]
        assert max(counts) - min(counts) <= 1


def test_copies_of_an_image_share_a_fold() -> None:
    images = torch.arange(6, dtype=torch.uint8).repeat(4).reshape(24, 1, 1, 1)
    for _, inside in folds(torch.zeros(24, dtype=torch.long), 3, 0, images=images):
        assert len(inside) == 8
        assert len(images[inside].unique()) == 2


@pytest.mark.parametrize("count", [1, 7])
def test_folds_that_there_are_not_are_refused(count: int) -> None:
    with pytest.raises(InputError, match="expected 2 to 6"):
        folds(torch.arange(6), count, 0)
