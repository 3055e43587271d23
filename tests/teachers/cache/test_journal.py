"""A process is killed while it adds a batch: all of the batch is kept, or nothing."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor.errors import MachineError
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.cache import Layout, LogitCache, journal, shard, verify
from preceptor.teachers.cache.journal import JOURNAL_FILE, Journal
from tests.teachers.cache.vault import CLASSES, FEW, Weighing, cache_in, shown

SEVERAL_FILES = Layout(samples=12, views=9, classes=CLASSES, shard_bytes=400)
APART = (torch.tensor([0, 1, 5, 7, 11]), torch.tensor([3, 8, 0, 2, 8]))
"""Cells that are no neighbours: each is written by itself."""


class Killed(BaseException):
    """Nobody in the process hears of it."""


class OfTheBatch(Weighing):
    """OutputKind something else in every batch, as a processor does that adds up in another order."""

    def outputs(self, images: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        return TeacherOutput(super().outputs(images, index, view).logits + index.sum() / 7 + len(index))


def killed_while_learning(cache: LogitCache, write: int) -> None:
    """The first writes to the cache's files are done, that one is not."""
    done, really = [0], os.pwrite

    def pwrite(file: int, content: bytes, offset: int) -> int:
        if done[0] == write:
            raise Killed
        done[0] += 1
        return really(file, content, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard.os, "pwrite", pwrite)
        with pytest.raises(Killed):
            cache.outputs(shown(*APART), *APART)


@pytest.mark.parametrize("write", range(10))
@pytest.mark.parametrize("layout", [FEW, SEVERAL_FILES], ids=["one file", "many"])
def test_what_was_begun_is_finished_in_the_same_words(tmp_path: Path, layout: Layout, write: int) -> None:
    alone = cache_in(tmp_path / "alone", OfTheBatch(), layout).outputs(shown(*APART), *APART).logits
    killed_while_learning(cache_in(tmp_path / "cache", OfTheBatch(), layout), write)
    some = tuple(part[:2] for part in APART)
    again = cache_in(tmp_path / "cache", OfTheBatch(), layout)
    assert torch.equal(again.outputs(shown(*some), *some).logits, alone[:2])
    assert torch.equal(again.outputs(shown(*APART), *APART).logits, alone)
    assert verify(again).filled == 5
    assert again.live.asked == []


def test_the_next_writer_finishes_what_another_began(tmp_path: Path) -> None:
    first, second = (cache_in(tmp_path / "cache", OfTheBatch()) for _ in range(2))
    killed_while_learning(first, 2)
    other = (torch.tensor([3]), torch.tensor([0]))
    second.outputs(shown(*other), *other)
    expected = cache_in(tmp_path / "alone", OfTheBatch()).outputs(shown(*APART), *APART).logits
    assert torch.equal(second.lookup(*APART).logits, expected)


def test_of_a_batch_that_was_not_noted_whole_nothing_is_kept(tmp_path: Path) -> None:
    cache = cache_in(tmp_path / "cache", Weighing())
    records = cache.codec.encode(Weighing().outputs(shown(*APART), *APART).logits)
    cells = np.asarray(APART[0] * FEW.views + APART[1])
    made = Journal(tmp_path / "cache", FEW.cells, FEW.record)
    made.note(cells, records)
    whole = made.path.read_bytes()
    for length in range(len(whole)):
        made.path.write_bytes(whole[:length])
        assert made.noted() is None
    changed = bytearray(whole)
    changed[-1] ^= 1
    made.path.write_bytes(changed)
    again = cache_in(tmp_path / "cache", Weighing())
    assert again.store.count() == 0
    assert made.is_empty
    made.path.write_bytes(whole)
    assert cache_in(tmp_path / "cache", Weighing()).store.count() == 5


@pytest.mark.parametrize("cells", [[0, 108], [3, 3], [5, 4], [-1, 3]], ids=["beyond", "twice", "falling", "below"])
def test_cells_that_cannot_be_are_not_taken(tmp_path: Path, cells: list[int]) -> None:
    cache = cache_in(tmp_path / "cache")
    made = Journal(tmp_path / "cache", FEW.cells, FEW.record)
    made.note(np.array(cells), np.zeros(2, FEW.record))
    assert made.noted() is None
    cache.store.finish()
    assert cache.store.count() == 0


def test_a_batch_too_large_to_note_is_kept_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_BYTES", 10)
    cache = cache_in(tmp_path / "cache", Weighing())
    cache.learn(shown(*APART), *APART)
    assert cache.store.count() == 5
    (tmp_path / "cache" / JOURNAL_FILE).write_bytes(bytes(100))
    assert Journal(tmp_path / "cache", FEW.cells, FEW.record).noted() is None


def test_a_bank_that_nobody_writes_to_has_no_journal(tmp_path: Path) -> None:
    cache = cache_in(tmp_path / "cache")
    cache.store.finish()
    assert not (tmp_path / "cache" / JOURNAL_FILE).exists()


def test_a_full_disk_is_told_and_nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cache_in(tmp_path / "cache", Weighing())

    def full(file: int, mode: str) -> None:
        os.close(file)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(journal.os, "fdopen", full)
    with pytest.raises(MachineError, match="cannot be written: No space left on device: make room"):
        cache.learn(shown(*APART), *APART)
    monkeypatch.undo()
    assert cache.store.count() == 0
    cache.learn(shown(*APART), *APART)
    assert cache.store.count() == 5


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    cache = cache_in(tmp_path / "cache", Weighing())
    (tmp_path / "elsewhere").write_bytes(b"somebody's")
    (tmp_path / "cache" / JOURNAL_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MachineError, match="cannot be written"):
        cache.learn(shown(*APART), *APART)
    assert (tmp_path / "elsewhere").read_bytes() == b"somebody's"
