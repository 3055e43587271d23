import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from preceptor.context import predicted_class
from preceptor.teachers.cache import Layout
from preceptor.teachers.cache.codec import LOWEST, Codec, _largest
from tests.teachers.cache.samples import agree, generator


def there_and_back(logits: Tensor, top_k: int | None = None) -> Tensor:
    codec = Codec(Layout(samples=1, views=1, classes=logits.shape[1], top_k=top_k))
    return codec.logits(codec.encode(logits))


def rows(largest: float, classes: int = 6) -> st.SearchStrategy[Tensor]:
    values = st.floats(-largest, largest, width=32, allow_subnormal=False)
    return arrays(np.float32, (3, classes), elements=values).map(torch.from_numpy)


@given(st.sampled_from([2.0**-20, 1.0, 30.0, 1e4]).flatmap(rows))
def test_every_logit_comes_back_within_the_bound(logits):
    assert agree(there_and_back(logits), logits)


@given(st.sampled_from([2.0**-23, 2.0**-10, 1.0, 30.0, 1e4]).flatmap(rows), st.sampled_from([None, 1, 2, 5]))
def test_the_predicted_class_is_never_another(logits, top_k):
    assert torch.equal(predicted_class(there_and_back(logits, top_k)), predicted_class(logits))


@pytest.mark.parametrize("top_k", [None, 1, 3])
@pytest.mark.parametrize("value", [0.0, 1e-3, 1.0, 7.3, -1000.0, 1024.0])
def test_of_two_neighbouring_floats_the_larger_stays_the_larger(value, top_k):
    logits = torch.full((6, 6), value).nextafter(torch.tensor(-torch.inf)).fill_diagonal_(value)
    assert predicted_class(there_and_back(logits, top_k)).tolist() == list(range(6))


@pytest.mark.parametrize("top", [3.7956e-08, 1.0, 1000.0])
def test_a_class_just_below_ties_with_the_top_is_not_predicted_for_its_small_index(top):
    tied = torch.full((1, 6), top)
    tied[0, 0] = tied[0, 0].nextafter(torch.tensor(-torch.inf)) if top >= 1 else 0.0
    assert predicted_class(there_and_back(tied, 1)).tolist() == [1]


@pytest.mark.parametrize("top_k", [None, 2])
def test_ties_stay_ties_and_go_to_the_smallest_class(top_k):
    back = there_and_back(torch.tensor([[1.0, 3.0, 3.0, 3.0], [2.0, 2.0, 2.0, 2.0]]), top_k)
    assert predicted_class(back).tolist() == [1, 0]
    assert back[0, 1] == back[0, 2] == 3.0


@pytest.mark.parametrize("top_k", [None, 2])
def test_logits_that_differ_more_than_float16_can_stay_finite(top_k):
    logits = torch.tensor([[3e38, -3e38, 0.0, 1.0], [1e4, -1e4, 0.0, 1.0], [0.0, -1e5, 5.0, 2.0]])
    back = there_and_back(logits, top_k)
    assert back.isfinite().all()
    assert predicted_class(back).tolist() == [0, 0, 2]
    if top_k is None:
        assert back[2, 1] == 5 + LOWEST


def test_probabilities_are_kept_better_than_logits():
    """The logarithm's error is 2^-11 (m - z), and z e^z is small where z is far below."""
    logits = torch.randn(2000, 100, generator=generator(0)) * 6
    apart = (there_and_back(logits).softmax(dim=1) - logits.softmax(dim=1)).abs().max()
    assert apart < 2.0**-11 / np.e * 1.1


def teacher_like(classes: int = 40) -> Tensor:
    return torch.randn(50, classes, generator=generator(3)) * 4


@pytest.mark.parametrize("k", [1, 5, 39])
def test_top_k_keeps_k_probabilities_and_shares_the_rest_evenly(k):
    logits = teacher_like()
    expected, kept = logits.double().softmax(dim=1), logits.topk(k).indices
    back = there_and_back(logits, k).double().softmax(dim=1)
    torch.testing.assert_close(back.gather(1, kept), expected.gather(1, kept), rtol=2e-3, atol=2e-4)
    others = torch.ones_like(back, dtype=torch.bool).scatter(1, kept, False)
    share = (expected * others).sum(dim=1, keepdim=True) / (40 - k)
    torch.testing.assert_close(back[others], share.expand_as(back)[others], rtol=2e-3, atol=0)
    torch.testing.assert_close((back * others).sum(1), (expected * others).sum(1), rtol=2e-3, atol=0)


