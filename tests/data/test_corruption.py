from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from preceptor.data import corruption, load_dataset
from preceptor.data.corruption import confusable_pairs, swap_pairs, uniform_noise
from preceptor.errors import InputError

seeds = st.integers(0, 2**64 - 1)
labels_of_six = st.lists(st.integers(-1, 5), min_size=1, max_size=80).map(torch.tensor)


@given(labels=labels_of_six, rate=st.floats(0, 1), seed=seeds)
def test_swapping_moves_exactly_the_share_to_the_partner(labels: Tensor, rate: float, seed: int) -> None:
    before = labels.clone()
    after = swap_pairs(labels, [(0, 3), (4, 1)], rate, seed)
    assert torch.equal(labels, before)
    partner = {0: 3, 3: 0, 4: 1, 1: 4}
    for old in range(-1, 6):
        members = after[labels == old]
        changed = round(rate * len(members)) if old in partner else 0
        assert (members != old).sum() == changed
        assert (members == partner.get(old, 99)).sum() == changed


@given(labels=labels_of_six, rate=st.floats(0, 1), seed=seeds)
def test_uniform_noise_makes_exactly_the_share_wrong(labels: Tensor, rate: float, seed: int) -> None:
    before = labels.clone()
    after = uniform_noise(labels, 6, rate, seed)
    assert torch.equal(labels, before)
    assert torch.equal(after, uniform_noise(labels, 6, rate, seed))
    assert int((after != labels).sum()) == round(rate * int((labels >= 0).sum()))
    assert torch.equal(after < 0, labels < 0)
    assert int(after.max()) <= 5


def test_uniform_noise_takes_every_other_class_alike() -> None:
    labels = torch.arange(5).repeat(4000)
    after = uniform_noise(labels, 5, 0.5, 0)
    counts = torch.stack([torch.bincount(after[labels == label], minlength=5) for label in range(5)])
    assert ((counts.diagonal() - 2000).abs() < 100).all()  # three deviations are some 95
    off = counts[~torch.eye(5, dtype=torch.bool)]
    assert ((off - 500).abs() < 90).all()


def test_uniform_noise_is_that_of_the_benchmark() -> None:
    """Results in results/bench follow from these bits."""
    assert uniform_noise(torch.arange(5).repeat(2), 5, 0.4, 3).tolist() == [2, 1, 4, 3, 4, 0, 4, 2, 3, 1]


@pytest.mark.parametrize(("classes", "rate", "message"), [(1, 0.2, "of 1 class"), (3, 1.5, "rate is 1.5")])
def test_uniform_noise_that_there_is_not(classes: int, rate: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        uniform_noise(torch.tensor([0, 0]), classes, rate, 0)


def test_swapping_is_seeded_and_unordered() -> None:
    labels = torch.arange(400) % 4
    once = swap_pairs(labels, [(0, 1), (2, 3)], 0.4, 0)
    assert torch.equal(once, swap_pairs(labels, [(3, 2), (1, 0)], 0.4, 0))
    assert not torch.equal(once, swap_pairs(labels, [(0, 1), (2, 3)], 0.4, 1))


def test_more_noise_keeps_the_labels_already_wrong() -> None:
    labels = torch.arange(400) % 2
    little, much = (swap_pairs(labels, [(0, 1)], rate, 0) != labels for rate in (0.2, 0.4))
    assert (much | ~little).all()


@pytest.mark.parametrize("pairs", [[(0, 0)], [(0, 1), (1, 2)]])
def test_pairs_that_overlap(pairs: list[tuple[int, int]]) -> None:
    with pytest.raises(InputError, match="name every class at most once"):
        swap_pairs(torch.tensor([0, 1, 2]), pairs, 0.4, 0)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rates_out_of_range(rate: float) -> None:
    with pytest.raises(InputError, match="expected 0 to 1"):
        swap_pairs(torch.tensor([0, 1]), [(0, 1)], rate, 0)


def look_alikes(classes: int, a_class: int = 20) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
    """Noise around one image a class, where the images of classes k and classes - 1 - k are nearly the same."""
    draw = np.random.default_rng(0)
    centers = draw.integers(60, 190, (classes // 2, 36))
    labels = np.arange(classes * a_class) % classes
    near = np.minimum(labels, classes - 1 - labels)
    own = np.where(labels[:, None] > near[:, None], 2, 0)
    images = centers[near] + own + draw.normal(0, 8, (len(labels), 36))
    pixels = torch.tensor(images.round().clip(0, 255), dtype=torch.uint8).view(-1, 1, 6, 6)
    return pixels, torch.tensor(labels), [(first, classes - 1 - first) for first in range(classes // 2)]


def test_look_alikes_are_paired() -> None:
    images, labels, expected = look_alikes(8)
    pairs = confusable_pairs(images, labels, 8)
    assert sorted(pairs) == expected
    assert pairs == confusable_pairs(images, labels, 8)


def test_unlabeled_images_are_passed_by() -> None:
    images, labels, expected = look_alikes(6)
    strangers = torch.randint(0, 256, (30, 1, 6, 6), dtype=torch.uint8)
    pairs = confusable_pairs(torch.cat([strangers, images]), torch.cat([torch.full((30,), -1), labels]), 6)
    assert sorted(pairs) == expected


def test_large_images_are_averaged_down() -> None:
    images, labels, expected = look_alikes(4)
    large = images.repeat_interleave(6, 2).repeat_interleave(6, 3)
    assert sorted(confusable_pairs(large, labels, 4)) == expected


def test_a_class_of_one_image_cannot_be_judged() -> None:
    with pytest.raises(InputError, match="class 1 has 1 images; expected 2"):
        confusable_pairs(torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 0, 1]), 2)


def all_matchings(classes: frozenset[int]) -> list[list[tuple[int, int]]]:
    if len(classes) < 2:
        return [[]]
    left_over = [classes - {odd} for odd in classes] if len(classes) % 2 else []
    if left_over:
        return [matching for even in left_over for matching in all_matchings(even)]
    first, *others = sorted(classes)
    return [[(first, other), *rest] for other in others for rest in all_matchings(classes - {first, other})]


@given(classes=st.integers(2, 7), seed=st.integers(0, 10_000))
def test_pairs_are_the_matching_of_largest_total(classes: int, seed: int) -> None:
    confused = np.random.default_rng(seed).random((classes, classes)) ** 4
    confused += confused.T
    pairs = corruption._best_pairs(confused)
    best = max(sum(confused[pair] for pair in found) for found in all_matchings(frozenset(range(classes))))
    gains = [confused[pair] for pair in pairs]
    assert sum(gains) == pytest.approx(best)
    assert gains == sorted(gains, reverse=True)
    assert all(set(one).isdisjoint(other) for one, other in combinations(pairs, 2))


def test_classes_that_share_their_favorites_are_still_all_paired() -> None:
    """With everyone near the same few, the nearest alone allow no matching: the greedy pairs must help out."""
    classes = 30
    confused = np.full((classes, classes), 1e-6)
    confused[:, :10] = confused[:10] = 1.0
    pairs = corruption._best_pairs(confused)
    assert sorted(label for pair in pairs for label in pair) == list(range(classes))
    assert sum(min(pair) < 10 for pair in pairs) == 10


def test_digits_that_people_confuse_too() -> None:
    digits = load_dataset("digits")
    pairs = confusable_pairs(digits.train.images, digits.train.labels, 10)
    assert len(pairs) == 5
    assert pairs[0] == (1, 8)
