"""Sizes planned before anything is written."""

import pytest
import torch
from pydantic import ValidationError

from preceptor.data import CropFlip
from preceptor.teachers.cache import Layout

CIFAR = {"samples": 50_000, "views": 162, "classes": 100}


def test_a_cache_of_cifar_100_takes_the_1_6_gigabytes_of_its_logits_and_four_per_cent():
    layout = Layout(**CIFAR)
    assert layout.entries == 8_100_000
    assert layout.bytes == layout.entries * (100 * 2 + 4 + 4)


@pytest.mark.parametrize("kept", [{}, {"top_k": 20}])
def test_bytes_and_queries_grow_linearly_with_the_samples(kept):
    small, large = (Layout(**CIFAR | {"samples": n} | kept) for n in (10_000, 1_000_000))
    assert large.bytes == 100 * small.bytes
    assert large.queries() == 100 * small.queries() == 162_000_000


def test_top_k_takes_a_byte_for_a_class_up_to_256_and_two_above():
    sizes = {n: Layout(samples=1, views=1, classes=n, top_k=20).record.itemsize for n in (256, 257, 65536, 65537)}
    assert sizes == {256: 8 + 60, 257: 8 + 80, 65536: 8 + 80, 65537: 8 + 120}


@pytest.mark.parametrize("classes", range(2, 12))
@pytest.mark.parametrize("kept", [{}, {"top_k": 1}])
def test_a_record_is_whole_words_and_its_fields_are_aligned(classes, kept):
    record = Layout(samples=1, views=1, classes=classes, **kept).record
    assert record.itemsize % 4 == 0
    assert record.fields is not None
    assert all(offset % dtype.base.itemsize == 0 for dtype, offset, *_ in record.fields.values())


def test_expected_queries_are_those_of_random_views():
    layout = Layout(samples=4000, views=9, classes=10)
    seen = torch.stack([CropFlip(1, False).draw(0, epoch, torch.arange(4000)) for epoch in range(12)])
    distinct = sum(len(set(column)) for column in seen.T.tolist())
    assert layout.queries(12) == pytest.approx(distinct, rel=0.01)
    assert [layout.queries(epochs) for epochs in (0, 1, 10_000)] == [0, 4000, layout.queries()]


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"top_k": 5}, {"top_k": 0}, {"features": 64}, {"view": 3}])
def test_an_impossible_layout_is_refused(wrong):
    with pytest.raises(ValidationError):
        Layout(**{"samples": 2, "views": 3, "classes": 5} | wrong)


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ({"samples": 10**18}, "at most 281474976710656 entries are allowed"),
        ({"classes": 10**10}, "a record larger than 1 GiB"),
    ],
)
def test_a_layout_beyond_any_disk_is_refused_before_it_is_counted(sides, message):
    with pytest.raises(ValidationError, match=message):
        Layout(**{"samples": 4, "views": 2, "classes": 3} | sides)
