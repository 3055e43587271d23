"""A cache filled by several processes at once, each its own part."""

import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from preceptor.data import CropFlip
from preceptor.errors import InputError, MachineError
from preceptor.teachers.cache import Layout, Part, count_missing, fill, locks, open_readonly, upkeep, verify
from tests.teachers.cache.processes import in_another_process
from tests.teachers.cache.samples import Linear, cache_in, every_entry, pictures

VIEWS = CropFlip(padding=2, flip=True)
LARGE = Layout(samples=60, views=VIEWS.count, classes=5, top_k=2)
FILES = ("entries.bin", "checksums.bin")


class Slow(Linear):
    """A teacher slow enough for a process to be killed in the midst of its work."""

    def outputs(self, inputs, index, view):
        time.sleep(0.01)
        return super().outputs(inputs, index, view)


def fill_part(folder: Path, part: Part, report: Path | None = None) -> None:
    teacher = Linear() if report else Slow()
    with cache_in(folder, teacher, LARGE, batch_size=16) as cache:
        fill(cache, pictures(LARGE.samples), VIEWS, part=part)
    if report:
        report.write_text("\n".join(f"{sample} {view}" for sample, view in teacher.queried))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The files of a cache that one process filled, in batches of another size."""
    folder = tmp_path_factory.mktemp("alone") / "cache"
    with cache_in(folder, Linear(), LARGE, batch_size=7) as cache:
        fill(cache, pictures(LARGE.samples), VIEWS)
    return [(folder / name).read_bytes() for name in FILES]


def files(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_fill_the_bytes_that_one_fills_and_each_entry_once(tmp_path, alone, count):
    reports = [tmp_path / str(number) for number in range(count)]
    children = [
        in_another_process(fill_part, tmp_path / "cache", Part(number, count), report)
        for number, report in enumerate(reports)
    ]
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * count
    assert files(tmp_path / "cache") == alone
    queried = [report.read_text().splitlines() for report in reports]
    assert all(queried)
    assert len({entry for each in queried for entry in each}) == sum(map(len, queried)) == LARGE.entries


@pytest.mark.parametrize(("count", "later"), [(2, 4), (4, 2), (4, 3), (2, 1)])
def test_after_a_kill_another_number_of_processes_goes_on(tmp_path, alone, count, later):
    folder = tmp_path / "cache"
    reader = cache_in(folder, layout=LARGE)
    children = [in_another_process(fill_part, folder, Part(number, count)) for number in range(count)]
    while reader.count < LARGE.entries // 8 and any(child.is_alive() for child in children):
        time.sleep(0.002)
        check_known(reader)
    children[0].kill()
    children[0].join()
    children[1].kill()
    for child in children:
        child.join()
    assert verify(open_readonly(folder)) == 0
    left = count_missing(open_readonly(folder))
    assert 0 < left < LARGE.entries
    check_known(reader)
    reports = [tmp_path / str(number) for number in range(later)]
    children = [
        in_another_process(fill_part, folder, Part(number, later), report) for number, report in enumerate(reports)
    ]
    for child in children:
        child.join()
    assert files(folder) == alone
    assert sum(len(report.read_text().splitlines()) for report in reports) == left


def check_known(reader) -> None:
    """What a reader is given while others write is either unknown or right."""
    entries = every_entry(LARGE.samples, LARGE.views)
    cached = reader.lookup(*entries)
    images = VIEWS.apply(pictures(LARGE.samples)[entries[0]], entries[1])
    right = reader.codec.logits(reader.codec.encode(Linear().outputs(images, *entries).logits))
    assert torch.equal(cached.logits[cached.known], right[cached.known])


def test_a_killed_process_loses_one_batch(tmp_path):
    child = in_another_process(fill_part, tmp_path / "cache", Part(0, 1))
    reader = cache_in(tmp_path / "cache", layout=LARGE)
    while reader.count < 200:
        time.sleep(0.001)
    child.kill()
    child.join()
    assert reader.count >= 200


@pytest.mark.parametrize("views", [1, 9, 162, 10_000])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_parts_are_of_whole_samples_share_nothing_and_leave_out_nothing(tmp_path, views, count):
    cache = cache_in(tmp_path / "cache", layout=Layout(samples=50, views=views, classes=5))
    order = upkeep.np.random.default_rng(0)
    parts = [list(upkeep._empty(cache, None, Part(number, count), order)) for number in range(count)]
    chunks = [chunk for part in parts for chunk in part]
    assert sorted(entry for chunk in chunks for entry in chunk.tolist()) == list(range(50 * views))
    assert all(chunk[0] % views == 0 and (chunk[-1] + 1) % views == 0 for chunk in chunks)
    assert max(map(len, chunks)) <= max(views, upkeep.PART_CHUNK)
    shares = [sum(map(len, part)) / (50 * views) for part in parts]
    assert min(shares) > 0.5 / count


def test_only_some_samples_of_a_part(tmp_path):
    cache = cache_in(tmp_path / "cache", Linear(), LARGE)
    some = torch.tensor([3, 40, 41])
    assert sum(count_missing(cache, some, Part(number, 3)) for number in range(3)) == 3 * LARGE.views
    for number in range(3):
        fill(cache, pictures(LARGE.samples), VIEWS, samples=some, part=Part(number, 3))
    assert cache.count == 3 * LARGE.views


def test_writers_of_parts_wait_for_no_lock(tmp_path, monkeypatch):
    """Somebody who holds the cache's lock from then on does not stop them."""
    monkeypatch.setattr(locks, "LOCK_SECONDS", 0.02)
    cache = cache_in(tmp_path / "cache", Linear(), LARGE)
    with cache.store.owning(Part(0, 1)), FileLock(tmp_path / "cache" / locks.LOCK_FILE):
        cache.query_and_store(pictures(8), torch.arange(8), torch.zeros(8, dtype=torch.int64))
    assert cache.count == 8


