import pytest
from torch import nn

from preceptor.data import Normalization
from preceptor.models import costs
from preceptor.models.costs import multiply_adds, network_cost
from tests.export.students import student

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
    assert multiply_adds(network, (1, 8, 8)) == count


def test_weights_are_counted_and_speed_is_that_of_the_network(monkeypatch):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    sizes = set()
    network.register_forward_hook(lambda module, inputs, outputs: sizes.add(len(outputs)))
    found = network_cost(network, Normalization((0.5,), (0.5,)), (1, 8, 8))
    assert (found.parameters, found.multiply_adds) == (650, 640)
    assert sizes == {1, costs.LARGE_BATCH}
    assert found.large_batch == costs.LARGE_BATCH
    assert 0 < found.images_per_second < found.images_per_second_in_batches


def test_a_slow_network_gets_a_smaller_batch(monkeypatch):
    monkeypatch.setattr(costs, "LONGEST", 1e-9)
    network, card = student()
    assert network_cost(network, card.normalization(), (1, 8, 8)).large_batch == 1
