"""The logit cache as a teacher: live outputs within rounding, queried once, in batches of one size."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from preceptor.data import CropFlip
from preceptor.errors import InputError
from preceptor.recipes import recipe_names
from preceptor.teachers.base import Teacher, TeacherOutput
from preceptor.teachers.cache import Layout, fill
from tests.examples import ready, suited
from tests.teachers.cache.samples import (
    CLASSES,
    Linear,
    agree,
    cache_in,
    every_entry,
    generator,
    logits_of,
    pictures,
    rounding,
    shown,
)
from tests.training_helpers import digits, few, untrained_teacher


class Network:
    """A network that ignores which sample it is shown."""

    classes = 10

    def __init__(self) -> None:
        self.teacher = untrained_teacher()
        self.batch_sizes: list[int] = []

    def outputs(self, inputs: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        self.batch_sizes.append(len(inputs))
        return TeacherOutput(self.teacher(inputs) * 20)  # as spread as those of a trained one


CASES = {
    "all 162 views of 28 x 28": (pictures(4, size=28), CropFlip(4, True)),
    "all 9 views of digits": (digits().train.images[few(20)], digits().augmentation),
}


@pytest.mark.parametrize("case", CASES)
def test_cached_is_live_within_rounding_for_every_view(tmp_path, case):
    images, views = CASES[case]
    index, view = every_entry(len(images), views.count)
    live = Network()
    with cache_in(tmp_path / "cache", live, Layout(samples=len(images), views=views.count, classes=10), 100) as cache:
        fill(cache, images, views)
        cache.teacher = None
        inputs = shown(index, view, views, images)
        logits, cached = live.outputs(inputs, index, view).logits, cache.outputs(inputs, index, view).logits
    assert logits.std() > 0.5
    # A network rounds a sum otherwise in a batch of another size.
    assert ((cached - logits).abs() <= rounding(logits) + 1e-5 * logits.abs().max()).all()


OF_LOGITS = [name for name in recipe_names() if name != "none" and not ready(name).feature_losses]
"""Recipes that use the teacher's logits alone; a cache keeps no feature maps."""


@pytest.mark.parametrize("name", OF_LOGITS)
def test_cached_and_live_give_the_same_losses_within_rounding(tmp_path, name):
    index, view = every_entry(1, 162)
    images, views, live = pictures(1, size=8), CropFlip(4, True), Linear(10, size=8)
    cache = cache_in(tmp_path / "cache", live, Layout(samples=1, views=162, classes=10))
    loss = ready(name, size=1, classes=10)
    student = suited(loss, torch.randn(len(index), 10, generator=generator(4)) * 3)
    inputs = shown(index, view, views, images)
    losses = [
        loss(student, teacher.outputs(inputs, index, view).logits, view % 10, index=index, progress=0.5)
        for teacher in (live, cache)
    ]
    for term, value in losses[0].losses.items():
        torch.testing.assert_close(losses[1].losses[term], value, rtol=1e-3, atol=1e-5)


@given(before=st.lists(st.integers(0, 107), max_size=20), batch_size=st.sampled_from([4, 16, 64]))
def test_outputs_do_not_depend_on_what_was_cached_before(tmp_path_factory, before, batch_size):
    """A run that goes on from a half-filled cache queries its teacher in other company, for the same bits."""
    images, views = digits().train.images[few(12)], digits().augmentation
    index, view = every_entry()
    inputs = shown(index, view, views, images)
    layout, folder = Layout(samples=12, views=9, classes=10), tmp_path_factory.mktemp("caches")
    at_once = cache_in(folder / "at once", Network(), layout, batch_size).outputs(inputs, index, view).logits
    cache = cache_in(folder / "in parts", Network(), layout, batch_size)
    for some in torch.tensor(before, dtype=torch.int64).split(3):
        cache.outputs(inputs[some], index[some], view[some])
    assert torch.equal(cache.outputs(inputs, index, view).logits, at_once)
    assert set(cache.teacher.batch_sizes) == {batch_size}


def test_a_cache_is_a_teacher(tmp_path):
    cache = cache_in(tmp_path / "cache", Linear())
    assert isinstance(cache, Teacher)
    assert cache.classes == CLASSES
    output = cache.outputs(shown(*every_entry()), *every_entry())
    assert output.logits.dtype == torch.float32
    assert not output.logits.requires_grad
    assert not output.features


def test_the_teacher_is_queried_once_for_each_entry_and_only_for_what_is_missing(tmp_path):
    teacher, order = Linear(), torch.randperm(108, generator=generator(2))
    cache = cache_in(tmp_path / "cache", teacher)
    index, view = (numbers[order] for numbers in every_entry())
    expected = logits_of(Linear(), index, view)
    for start, stop in ((0, 30), (20, 60), (0, 108)):
        part = slice(start, stop)
        assert agree(cache.outputs(shown(index[part], view[part]), index[part], view[part]).logits, expected[part])
    assert teacher.queried == list(zip(index.tolist(), view.tolist(), strict=True))
    assert set(teacher.batch_sizes) == {16}


