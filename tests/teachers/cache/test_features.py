import pytest
import torch
from torch import Tensor, nn

from preceptor.errors import InputError
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.cache import FeatureSignal, Layout, PooledTeacher, fill
from tests.classroom import digits, few, untrained_teacher
from tests.teachers.cache.vault import FEW, Featured, Weighing, agree, cache_in, every_cell, pictures, shown

KEEPING = Layout(samples=12, views=9, classes=5, features=4)


def some_digits() -> Tensor:
    return digits().train.images[few(12)]


def at(n: int) -> tuple[Tensor, Tensor]:
    return torch.arange(n), torch.zeros(n, dtype=torch.int64)


def test_the_features_are_what_the_last_layer_is_given():
    live, images = untrained_teacher(), some_digits()
    pooled = PooledTeacher(live, images)
    logits, features = pooled.said_with_features(images, *at(12))
    assert torch.equal(logits, live(images))
    assert features.shape == (12, pooled.features)
    last = [layer for layer in live.network.modules() if isinstance(layer, nn.Linear)][-1]
    assert torch.equal(last(features), logits)
    assert torch.equal(pooled.outputs(images, *at(12)).logits, logits)
    assert not last._forward_pre_hooks


def test_a_network_that_ends_otherwise_has_none():
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, images: Tensor) -> Tensor:
            return 2 * self.layer(images.flatten(1))

    with pytest.raises(InputError, match=r"Doubled.*: its pooled features cannot be told; keep the logits alone"):
        PooledTeacher(NetworkTeacher(Doubled(), digits().normalization), some_digits())


@pytest.mark.parametrize("top_k", [None, 2])
def test_a_bank_keeps_them_beside_the_logits(tmp_path, top_k):
    live, cells = Featured(), every_cell()
    layout = KEEPING.model_copy(update={"top_k": top_k})
    word, features = live.said_with_features(shown(*cells), *cells)
    for half in (slice(0, 50), slice(0, 108)):  # live, then in part from the cache
        cache = cache_in(tmp_path / "cache", live, layout)
        part = tuple(numbers[half] for numbers in cells)
        said, kept = cache.said_with_features(shown(*part), *part)
        assert torch.equal(kept, features[half].half().float())
        assert top_k is not None or agree(said, word[half])
        assert torch.equal(said, cache.outputs(shown(*part), *part).logits)
    assert torch.equal(cache.lookup(*cells).features, kept)
    assert isinstance(cache, FeatureSignal)


def test_a_pooled_teacher_fills_a_bank(tmp_path):
    pooled, images = PooledTeacher(untrained_teacher(), some_digits()), some_digits()
    layout = Layout(samples=12, views=digits().augmentation.count, classes=10, features=pooled.features)
    cache = cache_in(tmp_path / "cache", pooled, layout)
    fill(cache, images, digits().augmentation)
    index = torch.arange(12)
    view = torch.full((12,), digits().augmentation.identity)
    _, features = pooled.said_with_features(images, index, view)
    torch.testing.assert_close(cache.lookup(index, view).features, features, rtol=1e-3, atol=1e-5)


def test_a_teacher_without_features_cannot_fill_a_bank_that_keeps_them(tmp_path):
    with pytest.raises(InputError, match="keeps features, which this teacher does not give"):
        cache_in(tmp_path / "cache", Weighing(), KEEPING)


def test_a_bank_without_features_says_so(tmp_path):
    cache = cache_in(tmp_path / "cache", Featured(), FEW)
    with pytest.raises(InputError, match="keeps no features"):
        cache.said_with_features(pictures()[:2], *at(2))


@pytest.mark.parametrize(
    ("features", "words"),
    [(torch.full((2, 4), 7e4), "float16 cannot hold"), (torch.full((2, 4), torch.nan), "float16 cannot hold")],
)
def test_features_beyond_float16_are_refused(tmp_path, features, words):
    live = Featured()
    live.said_with_features = lambda images, index, view: (live.outputs(images, index, view).logits, features)
    cache = cache_in(tmp_path / "cache", live, KEEPING)
    with pytest.raises(InputError, match=words):
        cache.outputs(pictures()[:2], *at(2))
    assert not cache.lookup(*at(2)).known.any()


def test_features_of_another_width_are_refused(tmp_path):
    cache = cache_in(tmp_path / "cache", Featured(features=3), KEEPING)
    with pytest.raises(InputError, match="is for 4 features, the teacher gave 3"):
        cache.outputs(pictures()[:2], *at(2))
