import pytest
import torch
from torch import nn

from preceptor.export import latencies, multiply_adds
from tests.export.students import images, student

CONVOLUTIONS = [(1, 4, 64), (4, 8, 16), (8, 16, 4)]
"""Inputs, outputs and pixels of convnet4's 3x3 convolutions on 8x8 images."""


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (student()[0], sum(9 * inputs * outputs * pixels for inputs, outputs, pixels in CONVOLUTIONS) + 16 * 10),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 32, bias=False), nn.ReLU(), nn.Linear(32, 10)), 64 * 32 + 32 * 10),
    ],
    ids=["convolutions", "matrix products"],
)
def test_multiply_adds_counted_by_hand(network, count):
    assert multiply_adds(network, student()[1]) == count


def test_latencies_are_of_single_threads_and_of_batches_filled_up():
    threads, sizes = set(), set()

    def work(batch):
        threads.add(torch.get_num_threads())
        sizes.add(len(batch))

    milliseconds = latencies({"a": work, "b": work}, images(5), seconds=0.001)
    assert threads == {1}
    assert sizes == {1, 64}
    assert set(milliseconds) == {"a", "b"}
    assert all(set(times) == {"1", "64"} and min(times.values()) > 0 for times in milliseconds.values())