def test_inputs_may_be_tensors_by_name(tmp_path):
    class OfTokens:
        classes = CLASSES

        def outputs(self, inputs: dict[str, Tensor], index: Tensor, view: Tensor) -> TeacherOutput:
            return TeacherOutput(inputs["tokens"][:, :CLASSES].float() * inputs["mask"])

    cache, index = cache_in(tmp_path / "cache", OfTokens()), torch.arange(3)
    inputs = {"tokens": torch.arange(18).reshape(3, 6), "mask": torch.tensor([[1.0], [2.0], [0.5]])}
    cached = cache.outputs(inputs, index, torch.zeros_like(index)).logits
    assert agree(cached, inputs["tokens"][:, :CLASSES].float() * inputs["mask"])


def test_the_batch_that_fills_and_the_one_that_finds_see_the_same_bits(tmp_path):
    cache, entries = cache_in(tmp_path / "cache", Linear()), every_entry()
    first = cache.outputs(shown(*entries), *entries).logits
    cache.teacher = None
    assert torch.equal(cache.outputs(shown(*entries), *entries).logits, first)
    assert torch.equal(cache_in(tmp_path / "cache").outputs(shown(*entries), *entries).logits, first)
    assert not torch.equal(first, logits_of(Linear(), *entries))


def test_an_entry_twice_in_one_batch(tmp_path):
    cache, index, view = cache_in(tmp_path / "cache", Linear()), torch.tensor([3, 5, 3, 3]), torch.tensor([1, 1, 1, 2])
    logits = cache.outputs(shown(index, view), index, view).logits
    assert torch.equal(logits[0], logits[2])
    assert agree(logits, logits_of(Linear(), index, view))


def test_an_empty_batch(tmp_path):
    nothing = torch.zeros(0, dtype=torch.int64)
    cache = cache_in(tmp_path / "cache", Linear())
    assert cache.outputs(pictures()[:0], nothing, nothing).logits.shape == (0, CLASSES)
    cache.query_and_store(pictures()[:0], nothing, nothing)
    assert cache.count == 0


def test_without_a_teacher_a_missing_entry_is_an_error_that_names_it(tmp_path):
    index, view = torch.tensor([0, 4, 4]), torch.tensor([0, 7, 8])
    cache = cache_in(tmp_path / "cache", Linear())
    cache.outputs(shown(index[:1], view[:1]), index[:1], view[:1])
    cache.teacher = None
    with pytest.raises(
        InputError, match=r"nothing cached for sample 4, view 7 and 1 more of this batch: give --teacher"
    ):
        cache.outputs(shown(index, view), index, view)
    with pytest.raises(InputError, match="no teacher to query: give --teacher"):
        fill(cache, pictures(), CropFlip(1, False))


@pytest.mark.parametrize(
    ("index", "view", "message"),
    [
        ([0, 12], [0, 0], r"sample is 12; expected 0 to 11"),
        ([-1, 0], [0, 0], r"sample is -1; expected"),
        ([0, 1], [0, 9], r"view is 9; expected 0 to 8"),
        ([0, 1], [-1, 0], r"view is -1"),
    ],
)
def test_an_entry_out_of_range_is_an_error(tmp_path, index, view, message):
    cache = cache_in(tmp_path / "cache", Linear())
    for query in (cache.outputs, cache.query_and_store, lambda _, *entries: cache.lookup(*entries)):
        with pytest.raises(InputError, match=message):
            query(pictures()[:2], torch.tensor(index), torch.tensor(view))


def test_logits_that_are_not_finite_are_refused_and_none_of_the_batch_is_kept(tmp_path):
    class NanAt(Linear):
        def outputs(self, inputs: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
            logits = super().outputs(inputs, index, view).logits
            logits[(index == 3) & (view == 2), 1] = torch.nan
            return TeacherOutput(logits)

    entries = every_entry()
    cache = cache_in(tmp_path / "cache", NanAt(), batch_size=108)
    with pytest.raises(InputError, match=r"logits are not finite for 1 of 108 images, the first sample 3, view 2"):
        cache.outputs(shown(*entries), *entries)
    assert not cache.lookup(*entries).known.any()


def test_a_teacher_of_other_classes_is_refused(tmp_path):
    cache = cache_in(tmp_path / "cache", Linear(classes=4))
    with pytest.raises(InputError, match="the teacher returned 4 logits; expected 5"):
        cache.outputs(shown(*every_entry()), *every_entry())


def test_lookup_needs_no_images_and_queries_nothing(tmp_path):
    teacher, entries = Linear(), every_entry()
    cache = cache_in(tmp_path / "cache", teacher)
    half = tuple(numbers[::2] for numbers in entries)
    cache.query_and_store(shown(*half), *half)
    logits, known = cache.lookup(*entries)
    assert known.tolist() == [True, False] * 54
    assert torch.equal(known, cache.is_filled(*entries))
    assert torch.equal(logits[::2], cache.outputs(shown(*half), *half).logits)
    assert len(teacher.queried) == cache.count == 54


def test_an_entry_is_never_replaced(tmp_path):
    cache, entries = cache_in(tmp_path / "cache", Linear()), every_entry()
    cache.query_and_store(shown(*entries), *entries)
    before = cache.lookup(*entries).logits
    cache.teacher = Linear(shift=9.0)
    cache.query_and_store(shown(*entries), *entries)
    assert torch.equal(cache.lookup(*entries).logits, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_outputs_are_where_the_inputs_are(tmp_path):
    cache, entries = cache_in(tmp_path / "cache", Linear()), every_entry()
    images = shown(*entries)
    logits = cache.outputs(images, *entries).logits
    on_device = cache.outputs(images.cuda(), *entries).logits
    assert on_device.is_cuda
    assert torch.equal(on_device.cpu(), logits)
