"""Several writers, killed ones and broken off ones among them."""

import os
import threading
import time

import pytest
import torch

from preceptor.data import CropFlip
from preceptor.teachers.cache import Layout, fill, verify
from preceptor.teachers.cache.store import Store
from tests.teachers.cache.processes import beside, fill_it
from tests.teachers.cache.vault import FEW, RULE, SAMPLES, Weighing, agree, cache_in, every_cell, pictures, shown

LAYOUTS = [FEW, Layout(samples=12, views=9, classes=5, shard_bytes=400)]


def right() -> torch.Tensor:
    """What the teacher says of every cell."""
    return Weighing().outputs(shown(*every_cell()), *every_cell()).logits


def every_known_word_is_right(cache) -> int:
    """How many there are, once it is clear that they are."""
    verify(cache)
    recalled = cache.lookup(*every_cell())
    assert agree(recalled.logits[recalled.known], right()[recalled.known])
    return int(recalled.known.sum())


@pytest.mark.parametrize("layout", LAYOUTS, ids=["one file", "many"])
def test_two_processes_fill_one_bank_together(tmp_path, layout):
    both = [beside(fill_it, tmp_path / "cache", tmp_path / str(number), 0.0, layout) for number in range(2)]
    for child in both:
        child.join()
    assert [child.exitcode for child in both] == [0, 0]
    cache = cache_in(tmp_path / "cache", layout=layout)
    assert every_known_word_is_right(cache) == 108
    asked = [(tmp_path / str(number)).read_text().splitlines() for number in range(2)]
    assert 108 <= sum(map(len, asked)) < 2 * 108
    assert len(set(asked[0] + asked[1])) == 108


def test_where_two_teachers_disagree_the_first_word_stays_whole(tmp_path):
    """Two processes round otherwise, if they ask in other batches: a row is of one or of the other."""
    both = [beside(fill_it, tmp_path / "cache", tmp_path / str(shift), shift) for shift in (0.0, 0.25)]
    for child in both:
        child.join()
    verify(cache_in(tmp_path / "cache"))
    logits = cache_in(tmp_path / "cache").lookup(*every_cell()).logits
    for row, first, second in zip(logits, right(), right() + 0.25, strict=True):
        assert agree(row[None], first[None]) or agree(row[None], second[None])


def test_threads_of_one_process_share_a_bank(tmp_path):
    cache, images = cache_in(tmp_path / "cache", Weighing()), pictures()
    threads = [threading.Thread(target=fill, args=(cache, images, RULE), kwargs={"batch_size": 3}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert every_known_word_is_right(cache) == 108


def test_a_process_killed_while_it_fills_leaves_no_wrong_word(tmp_path):
    rule, layout = CropFlip(4, True), Layout(samples=12, views=162, classes=5, shard_bytes=8_000)
    cells, known = every_cell(12, 162), [0]
    expected = Weighing().outputs(shown(*cells, rule), *cells).logits
    for _ in range(3):
        child = beside(fill_it, tmp_path / "cache", tmp_path / "report", 0.0, layout, 3)
        cache = cache_in(tmp_path / "cache", layout=layout)
        while child.is_alive() and cache.store.count() <= known[-1] + 200:
            time.sleep(0.001)
        child.kill()
        child.join()
        recalled = cache.lookup(*cells)
        assert verify(cache).filled == recalled.known.sum()
        assert agree(recalled.logits[recalled.known], expected[recalled.known])
        known.append(int(recalled.known.sum()))
    assert 0 < known[1] < known[2] < known[3] < layout.cells
    cache = cache_in(tmp_path / "cache", Weighing(), layout)
    assert fill(cache, pictures(), rule) == layout.cells - known[-1]
    assert agree(cache.lookup(*cells).logits, expected)


class Killed(BaseException):
    """The process is no more."""


def dying_at(write: int, part: float, monkeypatch) -> None:
    """From this write on, nothing reaches the disk; of this one, a part does."""
    real, made = os.pwrite, [0]

    def pwrite(file: int, content: bytes, offset: int) -> int:
        made[0] += 1
        if made[0] == write:
            real(file, content[: int(part * len(content))], offset)
        if made[0] >= write:
            raise Killed
        return real(file, content, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)


@pytest.mark.parametrize("part", [0.0, 0.4])
def test_a_write_broken_off_anywhere_leaves_no_wrong_word(tmp_path, part):
    """Of records; the mark of a cell is four aligned bytes, which are written whole or not at all.

    What was about to be written is noted before: whoever writes next finishes it, and asks nothing again.
    """
    index, view = torch.tensor([1, 1, 1, 7, 7, 2]), torch.tensor([3, 4, 5, 0, 8, 2])
    for write in range(1, 9):  # four runs of neighbours, each of records and of marks
        folder = tmp_path / str(write)
        cache = cache_in(folder, Weighing())
        with pytest.MonkeyPatch.context() as monkeypatch:
            dying_at(write, part if write <= 4 else 0.0, monkeypatch)
            with pytest.raises(Killed):
                cache.learn(shown(index, view), index, view)
        known = every_known_word_is_right(cache_in(folder))
        assert known == [0, 0, 0, 0, 0, 3, 4, 5][write - 1]
        cache = cache_in(folder, Weighing())
        assert agree(
            cache.outputs(shown(index, view), index, view).logits,
            Weighing().outputs(shown(index, view), index, view).logits,
        )
        assert cache.live.asked == []


def test_a_write_taken_in_parts_is_completed(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, content, offset: real(file, content[:7], offset))
    cache = cache_in(tmp_path / "cache", Weighing())
    fill(cache, pictures(), RULE)
    assert every_known_word_is_right(cache) == 108


def test_what_one_process_writes_the_other_sees_at_once(tmp_path):
    reader = cache_in(tmp_path / "cache")
    assert not reader.lookup(*every_cell()).known.any()  # before there is a file
    writer = cache_in(tmp_path / "cache", Weighing())
    for sample in range(SAMPLES):
        cells = torch.full((9,), sample), torch.arange(9)
        writer.learn(shown(*cells), *cells)
        assert int(reader.lookup(*every_cell()).known.sum()) == 9 * (sample + 1)


def test_a_record_met_while_it_is_written_is_read_again(tmp_path, monkeypatch):
    cache = cache_in(tmp_path / "cache", Weighing())
    fill(cache, pictures(), RULE)
    real, calls = Store._read, []

    def torn_at_first(store, cells):
        known, wrong, records = real(store, cells)
        calls.append(len(cells))
        return known, wrong | (len(calls) == 1), records

    monkeypatch.setattr(Store, "_read", torn_at_first)
    assert agree(cache.lookup(*every_cell()).logits, right())
    assert len(calls) == 2
