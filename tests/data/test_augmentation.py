import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from preceptor.data.augmentation import CropFlip, default_augmentation, epoch_order
from preceptor.errors import InputError

CIFAR_AUGMENTATION = CropFlip(padding=4, flip=True)


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def reference_view(image: np.ndarray, padding: int, view: int) -> np.ndarray:
    """One image, one view: pad, cut, mirror."""
    _, height, width = image.shape
    side = 2 * padding + 1
    flipped, row, column = view // side**2, view // side % side, view % side
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    crop = padded[:, row : row + height, column : column + width]
    return crop[:, :, ::-1] if flipped else crop


@pytest.mark.parametrize(
    ("rule", "count"),
    [
        (CIFAR_AUGMENTATION, 162),
        (CropFlip(4, False), 81),
        (CropFlip(1, False), 9),
        (CropFlip(0, True), 2),
        (CropFlip(0, False), 1),
    ],
)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 5, 9), (2, 3, 1)])
def test_every_view_of_every_rule(rule: CropFlip, count: int, shape: tuple[int, ...]) -> None:
    assert rule.count == count
    views = torch.arange(count)
    images = picture(count, *shape)
    before = images.clone()
    shown = rule.apply(images, views)
    assert shown.dtype == torch.uint8
    assert shown.shape == images.shape
    for view in range(count):
        expected = reference_view(images[view].numpy(), rule.padding, view)
        np.testing.assert_array_equal(shown[view].numpy(), expected)
    assert torch.equal(images, before)


@pytest.mark.parametrize("rule", [CIFAR_AUGMENTATION, CropFlip(2, False), CropFlip(0, True), CropFlip(0, False)])
def test_identity_changes_nothing_and_is_the_only_such_view(rule: CropFlip) -> None:
    image = picture(1, 3, 8, 8)
    shown = rule.apply(image.expand(rule.count, -1, -1, -1), torch.arange(rule.count))
    unchanged = (shown == image).flatten(1).all(dim=1).nonzero().flatten()
    assert unchanged.tolist() == [rule.identity]


def test_all_views_of_an_uneven_image_differ() -> None:
    shown = CIFAR_AUGMENTATION.apply(picture(1, 1, 16, 16).expand(162, -1, -1, -1), torch.arange(162))
    assert len(torch.unique(shown, dim=0)) == 162


def test_apply_takes_channels_last_and_an_empty_batch() -> None:
    images, views = picture(6, 3, 8, 8), torch.tensor([0, 17, 40, 81, 121, 161])
    last = images.to(memory_format=torch.channels_last)
    assert torch.equal(CIFAR_AUGMENTATION.apply(last, views), CIFAR_AUGMENTATION.apply(images, views))
    assert CIFAR_AUGMENTATION.apply(images[:0], views[:0]).shape == (0, 3, 8, 8)


def test_apply_compiles_whole() -> None:
    images, views = picture(162, 3, 12, 10), torch.arange(162)
    compiled = torch.compile(CIFAR_AUGMENTATION.apply, fullgraph=True, backend="eager")
    assert torch.equal(compiled(images, views), CIFAR_AUGMENTATION.apply(images, views))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_apply_on_cuda_is_the_same_and_never_waits() -> None:
    images, views = picture(162, 3, 32, 32), torch.arange(162)
    there = images.cuda(), views.cuda()
    CIFAR_AUGMENTATION.apply(*there)
    torch.cuda.set_sync_debug_mode("error")
    try:
        shown = CIFAR_AUGMENTATION.apply(*there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(shown.cpu(), CIFAR_AUGMENTATION.apply(images, views))


@given(
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 1000),
    positions=st.lists(st.integers(0, 3000), min_size=1, max_size=20),
)
def test_a_view_depends_on_seed_epoch_and_position_only(seed: int, epoch: int, positions: list[int]) -> None:
    whole = CIFAR_AUGMENTATION.draw(seed, epoch, torch.arange(3001))
    some = CIFAR_AUGMENTATION.draw(seed, epoch, torch.tensor(positions))
    assert some.dtype == torch.int64
    assert torch.equal(some, whole[positions])


def test_drawn_views_are_uniform_over_all() -> None:
    views = CIFAR_AUGMENTATION.draw(0, 0, torch.arange(162_000))
    counts = torch.bincount(views, minlength=162)
    assert len(counts) == 162
    assert chisquare(counts.numpy()).pvalue > 0.001


@pytest.mark.parametrize("step", ["seed", "epoch"])
def test_a_sample_sees_uniform_views_over_epochs_and_seeds(step: str) -> None:
    rule = CropFlip(1, False)
    views = [
        int(rule.draw(seed=i if step == "seed" else 3, epoch=i if step == "epoch" else 3, index=torch.tensor([5])))
        for i in range(1800)
    ]
    assert chisquare(np.bincount(views, minlength=9)).pvalue > 0.001


def test_neighbours_in_position_epoch_and_seed_are_independent() -> None:
    rule = CropFlip(1, False)
    base = rule.draw(7, 0, torch.arange(16_201))
    for other in (base[1:], rule.draw(7, 1, torch.arange(16_200)), rule.draw(8, 0, torch.arange(16_200))):
        table = torch.bincount(base[:16_200] * 9 + other, minlength=81)
        assert chisquare(table.numpy()).pvalue > 0.001


def test_views_stay_as_they_are_between_releases() -> None:
    """A run resumed under a new version must see the views it would have seen: these numbers never change."""
    assert CIFAR_AUGMENTATION.draw(0, 0, torch.arange(8)).tolist() == [149, 50, 117, 138, 3, 129, 149, 54]
    assert epoch_order(0, 0, 8).tolist() == [5, 3, 7, 2, 4, 1, 0, 6]


def test_draw_of_nothing_and_of_a_negative_position() -> None:
    assert CIFAR_AUGMENTATION.draw(0, 0, torch.tensor([], dtype=torch.int64)).shape == (0,)
    with pytest.raises(InputError, match="index is -2; expected"):
        CIFAR_AUGMENTATION.draw(0, 0, torch.tensor([3, -2]))


def test_negative_padding_is_refused() -> None:
    with pytest.raises(InputError, match="padding is -1; expected 0 or more"):
        CropFlip(-1, False)


def test_epoch_order_is_a_permutation_that_changes_with_seed_and_epoch() -> None:
    orders = [epoch_order(seed, epoch, 100) for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))]
    for order in orders:
        assert order.dtype == torch.int64
        assert torch.equal(order.sort().values, torch.arange(100))
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert torch.equal(epoch_order(1, 1, 100), orders[3])
    assert epoch_order(0, 0, 0).shape == (0,)


def test_order_and_views_of_one_seed_are_unrelated() -> None:
    order, views = epoch_order(0, 0, 9000), CropFlip(1, False).draw(0, 0, torch.arange(9000))
    early = views[order[:4500]]
    assert chisquare(torch.bincount(early, minlength=9).numpy()).pvalue > 0.001


def test_default_augmentation_by_size() -> None:
    assert default_augmentation(24, 24) == default_augmentation(224, 224) == CropFlip(4, True)
    assert default_augmentation(8, 8) == default_augmentation(23, 64) == CropFlip(1, False)
