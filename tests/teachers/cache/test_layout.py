import pytest
import torch
from pydantic import ValidationError

from preceptor.data import CropFlip
from preceptor.teachers.cache import Layout, fill, info, plan
from preceptor.teachers.cache.metadata import CARD_FILE
from tests.teachers.cache.vault import Featured, cache_in, pictures

CIFAR = {"samples": 50_000, "views": 162, "classes": 100}


def layouts() -> list[Layout]:
    return [
        Layout(samples=12, views=162, classes=100),
        Layout(samples=12, views=162, classes=10, features=4),
        Layout(samples=12, views=162, classes=300, top_k=7),
        Layout(samples=12, views=162, classes=30, top_k=1, features=4, shard_bytes=10_000),
    ]


@pytest.mark.parametrize("layout", layouts(), ids=str)
def test_the_files_are_as_large_as_planned(tmp_path, layout):
    rule = CropFlip(4, True)
    with cache_in(tmp_path / "cache", Featured(layout.classes), layout) as cache:
        fill(cache, pictures(), rule)
        files = [path for path in cache.folder.iterdir() if path.suffix == ".bin"]
        planned = plan(layout)
        assert sum(path.stat().st_size for path in files) == planned.bytes == info(cache).bytes_full
        assert len(files) == planned.shards
        blocks = 4096 * len(files)  # a file ends within a block
        assert planned.bytes <= info(cache).bytes_used <= planned.bytes + blocks


def test_what_a_whole_folder_takes_is_planned_within_two_per_cent(tmp_path):
    layout = Layout(samples=100, views=162, classes=10)
    with cache_in(tmp_path / "cache", Featured(10), layout) as cache:
        fill(cache, pictures(100), CropFlip(4, True))
    taken = sum(path.stat().st_blocks * 512 for path in (tmp_path / "cache").iterdir())
    assert taken == pytest.approx(plan(layout).bytes, rel=0.02)
    assert (tmp_path / "cache" / CARD_FILE).stat().st_blocks * 512 <= 4096


def test_the_bank_of_cifar_100_takes_the_1_6_gigabytes_of_its_logits_and_four_per_cent():
    planned = plan(Layout(**CIFAR))
    assert planned.cells == 8_100_000
    assert planned.bytes == planned.cells * (100 * 2 + 4 + 4)
    assert planned.shards == 2


@pytest.mark.parametrize("kept", [{}, {"top_k": 20}, {"features": 256}])
def test_bytes_and_forwards_grow_linearly_with_the_samples(kept):
    small, large = (plan(Layout(**CIFAR | {"samples": n} | kept)) for n in (10_000, 1_000_000))
    assert large.bytes == 100 * small.bytes
    assert large.forwards() == 100 * small.forwards() == 162_000_000
    assert large.shards <= 800


def test_top_k_takes_a_byte_for_a_class_up_to_256_and_two_above():
    of = {n: Layout(samples=1, views=1, classes=n, top_k=20).record.itemsize for n in (256, 257, 65536, 65537)}
    assert of == {256: 8 + 60, 257: 8 + 80, 65536: 8 + 80, 65537: 8 + 120}


def test_expected_forwards_are_those_of_random_views():
    planned = plan(Layout(samples=4000, views=9, classes=10))
    rule = CropFlip(1, False)
    seen = torch.stack([rule.draw(0, epoch, torch.arange(4000)) for epoch in range(12)])
    distinct = sum(len(set(column)) for column in seen.T.tolist())
    assert planned.forwards(12) == pytest.approx(distinct, rel=0.01)
    assert planned.forwards(0) == 0
    assert planned.forwards(1) == 4000
    assert planned.forwards(10_000) == planned.forwards()


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"top_k": 5}, {"top_k": 0}, {"features": -1}, {"view": 3}])
def test_a_layout_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        Layout(**{"samples": 2, "views": 3, "classes": 5} | wrong)


def test_every_cell_is_in_one_shard():
    layout = Layout(samples=10, views=9, classes=5, shard_bytes=3 * 9 * 20)
    assert layout.samples_per_shard == 3
    assert [layout.cells_in(shard) for shard in range(layout.shards)] == [27, 27, 27, 9]
    assert Layout(samples=10, views=9, classes=5, shard_bytes=1).samples_per_shard == 1


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        ({"samples": 10**18}, "allowed are 281474976710656 cells"),
        ({"samples": 10**9, "shard_bytes": 1}, "1000000000 files: allowed are 100000"),
        ({"classes": 10**10}, "a record larger than 1 GiB"),
        ({"features": 10**10}, "a record larger than 1 GiB"),
    ],
)
def test_a_layout_beyond_any_disk_is_refused_before_it_is_counted(sides, said):
    with pytest.raises(ValidationError, match=said):
        Layout(**{"samples": 4, "views": 2, "classes": 3} | sides)
