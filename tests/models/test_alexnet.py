import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from preceptor.errors import InputError
from preceptor.models import AlexNet, ModelCard, build_model, known_models, load_student, save_student, seeded_model
from preceptor.models.layout import to_memory_format

# Side of the kernel, inputs (0: the images' channels), outputs.
CONVOLUTIONS = [(5, 0, 64), (3, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256)]
FULLY_CONNECTED = [(2 * 2 * 256, 512), (512, 512)]


@pytest.mark.parametrize(("channels", "classes"), [(3, 100), (1, 10), (2, 3)])
def test_as_many_parameters_as_counted_by_hand(channels, classes):
    convolutions = sum(side**2 * (inputs or channels) * outputs + outputs for side, inputs, outputs in CONVOLUTIONS)
    fully_connected = sum(inputs * outputs + outputs for inputs, outputs in [*FULLY_CONNECTED, (512, classes)])
    network = AlexNet(channels, classes)
    assert sum(weight.numel() for weight in network.parameters()) == convolutions + fully_connected


def test_a_few_million_parameters():
    assert 3.0e6 < sum(weight.numel() for weight in AlexNet(classes=100).parameters()) < 3.2e6


def reference_logits(network, images):
    """Section 3 of the paper with our sizes, from the tensors alone, in the order in which the layers hold them."""
    tensors = iter(network.state_dict().values())
    maps = images
    for layer, stride in enumerate((2, 1, 1, 1, 1)):
        kernel, bias = next(tensors), next(tensors)
        maps = F.conv2d(maps, kernel, bias, stride, padding=kernel.shape[-1] // 2).clamp(min=0)
        if layer in (0, 1, 4):
            # Overlapping windows; zeros at the border cannot win against what ReLU gives out.
            height, width = maps.shape[2:]
            padded = F.pad(maps, (1, 2, 1, 2))
            windows = padded.unfold(2, 3, 2).unfold(3, 3, 2)[:, :, : (height + 1) // 2, : (width + 1) // 2]
            maps = windows.amax(dim=(4, 5))
    hidden = maps.flatten(1)
    for _ in range(2):
        weight, bias = next(tensors), next(tensors)
        hidden = (hidden @ weight.T + bias).clamp(min=0)
    weight, bias = tensors
    return hidden @ weight.T + bias


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 32)])
@torch.no_grad()
def test_computes_the_paper_s_network(channels, side):
    torch.manual_seed(0)
    network = AlexNet(channels, 7).double().eval()
    images = torch.randn(3, channels, side, side, dtype=torch.float64)
    torch.testing.assert_close(network(images), reference_logits(network, images))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(28, 28), (32, 32), (16, 16), (64, 64), (33, 17), (8, 8), (1, 1)])
@torch.no_grad()
def test_images_of_any_size(channels, size):
    network = AlexNet(channels, classes=6).eval()
    images = torch.randn(2, channels, *size)
    features = network.features(images)
    assert features.shape == (2, 512)
    assert network(images).shape == (2, 6)
    assert torch.equal(network(images), network.head(features))


@pytest.mark.parametrize("side", [28, 32])
@torch.no_grad()
def test_small_images_fill_the_fully_connected_layers_without_resizing(side):
    network, shapes = AlexNet(1), []
    network.layers[-1].register_forward_hook(lambda _module, inputs, _output: shapes.append(inputs[0].shape))
    network(torch.randn(1, 1, side, side))
    assert shapes == [(1, 256, 2, 2)]


@torch.no_grad()
def test_the_order_of_memory_changes_nothing():
    network = AlexNet(3).eval()
    images = torch.randn(2, 3, 32, 32)
    assert to_memory_format(images).stride() != images.stride()
    torch.testing.assert_close(network(to_memory_format(images)), network(images))


def test_every_weight_learns():
    torch.manual_seed(0)
    network = AlexNet(channels=1, classes=4)
    network(torch.randn(4, 1, 28, 28)).square().sum().backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


@torch.no_grad()
def test_dropout_only_in_training():
    torch.manual_seed(0)
    network, images = AlexNet(1), torch.randn(16, 1, 28, 28)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


@torch.no_grad()
def test_dropout_strikes_half_of_both_hidden_layers():
    torch.manual_seed(0)
    network, images = AlexNet(1), torch.randn(64, 1, 28, 28)
    shares = []
    for layer in network.hidden:
        layer[-1].register_forward_hook(
            lambda _module, inputs, output: shares.append((output[inputs[0] > 0] == 0).double().mean().item())
        )
    network(images)
    assert shares == pytest.approx([0.5, 0.5], abs=0.03)


def test_initial_weights_follow_kaiming():
    torch.manual_seed(0)
    network = AlexNet()
    for layer in network.layers.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.out_channels * math.prod(layer.kernel_size)
            assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)
    for layer in network.hidden.modules():
        if isinstance(layer, nn.Linear):
            assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / layer.in_features), rel=0.05)


def test_learns_bright_from_dark():
    torch.manual_seed(0)
    label = torch.arange(16) % 2
    images = torch.randn(16, 1, 16, 16) + (2 * label - 1).view(-1, 1, 1, 1)
    network = AlexNet(1, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(network(images), label).backward()
        optimizer.step()
    with torch.no_grad():
        assert torch.equal(network.eval()(images).argmax(1), label)


def test_its_name_has_no_fields():
    network = build_model("alexnet", channels=2, classes=7)
    assert isinstance(network, AlexNet)
    assert network.layers[0][0].in_channels == 2
    assert network.head.out_features == 7
    assert "alexnet, such as alexnet" in known_models()


@pytest.mark.parametrize("name", ["alexnet8", "AlexNet", "alex-net"])
def test_only_that_name_is_its(name):
    with pytest.raises(InputError, match=f"unknown model '{name}': did you mean 'alexnet'"):
        build_model(name, channels=1, classes=2)


def test_a_seed_draws_the_same_weights_again():
    first, again, other = (seeded_model("alexnet", channels=1, classes=3, seed=seed) for seed in (5, 5, 6))
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    assert not any(map(torch.equal, first.parameters(), other.parameters()))


@torch.no_grad()
def test_a_student_comes_back_as_it_was(tmp_path):
    network = seeded_model("alexnet", channels=3, classes=2, seed=0)
    card = ModelCard(
        architecture="alexnet",
        channels=3,
        classes=2,
        class_names=("one", "two"),
        image_size=(32, 32),
        mean=(0.3,) * 3,
        std=(0.2,) * 3,
        data="noise",
        preceptor="0.1.0",
    )
    save_student(tmp_path, network, card)
    loaded, loaded_card = load_student(tmp_path)
    images = torch.randn(4, 3, 32, 32)
    assert loaded_card == card
    assert torch.equal(loaded(images), network.eval()(images))
