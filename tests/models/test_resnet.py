import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from preceptor.errors import InputError
from preceptor.models.resnet import CifarResNet


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def expected_parameters(depth, width, channels, classes):
    """Counted layer by layer from the paper's table: k*k*in*out a convolution, 2*out a batch norm."""
    stem = {1: 16, 2: 16, 4: 32}[width]
    total, inputs = 9 * channels * stem + 2 * stem, stem
    for outputs in (16 * width, 32 * width, 64 * width):
        for block in range((depth - 2) // 6):
            total += 9 * inputs * outputs + 9 * outputs * outputs + 4 * outputs
            if block == 0 and inputs != outputs:
                total += inputs * outputs + 2 * outputs
            inputs = outputs
    return total + inputs * classes + classes


@pytest.mark.parametrize(
    ("depth", "width", "published"),
    [(8, 4, 1_233_540), (32, 4, 7_433_860), (20, 1, 278_324), (56, 1, 861_620)],
)
def test_as_many_parameters_as_in_the_literature(depth, width, published):
    assert parameters(CifarResNet(depth, width, channels=3, classes=100)) == published
    assert expected_parameters(depth, width, 3, 100) == published


@pytest.mark.parametrize(
    ("depth", "width", "channels", "classes"), [(8, 1, 1, 10), (14, 2, 3, 10), (8, 2, 4, 2), (8, 4, 1, 7)]
)
def test_as_many_parameters_as_counted_by_hand(depth, width, channels, classes):
    network = CifarResNet(depth, width, channels, classes)
    assert parameters(network) == expected_parameters(depth, width, channels, classes)


def reference_logits(network, images):
    """Section 4.2 of the paper from the tensors alone, in the order in which the layers hold them."""
    tensors = iter([t for name, t in network.state_dict().items() if "num_batches" not in name])

    def convolve_and_normalize(maps, stride=1):
        kernel, scale, shift, mean, variance = (next(tensors) for _ in range(5))
        maps = F.conv2d(maps, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        normalized = (maps - mean.view(-1, 1, 1)) / (variance.view(-1, 1, 1) + 1e-5).sqrt()
        return normalized * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)

    maps = convolve_and_normalize(images).clamp(min=0)
    for block in range(3):  # depth 8: one block a stage
        stride = 1 if block == 0 else 2
        residual = convolve_and_normalize(convolve_and_normalize(maps, stride).clamp(min=0))
        shortcut = maps if maps.shape == residual.shape else convolve_and_normalize(maps, stride)
        maps = (residual + shortcut).clamp(min=0)
    weight, bias = tensors
    return maps.flatten(2).mean(2) @ weight.T + bias


@pytest.mark.parametrize("width", [1, 4])
def test_computes_the_paper_s_network(width):
    torch.manual_seed(0)
    network = CifarResNet(8, width, channels=2, classes=5).double()
    for norm in (layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            nn.init.uniform_(tensor, 0.5, 1.5)
    images = torch.randn(3, 2, 9, 12, dtype=torch.float64)
    torch.testing.assert_close(network.eval()(images), reference_logits(network, images))


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (32, 32), (17, 11)])
def test_images_of_any_size(size):
    network = CifarResNet(8, 1, channels=1, classes=6).eval()
    images = torch.randn(2, 1, *size)
    assert network.features(images).shape == (2, 64)
    assert network(images).shape == (2, 6)


def test_stages_halve_the_image_twice():
    network, shapes = CifarResNet(8, 2), []
    for stage in (network.stage1, network.stage2, network.stage3):
        stage.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    network.eval()(torch.randn(1, 3, 32, 32))
    assert shapes == [(32, 32, 32), (64, 16, 16), (128, 8, 8)]


def test_the_head_reads_the_features():
    network = CifarResNet(8, 1).eval()
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(network(images), network.head(network.features(images)))


def test_every_weight_learns():
    network = CifarResNet(8, 2, channels=1, classes=4)
    network(torch.randn(4, 1, 8, 8)).square().sum().backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


def test_initial_weights_follow_kaiming_fan_out():
    torch.manual_seed(0)
    network = CifarResNet(8, 4)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 10_000:
            fan_out = layer.out_channels * math.prod(layer.kernel_size)
            assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.eq(1).all()
            assert layer.bias.eq(0).all()


@pytest.mark.parametrize("depth", [0, 2, 7, 18, 21, -4])
def test_the_error_for_an_impossible_depth_states_the_rule(depth):
    with pytest.raises(InputError, match=rf"depth is {depth}; expected 6n\+2, such as 8, 14, 20, 32, 44, 56 or"):
        CifarResNet(depth)


def test_a_width_below_one_is_refused():
    with pytest.raises(InputError, match="width is 0"):
        CifarResNet(8, 0)
