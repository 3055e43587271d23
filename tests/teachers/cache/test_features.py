"""Pooled features beside the logits."""

import pytest
import torch
from torch import Tensor, nn

from preceptor.errors import InputError
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.cache import POOLED, Layout, PooledTeacher, fill
from tests.teachers.cache.samples import Featured, Linear, agree, cache_in, every_entry, pictures, shown
from tests.training_helpers import digits, few, untrained_teacher

KEEPING = Layout(samples=12, views=9, classes=5, features=4)


def some_digits() -> Tensor:
    return digits().train.images[few(12)]


def at(n: int) -> tuple[Tensor, Tensor]:
    return torch.arange(n), torch.zeros(n, dtype=torch.int64)


def test_the_features_are_the_input_of_the_last_layer():
    live, images = untrained_teacher(), some_digits()
    pooled = PooledTeacher(live, images)
    logits, features = pooled.outputs(images, *at(12))
    assert torch.equal(logits, live(images))
    assert features[POOLED].shape == (12, pooled.features)
    last = [layer for layer in live.network.modules() if isinstance(layer, nn.Linear)][-1]
    assert torch.equal(last(features[POOLED]), logits)
    assert not last._forward_pre_hooks


def test_a_network_that_ends_otherwise_has_none():
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, images: Tensor) -> Tensor:
            return 2 * self.layer(images.flatten(1))

    with pytest.raises(InputError, match=r"Doubled.*, so it has no pooled features: cache the logits alone"):
        PooledTeacher(NetworkTeacher(Doubled(), digits().normalization), some_digits())


@pytest.mark.parametrize("top_k", [None, 2])
def test_a_cache_keeps_them_beside_the_logits(tmp_path, top_k):
    live, entries = Featured(), every_entry()
    layout = KEEPING.model_copy(update={"top_k": top_k})
    logits, features = live.outputs(shown(*entries), *entries)
    for half in (slice(0, 50), slice(0, 108)):  # live, then in part from the cache
        cache = cache_in(tmp_path / "cache", live, layout)
        part = tuple(numbers[half] for numbers in entries)
        cached = cache.outputs(shown(*part), *part)
        assert torch.equal(cached.features[POOLED], features[POOLED][half].half().float())
        assert top_k is not None or agree(cached.logits, logits[half])
    assert torch.equal(cache.lookup(*entries).features, cached.features[POOLED])


def test_a_pooled_teacher_fills_a_cache(tmp_path):
    pooled, images, views = PooledTeacher(untrained_teacher(), some_digits()), some_digits(), digits().augmentation
    layout = Layout(samples=12, views=views.count, classes=10, features=pooled.features)
    cache = cache_in(tmp_path / "cache", pooled, layout)
    fill(cache, images, views)
    index, view = torch.arange(12), torch.full((12,), views.identity)
    features = pooled.outputs(images, index, view).features[POOLED]
    torch.testing.assert_close(cache.lookup(index, view).features, features, rtol=1e-3, atol=1e-5)


def test_a_teacher_without_features_cannot_fill_a_cache_that_keeps_them(tmp_path):
    with pytest.raises(InputError, match="the teacher returned 0 features; expected 4"):
        cache_in(tmp_path / "cache", Linear(), KEEPING).outputs(pictures()[:2], *at(2))


@pytest.mark.parametrize("value", [7e4, torch.nan])
def test_features_beyond_float16_are_refused(tmp_path, value):
    class TooLarge(Featured):
        def outputs(self, inputs: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
            return TeacherOutput(super().outputs(inputs, index, view).logits, {POOLED: torch.full((16, 4), value)})

    cache = cache_in(tmp_path / "cache", TooLarge(), KEEPING)
    with pytest.raises(InputError, match="features are not within float16's 65504 for 2 of 2 images"):
        cache.outputs(pictures()[:2], *at(2))
    assert not cache.lookup(*at(2)).known.any()


def test_features_of_another_width_are_refused(tmp_path):
    cache = cache_in(tmp_path / "cache", Featured(features=3), KEEPING)
    with pytest.raises(InputError, match="the teacher returned 3 features; expected 4"):
        cache.outputs(pictures()[:2], *at(2))
