"""Layer-wise rates, against rates that are worked out by the names of parameters."""

import pytest
import torch
from torch import nn

from preceptor.models import seeded_model
from preceptor.training import TrainingConfig
from preceptor.training.config import learning_rate_of
from preceptor.training.layer_rates import blocks


class Encoder(nn.Module):
    """As Hugging Face's are: the blocks lie deep inside, beside a token of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 4))
        self.embed = nn.Linear(3, 4)
        self.layer = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(2))
        self.norm = nn.LayerNorm(4)


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = Encoder(), nn.Linear(4, 2)


DISTANCES = {
    "encoder.token": 3,
    "encoder.embed": 3,
    "encoder.layer.0": 2,
    "encoder.layer.1": 1,
    "encoder.norm": 1,
    "head": 0,
}


def rates(network: nn.Module, config: TrainingConfig) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    optimizer = config.build_optimizer([network])
    return {names[id(one)]: group["lr"] for group in optimizer.param_groups for one in group["params"]}


@pytest.mark.parametrize("decays_all", [True, False])
def test_each_blocks_rate_follows_its_distance_from_the_head(decays_all: bool) -> None:
    network = Classifier()
    config = TrainingConfig(
        learning_rate=0.3, layer_decay=0.5, optimizer="adamw", weight_decay=0.1, decay_norms_and_biases=decays_all
    )
    expected = {
        name: 0.3 * 0.5 ** next(distance for start, distance in DISTANCES.items() if name.startswith(start))
        for name, _ in network.named_parameters()
    }
    assert rates(network, config) == pytest.approx(expected)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for group in config.build_optimizer([network]).param_groups:
        decay = {0.1 if decays_all or parameter.dim() >= 2 else 0.0 for parameter in group["params"]}
        assert decay == {group["weight_decay"]}, [names[id(one)] for one in group["params"]]


@pytest.mark.parametrize("name", ["resnet8", "convnet8", "alexnet", "imagenet-resnet18"])
def test_our_own_networks_fall_into_blocks_in_order(name: str) -> None:
    network = seeded_model(name, channels=3, classes=5, seed=0)
    order = {id(parameter): place for place, parameter in enumerate(network.parameters())}
    parts = blocks(network)
    assert [order[id(parameter)] for part in parts for parameter in part] == sorted(order.values())
    assert len(parts) >= 3
    assert {tuple(one.shape) for one in parts[-1]} == {(5, parts[-1][0].shape[1]), (5,)}
    assert all(any(parameter.dim() > 1 for parameter in part) for part in parts)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "steps", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.3])
def test_schedules_keep_the_ratios(schedule: str, warmup: float) -> None:
    network = Classifier()
    config = TrainingConfig(epochs=10, learning_rate=0.3, layer_decay=0.5, schedule=schedule, warmup=warmup)
    optimizer = config.build_optimizer([network])
    plan = config.build_schedule(optimizer, 1)
    for _ in range(9):
        optimizer.step()
        plan.step()
        largest = learning_rate_of(optimizer)
        ratios = sorted(group["lr"] / largest for group in optimizer.param_groups)
        assert ratios == pytest.approx([0.125, 0.25, 0.5, 1.0])


def test_what_belongs_to_the_loss_has_the_full_rate() -> None:
    network, adapter = Classifier(), nn.Linear(2, 2)
    config = TrainingConfig(learning_rate=0.3, layer_decay=0.5)
    groups = config.build_optimizer([network, adapter]).param_groups
    (of_adapter,) = [group for group in groups if any(one is adapter.weight for one in group["params"])]
    assert of_adapter["lr"] == 0.3


def test_one_rate_without_a_decay() -> None:
    assert set(rates(Classifier(), TrainingConfig(learning_rate=0.3)).values()) == {0.3}
    assert set(rates(Classifier(), TrainingConfig(learning_rate=0.3, layer_decay=1.0)).values()) == {0.3}