def test_top_k_gives_the_same_logits_as_keeping_all_for_the_classes_it_keeps():
    logits = teacher_like()
    kept = logits.topk(5).indices
    assert torch.equal(there_and_back(logits, 5).gather(1, kept), there_and_back(logits).gather(1, kept))


def test_at_a_higher_temperature_top_k_gives_the_others_as_much_too_much_as_it_says():
    logits, temperature, k = teacher_like(), 4.0, 5
    back = there_and_back(logits, k)
    for row, kept, decoded in zip(logits.double(), logits.topk(k).indices, back.double(), strict=True):
        others = torch.ones(40, dtype=torch.bool).index_fill(0, kept, False)
        p = row.softmax(dim=0)[others]
        factor = p.mean() ** (1 / temperature) / (p ** (1 / temperature)).mean()
        odds = [(z[others] / temperature).exp().sum() / (z.max() / temperature).exp() for z in (decoded, row)]
        assert factor >= 1
        assert float(odds[0] / odds[1]) == pytest.approx(float(factor), rel=2e-3)


@pytest.mark.parametrize("classes", [256, 257, 70_000])
def test_the_last_class_of_many_can_be_kept(classes):
    logits = torch.zeros(2, classes)
    logits[0, classes - 1] = logits[1, 3] = 9.0
    assert predicted_class(there_and_back(logits, 2)).tolist() == [classes - 1, 3]


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_logits_of_another_type_are_taken_in_float32(kind):
    logits = teacher_like().to(kind)
    assert torch.equal(there_and_back(logits), there_and_back(logits.float()))


def test_no_row_at_all():
    assert there_and_back(torch.zeros(0, 7)).shape == (0, 7)
    assert there_and_back(torch.zeros(0, 7), 2).shape == (0, 7)


def kept_and_shared(logits: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """NumPy, float64: which classes are kept, and the probabilities that should come back."""
    kept = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    p = shifted / shifted.sum(axis=1, keepdims=True)
    is_kept = np.zeros(p.shape, bool)
    np.put_along_axis(is_kept, kept, True, axis=1)
    remaining = np.where(is_kept, 0, p).sum(axis=1, keepdims=True)
    return kept, np.where(is_kept, p, remaining / (p.shape[1] - k))


@pytest.mark.parametrize(
    ("classes", "k", "entry_bytes"),
    [(1000, 20, 92), (1000, 100, 412), (21_841, 20, 92), (21_841, 500, 2012), (65_536, 20, 92), (65_537, 20, 132)],
)
@pytest.mark.parametrize("sharpness", [0.0, 1.0, 5.0])
def test_probabilities_of_imagenets_many_classes_come_back_as_numpy_says(classes, k, entry_bytes, sharpness):
    layout = Layout(samples=1, views=1, classes=classes, top_k=k)
    assert layout.entry_bytes == entry_bytes
    codec, logits = Codec(layout), torch.randn(3, classes, generator=generator(classes)) * sharpness
    logits[0, classes - 1] = logits.max() + 2  # an index that a smaller type would not hold
    records = codec.encode(logits)
    kept, expected = kept_and_shared(logits.numpy(), k)
    np.testing.assert_array_equal(records["ids"], kept)
    z = logits.double().numpy()
    others = np.exp(z - z.max(axis=1, keepdims=True))
    np.put_along_axis(others, kept, 0, axis=1)
    mass = np.log(others.sum(axis=1))  # relative to the largest logit, as everything in a record
    np.testing.assert_allclose(records["rest"] + np.log(classes - k), mass, atol=2e-6, rtol=1e-6)
    back = codec.logits(records).double().softmax(dim=1).numpy()
    below = np.abs(np.take_along_axis(z, kept, axis=1) - z.max(axis=1, keepdims=True))
    rounding = 2.0**-10 * below.max() + 2e-6  # of log-probabilities: that of a logit, and of the sum over them
    np.testing.assert_allclose(np.log(back), np.log(expected), atol=rounding)
    np.testing.assert_allclose(back.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_the_largest_are_those_of_a_stable_sort(k):
    below = -torch.randint(0, 4, (200, 9), generator=generator(5)).float()
    below[::2, 4] = -0.0
    below[1::5, 2] = -torch.inf
    assert torch.equal(_largest(below, k), below.sort(dim=1, descending=True, stable=True).indices[:, :k])
