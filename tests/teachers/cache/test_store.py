"""Several writers, killed ones among them; damage; locks; full disks and folders that cannot be written."""

import contextlib
import os
import tempfile
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from preceptor.data import CropFlip
from preceptor.errors import InputError, MachineError
from preceptor.teachers.cache import Layout, LogitCache, bytes_used, fill, locks, open_readonly, reader, store, verify
from preceptor.teachers.cache.locks import LOCK_FILE
from preceptor.teachers.cache.reader import CHECKSUMS_FILE, ENTRIES_FILE, EntryReader
from preceptor.teachers.cache.store import EntryStore
from tests.teachers.cache.processes import fill_it, in_another_process
from tests.teachers.cache.samples import (
    FEW,
    SAMPLES,
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

RECORD = FEW.record.itemsize


def check_all_known(cache: LogitCache, expected: torch.Tensor | None = None) -> int:
    """Make sure that every filled entry is right; how many there are."""
    verify(cache)
    cached = cache.lookup(*every_entry())
    expected = logits_of(Linear(), *every_entry()) if expected is None else expected
    assert agree(cached.logits[cached.known], expected[cached.known])
    return int(cached.known.sum())


def test_two_processes_fill_one_cache_together(tmp_path):
    both = [in_another_process(fill_it, tmp_path / "cache", tmp_path / str(number)) for number in range(2)]
    for child in both:
        child.join()
    assert [child.exitcode for child in both] == [0, 0]
    assert check_all_known(cache_in(tmp_path / "cache")) == 108
    queried = [(tmp_path / str(number)).read_text().splitlines() for number in range(2)]
    assert 108 <= sum(map(len, queried)) < 2 * 108
    assert len(set(queried[0] + queried[1])) == 108


def test_where_two_teachers_disagree_each_entry_is_of_one_of_them(tmp_path):
    both = [in_another_process(fill_it, tmp_path / "cache", tmp_path / str(shift), shift) for shift in (0.0, 0.25)]
    for child in both:
        child.join()
    verify(cache_in(tmp_path / "cache"))
    logits, right = cache_in(tmp_path / "cache").lookup(*every_entry()).logits, logits_of(Linear(), *every_entry())
    for row, first, second in zip(logits, right, right + 0.25, strict=True):
        assert agree(row[None], first[None]) or agree(row[None], second[None])


def test_threads_of_one_process_share_a_cache(tmp_path):
    cache, images = cache_in(tmp_path / "cache", Linear(), batch_size=3), pictures()
    threads = [threading.Thread(target=fill, args=(cache, images, VIEWS)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert check_all_known(cache) == 108


def test_several_who_make_a_cache_at_once_make_one(tmp_path):
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(cache_in(tmp_path / "cache").metadata.key)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [key()] * 6
    assert cache_in(tmp_path / "cache").layout == FEW


def test_a_process_killed_while_it_fills_leaves_nothing_wrong(tmp_path):
    views, layout = CropFlip(4, True), Layout(samples=12, views=162, classes=5)
    entries, known = every_entry(12, 162), [0]
    expected = Linear().outputs(shown(*entries, views), *entries).logits
    for _ in range(3):
        child = in_another_process(fill_it, tmp_path / "cache", tmp_path / "report", 0.0, layout, 3)
        cache = cache_in(tmp_path / "cache", layout=layout)
        while child.is_alive() and cache.count <= known[-1] + 200:
            time.sleep(0.001)
        child.kill()
        child.join()
        cached = cache.lookup(*entries)
        assert verify(cache) == 0
        assert cache.count == cached.known.sum()
        assert agree(cached.logits[cached.known], expected[cached.known])
        known.append(int(cached.known.sum()))
    assert 0 < known[1] < known[2] < known[3] < layout.entries
    cache = cache_in(tmp_path / "cache", Linear(), layout)
    assert fill(cache, pictures(), views) == layout.entries - known[-1]
    assert agree(cache.lookup(*entries).logits, expected)


def test_a_record_without_its_checksum_is_an_empty_entry(tmp_path, monkeypatch):
    """A process killed between the two."""
    cache, entries = cache_in(tmp_path / "cache", Linear()), every_entry()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(EntryStore, "_checksum", killed)
        with pytest.raises(KeyboardInterrupt):
            cache.query_and_store(shown(*entries), *entries)
    assert any((tmp_path / "cache" / ENTRIES_FILE).read_bytes())
    assert cache.count == 0
    assert agree(cache.outputs(shown(*entries), *entries).logits, logits_of(Linear(), *entries))


def test_what_one_process_writes_another_sees_at_once(tmp_path):
    reader, writer = cache_in(tmp_path / "cache"), cache_in(tmp_path / "cache", Linear())
    assert not reader.lookup(*every_entry()).known.any()
    for sample in range(SAMPLES):
        entries = torch.full((9,), sample), torch.arange(9)
        writer.query_and_store(shown(*entries), *entries)
        assert int(reader.lookup(*every_entry()).known.sum()) == 9 * (sample + 1)


def test_a_record_met_while_it_is_written_is_read_again(tmp_path, monkeypatch):
    cache = cache_in(tmp_path / "cache", Linear())
    fill(cache, pictures(), VIEWS)
    compare, calls = EntryReader._compare, []

    def torn_at_first(self, entries):
        known, wrong, records = compare(self, entries)
        calls.append(len(entries))
        return known, wrong | (len(calls) == 1), records

    monkeypatch.setattr(EntryReader, "_compare", torn_at_first)
    assert agree(cache.lookup(*every_entry()).logits, logits_of(Linear(), *every_entry()))
    assert len(calls) == 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a full cache."""
    with cache_in(tmp_path / "cache", Linear()) as cache:
        fill(cache, pictures(), VIEWS)
    return tmp_path / "cache"


def flip(path: Path, place: int, bit: int = 4) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))


def test_every_flipped_bit_of_an_entry_is_noticed_when_read_and_when_verified(folder, monkeypatch):
    monkeypatch.setattr(reader.time, "sleep", lambda _: None)
    cache, entry, one = open_readonly(folder), 5 * 9 + 4, (torch.tensor([5]), torch.tensor([4]))
    places = [(CHECKSUMS_FILE, 4 * entry + byte) for byte in range(4)]
    places += [(ENTRIES_FILE, RECORD * entry + byte) for byte in range(RECORD)]
    for name, place in places:
        for bit in range(8):
            flip(folder / name, place, bit)
            for read in (
                lambda: verify(cache),
                lambda: cache.lookup(*one),
                lambda: cache.outputs(pictures()[:1], *one),
            ):
                with pytest.raises(InputError, match=rf"{ENTRIES_FILE}: damaged: the record of sample 5, view 4 does"):
                    read()
            flip(folder / name, place, bit)
    assert verify(cache) == 0


def test_a_damaged_record_is_not_passed_over_where_a_teacher_could_be_queried(folder):
    for entry in (50, 7):
        flip(folder / ENTRIES_FILE, RECORD * entry)
    cache = cache_in(folder, Linear())
    with pytest.raises(InputError, match=r"sample 0, view 7 and 1 more does not match its checksum: run .* --repair"):
        cache.outputs(shown(*every_entry()), *every_entry())
    assert cache.teacher.queried == []


def test_repair_empties_what_is_damaged_and_the_teacher_is_queried_again(folder):
    for entry in (7, 50, 51):
        flip(folder / ENTRIES_FILE, RECORD * entry)
    assert verify(open_readonly(folder), repair=True) == 3
    cache = cache_in(folder, Linear())
    assert (verify(cache), cache.count) == (0, 105)
    assert agree(cache.outputs(shown(*every_entry()), *every_entry()).logits, logits_of(Linear(), *every_entry()))
    assert cache.teacher.queried == [(0, 7), (5, 5), (5, 6)]
    assert verify(cache, repair=True) == 0


def test_a_record_in_the_place_of_another_is_noticed(folder):
    for name, size in ((CHECKSUMS_FILE, 4), (ENTRIES_FILE, RECORD)):
        content = bytearray((folder / name).read_bytes())
        content[20 * size : 21 * size] = content[21 * size : 22 * size]
        (folder / name).write_bytes(content)
    with pytest.raises(InputError, match="sample 2, view 2 does not match"):
        verify(open_readonly(folder))


def test_files_of_another_cache_are_noticed(folder, tmp_path):
    with cache_in(tmp_path / "other", Linear(shift=1.0), data="c" * 64) as other:
        fill(other, pictures(), VIEWS)
    for name in (ENTRIES_FILE, CHECKSUMS_FILE):
        (tmp_path / "other" / name).replace(folder / name)
    with pytest.raises(InputError, match="sample 0, view 0 and 107 more does not match"):
        cache_in(folder).lookup(*every_entry())


@pytest.mark.parametrize("name", [ENTRIES_FILE, CHECKSUMS_FILE])
@pytest.mark.parametrize("change", [-1, 1, None], ids=["shorter", "longer", "gone"])
def test_a_file_of_another_size_is_an_error_with_its_name_and_the_remedy(folder, name, change):
    path = folder / name
    size = path.stat().st_size
    if change is None:
        path.unlink()
    else:
        os.truncate(path, size + change)
    message = rf"{name}: damaged: {0 if change is None else size + change} bytes, expected {size}: remove the cache"
    for look in (open_readonly, lambda path: cache_in(path, Linear())):
        with pytest.raises(InputError, match=message):
            look(folder)


@pytest.mark.parametrize("name", [ENTRIES_FILE, CHECKSUMS_FILE, LOCK_FILE])
def test_nothing_is_written_through_a_link(tmp_path, name):
    cache_in(tmp_path / "cache").close()
    mine = tmp_path / "mine"
    content = (tmp_path / "cache" / name).read_bytes() if name != LOCK_FILE else b""
    mine.write_bytes(content)
    (tmp_path / "cache" / name).unlink(missing_ok=True)
    (tmp_path / "cache" / name).symlink_to(mine)
    with pytest.raises((InputError, MachineError), match=r"is a link|cannot be written"):
        fill(cache_in(tmp_path / "cache", Linear()), pictures(), VIEWS)
    assert mine.read_bytes() == content


def test_who_does_not_let_go_of_the_lock_is_an_error_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "LOCK_SECONDS", 0.02)
    cache = cache_in(tmp_path / "cache", Linear())
    with (
        FileLock(tmp_path / "cache" / LOCK_FILE),
        pytest.raises(MachineError, match="another process has held the cache's lock for 0 s: end it, try again"),
    ):
        fill(cache, pictures(), VIEWS)
    fill(cache, pictures(), VIEWS)


@contextlib.contextmanager
def as_somebody_else():
    """Root may write anywhere: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_cache_can_be_read_and_refuses_to_be_filled():
    half = tuple(numbers[:54] for numbers in every_entry())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "cache"
        with cache_in(folder, Linear()) as cache:
            cache.query_and_store(shown(*half), *half)
        Path(place).chmod(0o755)
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        with as_somebody_else():
            cache = cache_in(folder, Linear())
            assert agree(cache.outputs(shown(*half), *half).logits, logits_of(Linear(), *half))
            assert cache.teacher.queried == []
            with pytest.raises(MachineError, match=r"cache: cannot be written: Permission denied: make it writable"):
                fill(cache, pictures(), VIEWS)
            cache.close()
        folder.chmod(0o755)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot be made: Not a directory"):
        cache_in(tmp_path / "file" / "cache")


def test_a_disk_without_room_is_an_error_before_anything_is_queried_or_written(tmp_path, monkeypatch):
    cache, entries = cache_in(tmp_path / "cache", Linear(), batch_size=9), every_entry()
    usage = namedtuple("usage", "total used free")
    room = 11 * 9 * FEW.entry_bytes + store.SPARE_BYTES
    monkeypatch.setattr(store, "disk_usage", lambda _: usage(10**9, 10**9, room))
    with pytest.raises(MachineError, match=r"MB are needed and 17 MB are free: make room"):
        fill(cache, pictures(), VIEWS)
    assert cache.teacher.queried == []
    fill(cache, pictures(), VIEWS, samples=torch.arange(11))
    room = 0
    with pytest.raises(MachineError, match="make room"):
        cache.outputs(shown(*entries), *entries)
    assert check_all_known(cache) == 99
    assert fill(cache, pictures(), VIEWS, samples=torch.arange(11)) == 0  # nothing to write needs no room
    cache.close()
    cache.close()


def test_a_lazily_filled_cache_takes_only_what_is_filled(tmp_path):
    layout = Layout(samples=200_000, views=9, classes=100)
    cache = cache_in(tmp_path / "cache", Linear(100), layout)
    assert bytes_used(cache) == 0
    cache.query_and_store(pictures(100), torch.arange(0, 200_000, 2000), torch.zeros(100, dtype=torch.int64))
    assert cache.count == 100
    assert layout.bytes == 1_800_000 * 208
    assert bytes_used(cache) <= 100 * 3 * 4096  # blocks: of its checksum, and of a record that may lie across two
