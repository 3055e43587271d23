import pytest
import torch

from preceptor.errors import InputError
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.cache import Layout, fill, info, open_readonly, spot_check, verify
from tests.teachers.cache.vault import FEW, RULE, Weighing, cache_in, every_cell, fingerprint, pictures, shown


def test_info_of_an_empty_a_half_filled_and_a_full_bank(tmp_path):
    cache = cache_in(tmp_path / "cache", Weighing())
    assert (info(cache).filled, info(cache).share, info(cache).bytes_used) == (0, 0.0, 0)
    half = tuple(numbers[:54] for numbers in every_cell())
    cache.learn(shown(*half), *half)
    assert (info(cache).filled, info(cache).share) == (54, 0.5)
    fill(cache, pictures(), RULE)
    full = info(open_readonly(tmp_path / "cache"))
    assert full.filled == FEW.cells
    assert full.layout == FEW
    assert full.fingerprint == fingerprint()
    assert full.bytes_full == FEW.cells * FEW.cell_bytes


def test_verify_tells_how_far_it_is(tmp_path):
    cache = cache_in(tmp_path / "cache", Weighing(), Layout(samples=12, views=9, classes=5, shard_bytes=400))
    told = []
    assert verify(cache, progress=lambda *so_far: told.append(so_far)).filled == 0
    fill(cache, pictures(), RULE)
    assert verify(cache).filled == 108
    assert told == [(18 * number, 108) for number in range(1, 7)]


@pytest.mark.parametrize("top_k", [None, 1, 2])
def test_the_teacher_a_bank_is_of_agrees_with_it(tmp_path, top_k):
    cache = cache_in(tmp_path / "cache", Weighing(), FEW.model_copy(update={"top_k": top_k}))
    fill(cache, pictures(), RULE)
    assert spot_check(cache, pictures(), RULE) < 1e-3
    cache.live = Weighing(shift=3.0)  # which no softmax sees
    assert spot_check(cache, pictures(), RULE) < 1e-3


class Turned(Weighing):
    """A teacher with its classes in another order."""

    def outputs(self, *given):
        return TeacherOutput(super().outputs(*given).logits.roll(1, dims=1))


@pytest.mark.parametrize(
    ("live", "images"),
    [(Turned(), pictures()), (Weighing(), pictures().flip(0)), (Weighing(), pictures().flip(3))],
    ids=["teacher", "order of the images", "mirrored images"],
)
def test_something_else_is_found_out_by_a_few_questions(tmp_path, live, images):
    cache = cache_in(tmp_path / "cache", Weighing())
    fill(cache, pictures(), RULE)
    cache.live = live
    with pytest.raises(InputError, match=r"a probability that is 0\.\d+ off what was kept for sample \d+, view \d"):
        spot_check(cache, images, RULE, cells=10)


def test_only_filled_cells_are_asked_about_each_as_likely_as_any_other(tmp_path):
    cache = cache_in(tmp_path / "cache", Weighing(), Layout(samples=12, views=9, classes=5, shard_bytes=400))
    index, view = torch.tensor([0, 3, 3, 11]), torch.tensor([1, 0, 8, 8])
    cache.learn(shown(index, view), index, view)
    cache.live.asked.clear()
    assert spot_check(cache, pictures(), RULE) < 1e-3
    assert cache.live.asked == [(0, 1), (3, 0), (3, 8), (11, 8)]
    cache.live.asked.clear()
    for seed in range(100):
        spot_check(cache, pictures(), RULE, cells=1, seed=seed)
    counts = [cache.live.asked.count(cell) for cell in ((0, 1), (3, 0), (3, 8), (11, 8))]
    assert min(counts) > 10


def test_an_empty_bank_and_one_without_a_teacher(tmp_path):
    cache = cache_in(tmp_path / "cache", Weighing())
    assert spot_check(cache, pictures(), RULE) == 0.0
    cache.live = None
    with pytest.raises(InputError, match="no teacher to compare it with"):
        spot_check(cache, pictures(), RULE)
