"""Filling a cache ahead of training, and looking after it."""

import pytest
import torch

from preceptor.data import CropFlip
from preceptor.errors import InputError
from preceptor.teachers.cache import Layout, bytes_used, count_missing, fill, open_readonly, reader, upkeep, verify
from tests.teachers.cache.samples import (
    FEW,
    VIEWS,
    Linear,
    agree,
    cache_in,
    every_entry,
    key,
    logits_of,
    pictures,
    shown,
)


@pytest.fixture(params=[7, 2**14], ids=["many chunks", "one chunk"])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many entries are looked at together."""
    set_chunk(monkeypatch, request.param)
    return int(request.param)


def set_chunk(monkeypatch: pytest.MonkeyPatch, entries: int) -> None:
    for module in (reader, upkeep):
        monkeypatch.setattr(module, "CHUNK", entries)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_every_entry_is_queried_once_in_its_own_view(tmp_path, chunk, batch_size):
    cache = cache_in(tmp_path / "cache", Linear(), batch_size=batch_size)
    assert fill(cache, pictures(), VIEWS) == 108
    assert sorted(cache.teacher.queried) == [(sample, view) for sample in range(12) for view in range(9)]
    assert set(cache.teacher.batch_sizes) == {batch_size}
    assert agree(cache.lookup(*every_entry()).logits, logits_of(Linear(), *every_entry()))


def test_one_that_was_stopped_goes_on_where_it_was(tmp_path, chunk):
    def stop_at_60(done: int, total: int) -> None:
        if done >= 60:
            raise KeyboardInterrupt

    cache = cache_in(tmp_path / "cache", Linear(), batch_size=12)
    with pytest.raises(KeyboardInterrupt):
        fill(cache, pictures(), VIEWS, progress=stop_at_60)
    before = cache.teacher.queried
    assert 60 <= len(before) < 72
    again = cache_in(tmp_path / "cache", Linear())
    assert count_missing(again) == 108 - len(before)
    assert fill(again, pictures(), VIEWS) == 108 - len(before)
    assert not set(before) & set(again.teacher.queried)
    assert agree(again.lookup(*every_entry()).logits, logits_of(Linear(), *every_entry()))
    assert fill(again, pictures(), VIEWS) == 0


def test_some_samples_only(tmp_path, chunk):
    cache = cache_in(tmp_path / "cache", Linear())
    assert fill(cache, pictures(), VIEWS, samples=torch.tensor([8, 2])) == 18
    index, _ = every_entry()
    assert torch.equal(cache.lookup(*every_entry()).known, (index == 2) | (index == 8))
    assert count_missing(cache, torch.tensor([8, 3])) == 9


def test_progress_counts_up_to_what_was_missing(tmp_path):
    cache = cache_in(tmp_path / "cache", Linear(), batch_size=30)
    cache.query_and_store(shown(torch.arange(8), torch.arange(8)), torch.arange(8), torch.arange(8))
    steps = []
    fill(cache, pictures(), VIEWS, progress=lambda done, total: steps.append((done, total)))
    assert [total for _, total in steps] == [100] * 4
    assert steps[-1] == (100, 100)
    assert sorted(steps) == steps


@pytest.mark.parametrize(("samples", "views"), [(11, VIEWS), (12, CropFlip(1, True))])
def test_images_and_augmentation_must_be_those_of_the_cache(tmp_path, samples, views):
    with pytest.raises(InputError, match=rf"12 samples of 9 views; got {samples} of {views.count}"):
        fill(cache_in(tmp_path / "cache", Linear()), pictures(samples), views)


@pytest.mark.parametrize(
    "layout",
    [
        Layout(samples=12, views=9, classes=100),
        Layout(samples=12, views=9, classes=300, top_k=7),
        Layout(samples=12, views=9, classes=30, top_k=1),
    ],
    ids=str,
)
def test_the_files_are_as_large_as_planned(tmp_path, layout):
    with cache_in(tmp_path / "cache", Linear(layout.classes), layout) as cache:
        fill(cache, pictures(), VIEWS)
        files = [path for path in cache.folder.iterdir() if path.suffix == ".bin"]
        assert sum(path.stat().st_size for path in files) == layout.bytes
        blocks = 4096 * len(files)  # a file ends within a block
        assert layout.bytes <= bytes_used(cache) <= layout.bytes + blocks


def test_entries_and_bytes_of_an_empty_a_half_filled_and_a_full_cache(tmp_path):
    cache = cache_in(tmp_path / "cache", Linear())
    assert (cache.count, bytes_used(cache)) == (0, 0)
    half = tuple(numbers[:54] for numbers in every_entry())
    cache.query_and_store(shown(*half), *half)
    assert cache.count == 54
    fill(cache, pictures(), VIEWS)
    full = open_readonly(tmp_path / "cache")
    assert (full.count, full.layout, full.metadata.key) == (FEW.entries, FEW, key())


def test_verify_shows_its_progress(tmp_path, monkeypatch):
    set_chunk(monkeypatch, 50)
    cache, steps = cache_in(tmp_path / "cache", Linear()), []
    assert verify(cache, progress=lambda *step: steps.append(step)) == 0
    assert steps == [(50, 108), (100, 108), (108, 108)]