@pytest.mark.parametrize("other", [Part(1, 2), Part(0, 3)])
def test_neither_the_same_part_nor_parts_of_another_number_at_the_same_time(tmp_path, other):
    first, second = cache_in(tmp_path / "cache", Linear(), LARGE), cache_in(tmp_path / "cache", Linear(), LARGE)
    with (
        first.store.owning(Part(1, 2)),
        pytest.raises(MachineError, match=rf"another process is filling part 1/2 .* then fill part {other} again"),
    ):
        fill(second, pictures(LARGE.samples), VIEWS, part=other)
    assert second.teacher.queried == []
    with first.store.owning(Part(1, 2)), second.store.owning(Part(0, 2)):
        pass
    fill(second, pictures(LARGE.samples), VIEWS, part=other)


def test_nobody_without_a_part_writes_meanwhile(tmp_path):
    owner, other = cache_in(tmp_path / "cache", Linear(), LARGE), cache_in(tmp_path / "cache", Linear(), LARGE)
    one = torch.tensor([3]), torch.tensor([4])
    message = r"filling part 0/2 .* wait for it, then go on"
    with owner.store.owning(Part(0, 2)), pytest.raises(MachineError, match=message):
        other.outputs(pictures(1), *one)
    assert other.count == 0
    other.outputs(pictures(1), *one)
    assert other.count == 1


def test_what_does_not_read_back_as_it_was_written_is_an_error(tmp_path, monkeypatch):
    cache = cache_in(tmp_path / "cache", Linear(), LARGE)
    monkeypatch.setattr(cache.store, "damaged", lambda entries: entries[3:4])
    with pytest.raises(InputError, match=r"entries.bin: damaged: the record of sample \d+, view \d+ does not match"):
        fill(cache, pictures(LARGE.samples), VIEWS, part=Part(0, 2))


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "a/b", "1/0", "0/2/4", "1 / 2"])
def test_a_part_that_is_none(text):
    with pytest.raises(InputError, match="expected I/N with I from 0 to N - 1"):
        Part.parse(text)


def test_a_part_is_shown_as_it_is_written():
    assert str(Part.parse("3/16")) == "3/16"
    assert Part.parse("3/16") == (3, 16)
