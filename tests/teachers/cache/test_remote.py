"""Caches at a URL: copied there and back, read by ranges, and what goes wrong on the way."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from preceptor.errors import InputError, MachineError
from preceptor.teachers.cache import (
    Layout,
    blocks,
    bytes_used,
    cache_place,
    copy,
    fill,
    open_cache,
    open_readonly,
    remote,
    verify,
)
from tests.teachers.cache.counted import CountedFileSystem, emptied
from tests.teachers.cache.samples import VIEWS, Linear, cache_in, every_entry, generator, key, pictures

URL = "counted://bucket/cache"
FILES = ("entries.bin", "checksums.bin", "cache.json")
MANY = Layout(samples=300, views=9, classes=20)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(remote, "SECONDS_BEFORE_RETRY", 0.0)
    emptied()
    yield
    emptied()


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A full cache in a folder."""
    with cache_in(tmp_path / "cache", Linear()) as cache:
        fill(cache, pictures(), VIEWS)
    return tmp_path / "cache"


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A cache of many blocks of 128 bytes, in a folder and at the URL."""
    with cache_in(tmp_path / "cache", Linear(20), MANY, batch_size=512) as cache:
        fill(cache, pictures(300), VIEWS)
    copy(tmp_path / "cache", URL)
    CountedFileSystem.ranges.clear()
    return tmp_path / "cache"


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 128)
    monkeypatch.setattr(blocks, "LONGEST", 8)
    monkeypatch.setattr(blocks, "KEPT", 10_000)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("caches/digits", Path("caches/digits")),
        ("file:///data/cache", Path("/data/cache")),
        ("s3://bucket/cache/", "s3://bucket/cache"),
        ("memory://cache", "memory://cache"),
        ("blockcache::s3://bucket/cache", "blockcache::s3://bucket/cache"),
    ],
)
def test_a_place_is_a_folder_or_a_url(text, place):
    assert cache_place(text) == place
    assert cache_place(place) == place


def test_a_copy_is_the_same_bytes_there_and_back(local, tmp_path):
    with copy(local, URL) as there:
        assert there.count == 108
        assert torch.equal(there.lookup(*every_entry()).logits, open_readonly(local).lookup(*every_entry()).logits)
        assert bytes_used(there) == there.layout.bytes
    copy(URL, tmp_path / "back").close()
    for name in FILES:
        assert (tmp_path / "back" / name).read_bytes() == (local / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == sorted(FILES)


def test_a_copy_is_compared_with_its_checksums_where_it_is(local):
    seen = []
    copy(local, URL, progress=lambda *step: seen.append(step))
    assert seen == [(108, 108)]
    assert CountedFileSystem.ranges


def test_a_copy_that_is_damaged_on_the_way_is_noticed(local, monkeypatch):
    def damaged(self, path, target, **options):
        content = bytearray(Path(path).read_bytes())
        if target.endswith("entries.bin"):
            content[40] ^= 1
        self.pipe_file(target, bytes(content))

    monkeypatch.setattr(CountedFileSystem, "put_file", damaged)
    with pytest.raises(InputError, match=r"damaged: the record of sample 0, view 2 .* copy the cache again"):
        copy(local, URL)


def test_a_half_filled_cache_is_copied_with_what_it_holds(tmp_path):
    cache = cache_in(tmp_path / "cache", Linear())
    fill(cache, pictures(), VIEWS, samples=torch.arange(5))
    with copy(tmp_path / "cache", URL) as there:
        assert there.count == 45
        assert torch.equal(there.is_filled(*every_entry()), cache.is_filled(*every_entry()))


def test_nothing_is_overwritten_and_an_unfinished_copy_goes_on(local, tmp_path):
    copy(local, URL)
    with pytest.raises(InputError, match=r"counted://bucket/cache: holds a cache; nothing is ever overwritten"):
        copy(local, URL)
    with pytest.raises(InputError, match="holds a cache; nothing is ever overwritten: choose another folder"):
        copy(URL, local)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"holds 'thesis.tex' but no cache"):
        copy(URL, tmp_path / "mine")
    CountedFileSystem().rm(f"{URL}/cache.json")
    with pytest.raises(InputError, match=r"cache/cache.json: no such file .* preceptor cache DIR --copy URL"):
        open_readonly(URL)
    copy(local, URL)


def test_a_copy_is_between_a_folder_and_a_url(local, tmp_path):
    for source, target in ((local, tmp_path / "other"), (URL, "memory://other")):
        with pytest.raises(InputError, match="expected one folder and one URL"):
            copy(source, target)


def test_any_entries_in_any_order_are_those_of_the_folder(many, small_blocks):
    here, there = open_readonly(many), open_readonly(URL)
    for seed in range(20):
        some = torch.randint(2700, (int(torch.randint(1, 200, (1,), generator=generator(seed))),))
        index, view = some // 9, some % 9
        ours, theirs = here.lookup(index, view), there.lookup(index, view)
        assert torch.equal(ours.logits, theirs.logits)
        assert torch.equal(ours.known, theirs.known)
    assert there.lookup(torch.arange(0), torch.arange(0)).logits.shape == (0, 20)


@pytest.mark.parametrize("classes", [3, 50, 40_000])
def test_records_smaller_and_larger_than_a_block(classes):
    rows = np.arange(7 * classes, dtype="<u4").reshape(7, classes)
    record = np.dtype([("row", "<u4", (classes,))])
    CountedFileSystem().pipe_file(f"{URL}/entries.bin", rows.tobytes())
    records = blocks.RemoteRecords(remote.RemoteFolder(URL), "entries.bin", record, 7)
    order = np.array([6, 0, 3, 3, 2])
    np.testing.assert_array_equal(records[order]["row"], rows[order])


def test_neighbors_are_read_in_one_request_and_nothing_twice(many, small_blocks):
    cache = open_readonly(URL)  # records of 44 bytes
    assert cache.layout.record.itemsize == 44
    index = torch.zeros(9, dtype=torch.int64)
    cache.lookup(index, torch.arange(9))  # bytes 0 to 396
    assert CountedFileSystem.ranges == [(0, 512)]
    cache.lookup(index, torch.arange(9).flip(0))
    assert len(CountedFileSystem.ranges) == 1
    cache.lookup(torch.tensor([100, 1, 100]), torch.tensor([0, 0, 1]))  # bytes 396 to 440, and 39,600 to 39,688
    assert CountedFileSystem.ranges[1:] == [(309 * 128, 311 * 128)]
    cache.lookup(torch.tensor([299]), torch.tensor([8]))  # to the end of the file, which is no whole block
    assert CountedFileSystem.ranges[2:] == [(927 * 128, 118_800)]


def test_a_request_has_at_most_so_many_blocks(many, small_blocks):
    cache = open_readonly(URL)
    assert verify(cache) == 0
    assert max(end - start for start, end in CountedFileSystem.ranges) == 8 * 128
    assert sum(end - start for start, end in CountedFileSystem.ranges) == 118_800


def test_an_epoch_reads_a_cache_that_fits_the_memory_once(many):
    cache = open_readonly(URL)
    order = torch.randperm(2700, generator=generator(0))
    for some in order.split(512):
        cache.lookup(some // 9, some % 9)
    assert CountedFileSystem.ranges == [(0, 65_536), (65_536, 118_800)]


def test_the_blocks_used_last_are_kept(many, small_blocks, monkeypatch):
    monkeypatch.setattr(blocks, "KEPT", 3)
    cache = open_readonly(URL)

    def read(view: int) -> int:
        before = len(CountedFileSystem.ranges)
        cache.lookup(torch.tensor([view]), torch.tensor([0]))  # 396 bytes apart: a block of its own
        return len(CountedFileSystem.ranges) - before

    assert [read(view) for view in (0, 3, 6, 0)] == [1, 1, 1, 0]
    kept = sum(len(block) for block in cache.store._records._blocks.values())
    assert kept <= 3 * 128
    assert read(9) == 1
    assert read(0) == 0


def test_a_teacher_is_never_queried_through_it(local):
    copy(local, URL)
    teacher = Linear()
    cache = open_cache(URL, key(), teacher=teacher)
    assert cache.teacher is None
    with pytest.raises(InputError, match=r"is at a URL and is only read there: .* --copy URL"):
        fill(cache, pictures(), VIEWS)
    with pytest.raises(InputError, match="made with other teacher weights"):
        open_cache(URL, key(teacher="c" * 64))
    assert teacher.queried == []


def test_what_is_missing_there_says_what_to_do(tmp_path):
    cache_in(tmp_path / "cache", Linear()).close()
    copy(tmp_path / "cache", URL)
    with pytest.raises(
        InputError, match=r"nothing cached for sample 0, view 0 .*: fill or repair the cache in a local"
    ):
        open_cache(URL, key()).outputs(pictures(), torch.arange(12), torch.zeros(12, dtype=torch.int64))


def test_damage_there_is_found_and_is_not_repaired_there(local):
    copy(local, URL)
    files = CountedFileSystem()
    content = bytearray(files.cat_file(f"{URL}/entries.bin"))
    content[100] ^= 4
    files.pipe_file(f"{URL}/entries.bin", bytes(content))
    with pytest.raises(InputError, match="does not match its checksum: copy the cache again"):
        verify(open_readonly(URL))
    with pytest.raises(InputError, match="is at a URL and is only read there"):
        verify(open_readonly(URL), repair=True)


@pytest.mark.parametrize("name", ["entries.bin", "checksums.bin"])
def test_a_file_of_another_size_or_none(local, name):
    copy(local, URL)
    files = CountedFileSystem()
    files.pipe_file(f"{URL}/{name}", b"short")
    with pytest.raises(
        InputError, match=rf"{name}: damaged: 5 bytes, expected \d+: remove it and copy the cache again"
    ):
        open_readonly(URL)
    files.rm(f"{URL}/{name}")
    with pytest.raises(InputError, match=rf"{name}: no such file"):
        open_readonly(URL)


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"format": 1}'])
def test_metadata_that_is_none(local, content):
    copy(local, URL)
    CountedFileSystem().pipe_file(f"{URL}/cache.json", content)
    with pytest.raises(InputError, match=r"cache.json: (not valid JSON|expected a JSON object|format 1, this version)"):
        open_readonly(URL)


@pytest.mark.parametrize("failure", [ConnectionResetError("reset by peer"), RuntimeError("no answer"), b"cut"])
def test_a_cut_connection_is_tried_again_and_then_an_error_of_the_machine(local, failure):
    copy(local, URL)
    cache = open_readonly(URL)
    CountedFileSystem.failures[:] = [failure] * 3
    assert cache.lookup(*every_entry()).known.all()
    cache = open_readonly(URL)
    CountedFileSystem.failures[:] = [failure] * 4
    reason = "the answer ended early" if isinstance(failure, bytes) else str(failure)
    with pytest.raises(MachineError, match=rf"entries.bin: could not be read, tried 4 times: {reason}: .* --copy DIR"):
        cache.lookup(*every_entry())
    assert cache.lookup(*every_entry()).known.all()


def test_it_waits_longer_before_each_try(local, monkeypatch):
    copy(local, URL)
    waited = []
    monkeypatch.setattr(remote, "SECONDS_BEFORE_RETRY", 1.0)
    monkeypatch.setattr(remote.time, "sleep", waited.append)
    cache = open_readonly(URL)
    CountedFileSystem.failures[:] = [OSError("busy")] * 3
    cache.lookup(*every_entry())
    assert waited == [1.0, 2.0, 4.0]


def test_no_rights_are_not_tried_again(local):
    copy(local, URL)
    CountedFileSystem.failures[:] = [PermissionError("Access Denied")]
    with pytest.raises(InputError, match=r"Access Denied: give the rights to it"):
        open_readonly(URL)


def test_no_such_protocol_and_a_missing_package(monkeypatch):
    with pytest.raises(InputError, match=r"gopher://x/y: Protocol not known: gopher: expected a URL such as s3://"):
        open_readonly("gopher://x/y")
    for module in ("s3fs", "fsspec.core"):
        monkeypatch.setitem(sys.modules, module, None)
        of_s3 = r"a package is missing \(Install s3fs.*\): pip install s3fs"
        missing = of_s3 if module == "s3fs" else r"needs fsspec, .*: pip install 'preceptor\[remote\]'"
        with pytest.raises(MachineError, match=missing):
            open_readonly("s3://bucket/cache")
