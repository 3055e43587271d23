import pytest
import torch
from torch import nn

from preceptor.export import latencies, multiply_adds
from preceptor.export.costs import FEWEST_ROUNDS, LATENCY_BATCHES, WARM_UP_ROUNDS
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


def test_all_take_turns_on_one_thread_and_none_always_begins():
    turns, threads, sizes = [], set(), set()

    def contender(name):
        def work(batch):
            turns.append(name)
            threads.add(torch.get_num_threads())
            sizes.add(len(batch))

        return work

    milliseconds = latencies({name: contender(name) for name in "abc"}, images(5), seconds=0.0)
    assert threads == {1}
    assert sizes == set(LATENCY_BATCHES)
    rounds = [turns[start : start + 3] for start in range(0, len(turns), 3)]
    assert len(rounds) == len(LATENCY_BATCHES) * (WARM_UP_ROUNDS + FEWEST_ROUNDS)
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert {each[0] for each in rounds} == {"a", "b", "c"}
    assert set(milliseconds) == {"a", "b", "c"}
    assert all(set(times) == {"1", "64"} and min(times.values()) >= 0 for times in milliseconds.values())
