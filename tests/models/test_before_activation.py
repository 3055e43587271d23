"""Features before the activation: what a layer's last ReLU is applied to."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.errors import InputError
from preceptor.models import seeded_model
from preceptor.models.features import FeatureModel

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["resnet8", "resnet8_a", "imagenet-resnet18", "imagenet-resnet50", "vgg8", "convnet8"])
@pytest.mark.parametrize("train", [False, True])
def test_activated_they_are_the_layers_own_maps(name: str, train: bool) -> None:
    network = seeded_model(name, channels=3, classes=10, seed=0).train(train)
    layers = network.feature_layers
    logits, features = FeatureModel(network, [*layers, *(f"{layer}:pre" for layer in layers)])(IMAGES)
    for layer in layers:
        before = features[f"{layer}:pre"]
        assert bool((before < 0).any())
        assert torch.equal(functional.relu(before), features[layer])
    assert logits.shape == (2, 10)


def test_a_wide_resnets_are_normalized_as_the_next_stage_does() -> None:
    network = seeded_model("wrn_10_2", channels=3, classes=10, seed=0).eval()
    _, features = FeatureModel(network, ["stage1", "stage3", "stage1:pre", "stage3:pre", "relu"])(IMAGES)
    assert torch.equal(features["stage1:pre"], network.stage2[0].bn1(features["stage1"]))
    assert torch.equal(functional.relu(features["stage3:pre"]), features["relu"])


def test_gradient_reaches_a_student_through_them() -> None:
    network = seeded_model("resnet8", channels=3, classes=10, seed=0)
    _, features = FeatureModel(network, ["stage2:pre"])(IMAGES)
    features["stage2:pre"].sum().backward()
    assert network.stem[0].weight.grad is not None
    assert network.stage3[0].conv1.weight.grad is None


def test_hooks_are_removed() -> None:
    network = seeded_model("resnet8", channels=3, classes=10, seed=0)
    model = FeatureModel(network, ["stage1:pre"])
    model.remove_hooks()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_layers_without_an_activation_at_their_end() -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.inner = nn.Linear(4, 2), nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))

        def forward(self, rows: Tensor) -> Tensor:
            made: Tensor = self.inner(self.layer(rows))
            return made

    rows = torch.zeros(2, 4)
    with pytest.raises(InputError, match="layer 'layer:pre': no ReLU module in Linear: name a layer in front"):
        FeatureModel(Linear(), ["layer:pre"])
    with pytest.raises(InputError, match=r"its last ReLU gives \(2, 3\) and the layer \(2, 2\)"):
        FeatureModel(Linear(), ["inner:pre"])(rows)
    with pytest.raises(InputError, match=r"'innr:pre'.*did you mean 'inner'"):
        FeatureModel(Linear(), ["innr:pre"])
