import pytest
import torch
from torch import Tensor

from preceptor.data import CropFlip
from preceptor.errors import InputError
from preceptor.recipes import recipe_names
from preceptor.teachers.base import Teacher, TeacherOutput
from preceptor.teachers.cache import Layout, fill
from tests.classroom import digits, few, untrained_teacher
from tests.examples import ready, suited
from tests.teachers.cache.vault import (
    CLASSES,
    FEW,
    Weighing,
    agree,
    cache_in,
    every_cell,
    generator,
    pictures,
    rounding,
    shown,
)


class Network:
    """A live network that ignores which sample it is shown."""

    def __init__(self) -> None:
        self.teacher = untrained_teacher()

    def outputs(self, images: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        return TeacherOutput(self.teacher(images) * 20)  # as spread as those of a trained one


CASES = {
    "all 162 views of 28 x 28": (pictures(4, size=28), CropFlip(4, True)),
    "all 9 views of digits": (digits().train.images[few(20)], digits().augmentation),
}


@pytest.mark.parametrize("case", CASES)
def test_cached_is_live_within_rounding_for_every_view(tmp_path, case):
    images, rule = CASES[case]
    index, view = every_cell(len(images), rule.count)
    live = Network()
    with cache_in(tmp_path / "cache", live, Layout(samples=len(images), views=rule.count, classes=10)) as cache:
        fill(cache, images, rule, batch_size=100)
        cache.live = None
        views = shown(index, view, rule, images)
        word, cached = live.outputs(views, index, view).logits, cache.outputs(views, index, view).logits
    assert word.std() > 0.5
    # A network rounds a sum otherwise in a batch of another size.
    assert ((cached - word).abs() <= rounding(word) + 1e-5 * word.abs().max()).all()


@pytest.mark.parametrize("name", [name for name in recipe_names() if name != "none"])
def test_cached_and_live_give_the_same_losses_within_rounding(tmp_path, name):
    index, view = every_cell(1, 162)
    images, rule, live = pictures(1, size=8), CropFlip(4, True), Weighing(10, size=8)
    cache = cache_in(tmp_path / "cache", live, Layout(samples=1, views=162, classes=10))
    loss = ready(name, size=1)
    student = suited(loss, torch.randn(len(index), 10, generator=generator(4)) * 3)
    shown_now = shown(index, view, rule, images)
    losses = [
        loss(student, teacher.outputs(shown_now, index, view).logits, view % 10, index=index, progress=0.5)
        for teacher in (live, cache)
    ]
    for term, value in losses[0].losses.items():
        torch.testing.assert_close(losses[1][term], value, rtol=1e-3, atol=1e-5)


def test_a_bank_is_a_signal(tmp_path):
    cache = cache_in(tmp_path / "cache", Weighing())
    assert isinstance(cache, Teacher)
    assert cache.classes == CLASSES
    word = cache.outputs(shown(*every_cell()), *every_cell()).logits
    assert word.dtype == torch.float32
    assert not word.requires_grad


@pytest.mark.parametrize("layout", [FEW, Layout(samples=12, views=9, classes=5, shard_bytes=400)], ids=["one", "many"])
def test_the_teacher_is_asked_once_for_each_cell_and_only_for_what_is_missing(tmp_path, layout):
    live, order = Weighing(), torch.randperm(108, generator=generator(2))
    cache = cache_in(tmp_path / "cache", live, layout)
    index, view = (numbers[order] for numbers in every_cell())
    expected = Weighing().outputs(shown(index, view), index, view).logits
    for start, stop in ((0, 30), (20, 60), (0, 108)):
        part = slice(start, stop)
        assert agree(cache.outputs(shown(index[part], view[part]), index[part], view[part]).logits, expected[part])
    assert live.asked == list(zip(index.tolist(), view.tolist(), strict=True))
    assert len(list(cache.folder.glob("shard-*.bin"))) == layout.shards


def test_the_batch_that_fills_and_the_one_that_finds_see_the_same_bits(tmp_path):
    cache, cells = cache_in(tmp_path / "cache", Weighing()), every_cell()
    first = cache.outputs(shown(*cells), *cells).logits
    cache.live = None
    assert torch.equal(cache.outputs(shown(*cells), *cells).logits, first)
    assert torch.equal(cache_in(tmp_path / "cache").outputs(shown(*cells), *cells).logits, first)
    assert not torch.equal(first, Weighing().outputs(shown(*cells), *cells).logits)


def test_a_cell_twice_in_one_batch(tmp_path):
    cache, index, view = (
        cache_in(tmp_path / "cache", Weighing()),
        torch.tensor([3, 5, 3, 3]),
        torch.tensor([1, 1, 1, 2]),
    )
    word = cache.outputs(shown(index, view), index, view).logits
    assert torch.equal(word[0], word[2])
    assert agree(word, Weighing().outputs(shown(index, view), index, view).logits)


def test_an_empty_batch(tmp_path):
    nothing = torch.zeros(0, dtype=torch.int64)
    cache = cache_in(tmp_path / "cache")
    assert cache.outputs(pictures()[:0], nothing, nothing).logits.shape == (0, CLASSES)


def test_without_a_teacher_a_missing_cell_is_an_error_that_names_it(tmp_path):
    index, view = torch.tensor([0, 4, 4]), torch.tensor([0, 7, 8])
    cache = cache_in(tmp_path / "cache", Weighing())
    cache.outputs(shown(index[:1], view[:1]), index[:1], view[:1])
    cache.live = None
    with pytest.raises(InputError, match=r"nothing kept for sample 4, view 7 and 1 more of this batch: fill it ahead"):
        cache.outputs(shown(index, view), index, view)
    with pytest.raises(InputError, match="no teacher to fill it from"):
        fill(cache, pictures(), CropFlip(1, False))


@pytest.mark.parametrize(
    ("index", "view", "words"),
    [
        ([0, 12], [0, 0], r"sample 12: it has samples 0 to 11"),
        ([-1, 0], [0, 0], r"sample -1: it has"),
        ([0, 1], [0, 9], r"view 9: it has views 0 to 8"),
        ([0, 1], [-1, 0], r"view -1"),
    ],
)
def test_a_cell_that_is_not_there_is_an_error(tmp_path, index, view, words):
    cache = cache_in(tmp_path / "cache", Weighing())
    with pytest.raises(InputError, match=words):
        cache.outputs(pictures()[:2], torch.tensor(index), torch.tensor(view))


class Spoilt(Weighing):
    """OutputKind a number that is none of sample 3 in view 2."""

    def outputs(self, images: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        word = super().outputs(images, index, view).logits
        word[(index == 3) & (view == 2), 1] = torch.nan
        return TeacherOutput(word)


def test_logits_that_are_not_finite_are_refused_and_none_of_the_batch_is_kept(tmp_path):
    cache, cells = cache_in(tmp_path / "cache", Spoilt()), every_cell()
    with pytest.raises(InputError, match=r"not finite for 1 of 108 images, the first sample 3, view 2"):
        cache.outputs(shown(*cells), *cells)
    assert not cache.lookup(*cells).known.any()


def test_a_teacher_of_other_classes_is_refused(tmp_path):
    cache = cache_in(tmp_path / "cache", Weighing(classes=4))
    with pytest.raises(InputError, match="is for 5 classes, the teacher gave 4"):
        cache.outputs(shown(*every_cell()), *every_cell())


def test_what_is_there_can_be_recalled_without_images(tmp_path):
    live, cells = Weighing(), every_cell()
    cache = cache_in(tmp_path / "cache", live)
    half = tuple(numbers[::2] for numbers in cells)
    cache.learn(shown(*half), *half)
    recalled = cache.lookup(*cells)
    assert recalled.known.tolist() == [True, False] * 54
    assert torch.equal(recalled.logits[::2], cache.outputs(shown(*half), *half).logits)
    assert recalled.features is None
    assert len(live.asked) == 54


def test_a_word_that_is_kept_is_never_replaced(tmp_path):
    cache, cells = cache_in(tmp_path / "cache", Weighing()), every_cell()
    cache.learn(shown(*cells), *cells)
    before = cache.lookup(*cells).logits
    cache.live = Weighing(shift=9.0)
    cache.learn(shown(*cells), *cells)
    assert torch.equal(cache.lookup(*cells).logits, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_the_word_comes_where_the_images_are(tmp_path):
    cache, cells = cache_in(tmp_path / "cache", Weighing()), every_cell()
    images = shown(*cells)
    word = cache.outputs(images, *cells).logits
    there = cache.outputs(images.cuda(), *cells).logits
    assert there.is_cuda
    assert torch.equal(there.cpu(), word)
