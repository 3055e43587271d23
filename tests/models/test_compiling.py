import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from preceptor.models.compiling import compiled


class Scaled(nn.Module):
    """One forward method for many graphs: the factor is written into each."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * self.factor if self.factor % 2 else images + self.factor


def test_none_of_many_networks_of_a_class_is_left_uncompiled():
    torch._dynamo.reset()
    counter, images = CompileCounter(), torch.ones(2, 3)
    for factor in range(12):  # torch's own limit is 8
        network = Scaled(factor)
        assert torch.equal(compiled(network, backend=counter, dynamic=False)(images), network(images))
    assert counter.frame_count == 12


def test_it_shares_its_parameters_and_keeps_the_original():
    network = nn.Linear(3, 2)
    copy = compiled(network, backend="eager")
    assert copy.weight is network.weight
    assert type(network) is nn.Linear
