import torch
from torch import nn

from preceptor.export import latencies, multiply_adds, parameters
from preceptor.export.costs import FEWEST_ROUNDS, LATENCY_BATCHES, WARM_UP_ROUNDS
from tests.export.students import images, student


def test_weights_and_operations_counted_by_hand():
    """convnet4 on 8x8: three convolutions of 3x3 over 8x8, 4x4 and 2x2 maps, then a linear head."""
    network, card = student()
    convolutions = [(1, 4, 64), (4, 8, 16), (8, 16, 4)]
    weights = sum(9 * inputs * outputs + 2 * outputs for inputs, outputs, _ in convolutions) + 16 * 10 + 10
    assert parameters(network) == weights
    assert multiply_adds(network, card) == sum(9 * i * o * pixels for i, o, pixels in convolutions) + 16 * 10


def test_all_take_turns_on_one_thread_and_nobody_always_begins():
    turns, threads, sizes = [], set(), set()

    def contender(name):
        def work(batch):
            turns.append(name)
            threads.add(torch.get_num_threads())
            sizes.add(len(batch))

        return work

    found = latencies({name: contender(name) for name in "abc"}, images(5), seconds=0.0)
    assert threads == {1}
    assert sizes == set(LATENCY_BATCHES)
    rounds = [turns[start : start + 3] for start in range(0, len(turns), 3)]
    assert len(rounds) == len(LATENCY_BATCHES) * (WARM_UP_ROUNDS + FEWEST_ROUNDS)
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert {each[0] for each in rounds} == {"a", "b", "c"}
    assert set(found) == {"a", "b", "c"}
    assert all(set(times) == {"1", "64"} and min(times.values()) >= 0 for times in found.values())


def test_a_network_that_is_all_matrix_products():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32, bias=False), nn.ReLU(), nn.Linear(32, 10))
    assert parameters(network) == 64 * 32 + 32 * 10 + 10
    assert multiply_adds(network, student()[1]) == 64 * 32 + 32 * 10
