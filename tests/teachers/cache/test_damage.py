"""Files that are not as they were written: noticed when verified and when read, and repaired."""

from pathlib import Path

import pytest
import torch

from preceptor.errors import InputError
from preceptor.teachers.cache import Layout, fill, info, open_readonly, verify
from preceptor.teachers.cache.cache import LogitCache
from tests.teachers.cache.vault import FEW, RULE, Weighing, agree, cache_in, every_cell, pictures, shown

RECORD = FEW.record.itemsize
SHARD = "shard-00000.bin"


@pytest.fixture
def folder(tmp_path):
    """Of a full cache."""
    with cache_in(tmp_path / "cache", Weighing()) as cache:
        fill(cache, pictures(), RULE)
    return tmp_path / "cache"


def mark_of(cell: int) -> int:
    """Where it begins in the file."""
    return cell * 4


def record_of(cell: int) -> int:
    return FEW.cells * 4 + cell * RECORD


def flip(path: Path, place: int, bit: int = 4) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))


def all_said(cache: LogitCache) -> torch.Tensor:
    return cache.outputs(shown(*every_cell()), *every_cell()).logits


def test_every_flipped_bit_of_a_cell_is_noticed_when_read_and_when_verified(folder, monkeypatch):
    monkeypatch.setattr("preceptor.teachers.cache.store._PAUSES", (0.0,))
    cache, sample, view = open_readonly(folder), torch.tensor([5]), torch.tensor([4])
    cell = 5 * 9 + 4
    places = [*range(mark_of(cell), mark_of(cell) + 4), *range(record_of(cell), record_of(cell) + RECORD)]
    for place in places:
        for bit in range(8):
            flip(folder / SHARD, place, bit)
            for look in (lambda: verify(cache), lambda: cache.outputs(pictures()[:1], sample, view).logits):
                with pytest.raises(InputError, match=rf"{SHARD}: damaged: the record of sample 5, view 4 does not"):
                    look()
            flip(folder / SHARD, place, bit)
    assert verify(cache).filled == 108


def test_a_damaged_record_is_not_passed_over_where_a_teacher_could_be_asked(folder):
    flip(folder / SHARD, record_of(50))
    flip(folder / SHARD, record_of(7))
    cache = cache_in(folder, Weighing())
    with pytest.raises(InputError, match=r"sample 0, view 7 and 1 more does not match its checksum: verify .* repair"):
        all_said(cache)
    assert cache.live.asked == []


def test_repair_empties_what_is_damaged_and_the_teacher_is_asked_again(folder):
    for cell in (7, 50, 51):
        flip(folder / SHARD, record_of(cell))
    assert verify(open_readonly(folder), repair=True).damaged == 3
    cache = cache_in(folder, Weighing())
    assert verify(cache).filled == 105
    assert agree(all_said(cache), Weighing().outputs(shown(*every_cell()), *every_cell()).logits)
    assert cache.live.asked == [(0, 7), (5, 5), (5, 6)]
    assert verify(cache, repair=True) == verify(cache)


def test_a_record_that_lies_in_the_place_of_another_is_noticed(folder):
    content = bytearray((folder / SHARD).read_bytes())
    for where, size in ((mark_of, 4), (record_of, RECORD)):
        content[where(20) : where(20) + size] = content[where(21) : where(21) + size]
    (folder / SHARD).write_bytes(content)
    with pytest.raises(InputError, match="sample 2, view 2 does not match"):
        verify(open_readonly(folder))


def test_a_file_from_another_bank_is_noticed(folder, tmp_path):
    with cache_in(tmp_path / "other", Weighing(shift=1.0), teacher="other") as other:
        fill(other, pictures(), RULE)
    (tmp_path / "other" / SHARD).replace(folder / SHARD)
    with pytest.raises(InputError, match="sample 0, view 0 and 107 more does not match"):
        all_said(cache_in(folder))


@pytest.mark.parametrize("change", [-1, 1, -FEW.cells * 4])
def test_a_file_of_another_length_is_an_error_with_its_name_and_the_remedy(folder, change):
    path = folder / SHARD
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + change)
    for look in (open_readonly, lambda path: cache_in(path, Weighing())):
        with pytest.raises(InputError, match=rf"{SHARD}: damaged: \d+ bytes instead of \d+: remove this file"):
            look(folder)
    path.unlink()  # the remedy
    cache = cache_in(folder, Weighing())
    assert info(cache).filled == 0
    assert agree(all_said(cache), Weighing().outputs(shown(*every_cell()), *every_cell()).logits)


def test_of_several_files_the_damaged_one_is_named(tmp_path):
    layout = Layout(samples=12, views=9, classes=5, shard_bytes=400)
    with cache_in(tmp_path / "cache", Weighing(), layout) as cache:
        fill(cache, pictures(), RULE)
    flip(tmp_path / "cache" / "shard-00003.bin", layout.cells_in(3) * 4)
    assert layout.samples_per_shard == 2
    with pytest.raises(InputError, match=r"shard-00003.bin: damaged: the record of sample 6, view 0 does not"):
        verify(open_readonly(tmp_path / "cache"))
    assert verify(open_readonly(tmp_path / "cache"), repair=True).damaged == 1
    assert cache_in(tmp_path / "cache", layout=layout).store.count() == 107
