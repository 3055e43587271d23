import resource
import shutil
from collections import namedtuple

import pytest
import torch

from preceptor.data import CropFlip
from preceptor.errors import InputError, MachineError
from preceptor.teachers.cache import Layout, fill, info, verify
from tests.teachers.cache.vault import (
    FEW,
    RULE,
    SAMPLES,
    Featured,
    Weighing,
    agree,
    cache_in,
    every_cell,
    pictures,
    shown,
)


def right() -> torch.Tensor:
    return Weighing().outputs(shown(*every_cell()), *every_cell()).logits


@pytest.mark.parametrize("layout", [FEW, Layout(samples=12, views=9, classes=5, shard_bytes=700)], ids=["one", "many"])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_every_cell_is_asked_once_in_its_own_view(tmp_path, layout, batch_size):
    cache = cache_in(tmp_path / "cache", Weighing(), layout)
    assert fill(cache, pictures(), RULE, batch_size=batch_size) == 108
    assert sorted(cache.live.asked) == [(sample, view) for sample in range(12) for view in range(9)]
    assert agree(cache.lookup(*every_cell()).logits, right())


def test_one_that_was_stopped_goes_on_where_it_was(tmp_path):
    class Enough(Exception):
        """Somebody has pressed a key."""

    def stop_at_60(done: int, total: int) -> None:
        if done >= 60:
            raise Enough

    cache = cache_in(tmp_path / "cache", Weighing())
    with pytest.raises(Enough):
        fill(cache, pictures(), RULE, batch_size=12, progress=stop_at_60)
    kept = cache.live.asked
    assert len(kept) == 60
    again = cache_in(tmp_path / "cache", Weighing())
    assert fill(again, pictures(), RULE, batch_size=12) == 48
    assert not set(kept) & set(again.live.asked)
    assert agree(again.lookup(*every_cell()).logits, right())
    assert fill(again, pictures(), RULE) == 0


def test_some_samples_only(tmp_path):
    cache = cache_in(tmp_path / "cache", Weighing())
    assert fill(cache, pictures(), RULE, positions=torch.tensor([8, 2])) == 18
    index, _ = every_cell()
    assert torch.equal(cache.lookup(*every_cell()).known, (index == 2) | (index == 8))


def test_progress_counts_up_to_what_there_was_to_do(tmp_path):
    cache = cache_in(tmp_path / "cache", Weighing())
    cache.learn(shown(torch.arange(8), torch.arange(8)), torch.arange(8), torch.arange(8))
    told = []
    fill(cache, pictures(), RULE, batch_size=30, progress=lambda done, total: told.append((done, total)))
    assert [total for _, total in told] == [100] * 4
    assert told[-1] == (100, 100)
    assert sorted(told) == told


@pytest.mark.parametrize(("samples", "rule"), [(11, RULE), (12, CropFlip(1, True))])
def test_images_and_rule_must_be_those_of_the_bank(tmp_path, samples, rule):
    with pytest.raises(InputError, match=rf"12 samples of 9 views, given are {samples} of {rule.count}"):
        fill(cache_in(tmp_path / "cache", Weighing()), pictures(samples), rule)


def test_a_lazily_filled_bank_takes_only_what_is_filled(tmp_path):
    layout = Layout(samples=200_000, views=9, classes=100)
    cache = cache_in(tmp_path / "cache", Weighing(100), layout)
    assert info(cache).bytes_used == 0
    index = torch.arange(0, 200_000, 2000)
    images = pictures(100)
    cache.learn(images, index, torch.zeros(100, dtype=torch.int64))
    now = info(cache)
    assert now.filled == 100
    assert now.share == 100 / 1_800_000
    assert now.bytes_full == 1_800_000 * 208
    assert now.bytes_used <= 100 * 3 * 4096  # blocks: of its mark, and of a record that may lie across two


def test_a_disk_without_room_is_told_before_any_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9, 108 * FEW.cell_bytes - 1))
    cache = cache_in(tmp_path / "cache", Weighing())
    with pytest.raises(MachineError, match=r"0.0 GB are to be written and 0.0 GB are free: make room"):
        fill(cache, pictures(), RULE)
    assert cache.live.asked == []
    fill(cache, pictures(), RULE, positions=torch.arange(11))


@pytest.fixture
def files_end_at():
    """Sets how long this process may make a file: a write beyond fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_is_an_error_that_loses_nothing(tmp_path, files_end_at):
    cache = cache_in(tmp_path / "cache", Featured(), Layout(samples=12, views=9, classes=5, features=4))
    first, last = (torch.full((9,), sample) for sample in (0, 11))
    views = torch.arange(9)
    cache.learn(shown(first, views), first, views)
    files_end_at(cache.store.shards[0].bytes - 100)
    with pytest.raises(MachineError, match=r"shard-00000.bin: cannot be written: .*: make room"):
        cache.learn(shown(last, views), last, views)
    assert verify(cache).filled == 9
    files_end_at(resource.RLIM_INFINITY)
    assert fill(cache, pictures(), RULE) == 108 - 9
    assert verify(cache).filled == 108


def test_a_disk_without_room_for_a_new_file_is_an_error(tmp_path, files_end_at):
    cache = cache_in(tmp_path / "cache", Weighing())
    files_end_at(1000)
    with pytest.raises(MachineError, match=r"(shard-00000.bin|\.adding): cannot be written"):
        fill(cache, pictures(), RULE)
    files_end_at(resource.RLIM_INFINITY)
    assert fill(cache, pictures(), RULE) == SAMPLES * 9
