"""The architectures of distillation on CIFAR-100: parameters and multiply-adds against counts by hand."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from preceptor.errors import InputError
from preceptor.models import build_model
from preceptor.models.costs import multiply_adds
from preceptor.models.features import FeatureModel
from preceptor.training.freezing import classifier_head

Layer = tuple[int, int]
"""Parameters, and multiply-adds."""


def conv(inputs: int, outputs: int, kernel: int, side: int, *, groups: int = 1, bias: int = 0) -> Layer:
    """Of a convolution whose maps have side x side pixels."""
    weights = inputs // groups * outputs * kernel**2
    return weights + bias * outputs, weights * side**2


def norm(size: int) -> Layer:
    return 2 * size, 0


def linear(inputs: int, outputs: int) -> Layer:
    return (inputs + 1) * outputs, inputs * outputs


def resnet_layers(depth: int, width: int, stem: int, classes: int) -> Iterator[Layer]:
    """He et al. 2016, section 4.2, with projections."""
    yield from (conv(3, stem, 3, 32), norm(stem))
    inputs = stem
    for outputs, side in ((16 * width, 32), (32 * width, 16), (64 * width, 8)):
        for _ in range((depth - 2) // 6):
            yield from (conv(inputs, outputs, 3, side), norm(outputs), conv(outputs, outputs, 3, side), norm(outputs))
            if inputs != outputs:
                yield from (conv(inputs, outputs, 1, side), norm(outputs))
            inputs = outputs
    yield linear(inputs, classes)


def imagenet_layers(repeats: tuple[int, ...], classes: int, *, bottleneck: bool) -> Iterator[Layer]:
    """He et al. 2016, table 1, with a 3x3 stem and projections; the 3x3 convolution of a bottleneck halves the maps."""
    yield from (conv(3, 64, 3, 32), norm(64))
    inputs = 64
    for stage, (width, blocks) in enumerate(zip((64, 128, 256, 512), repeats, strict=True)):
        side, outputs = 32 >> stage, 4 * width if bottleneck else width
        for block in range(blocks):
            before = side if block or not stage else 2 * side
            kernels = ((1, before), (3, side), (1, side)) if bottleneck else ((3, side), (3, side))
            between = inputs
            for (kernel, map_side), made in zip(kernels, (*[width] * (len(kernels) - 1), outputs), strict=True):
                yield from (conv(between, made, kernel, map_side), norm(made))
                between = made
            if inputs != outputs:
                yield from (conv(inputs, outputs, 1, side), norm(outputs))
            inputs = outputs
    yield linear(inputs, classes)


def wide_layers(depth: int, width: int, classes: int) -> Iterator[Layer]:
    """Zagoruyko and Komodakis 2016, table 1: 4 layers beside the blocks of two convolutions each."""
    yield conv(3, 16, 3, 32)
    inputs = 16
    for outputs, side in ((16 * width, 32), (32 * width, 16), (64 * width, 8)):
        for _ in range((depth - 4) // 6):
            yield from (norm(inputs), conv(inputs, outputs, 3, side), norm(outputs), conv(outputs, outputs, 3, side))
            if inputs != outputs:
                yield conv(inputs, outputs, 1, side)
            inputs = outputs
    yield from (norm(inputs), linear(inputs, classes))


def vgg_layers(convolutions: str, classes: int, *, last_side: int = 4, hidden: int = 0) -> Iterator[Layer]:
    """Simonyan and Zisserman 2015, table 1: how many convolutions at each width, and ``hidden`` linear layers."""
    inputs = 3
    for count, outputs, side in zip(convolutions, (64, 128, 256, 512, 512), (32, 16, 8, 4, last_side), strict=True):
        for _ in range(int(count)):
            yield from (conv(inputs, outputs, 3, side, bias=1), norm(outputs))
            inputs = outputs
    yield from (linear(inputs, inputs) for _ in range(hidden))
    yield linear(inputs, classes)


def mobile_layers(classes: int) -> Iterator[Layer]:
    """Sandler et al. 2018, table 2, channels halved; the stem and three stages halve the maps."""
    yield from (conv(3, 16, 3, 16), norm(16))
    inputs, side = 16, 16
    table = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, full, blocks, stride in table:
        for block in range(blocks):
            wide, outputs = expansion * inputs, full // 2
            yield from (conv(inputs, wide, 1, side), norm(wide))
            side //= stride if block == 0 else 1
            yield from (conv(wide, wide, 3, side, groups=wide), norm(wide), conv(wide, outputs, 1, side), norm(outputs))
            inputs = outputs
    yield from (conv(inputs, 1280, 1, side), norm(1280), linear(1280, classes))


def shuffle_v1_layers(classes: int) -> Iterator[Layer]:
    """Zhang et al. 2018, table 1, 3 groups; a narrow quarter of what a unit computes."""
    yield from (conv(3, 24, 1, 32), norm(24))
    inputs, side = 24, 32
    for outputs, units in ((240, 4), (480, 8), (960, 4)):
        for unit in range(units):
            computed = outputs - inputs if unit == 0 else outputs
            narrow = computed // 4
            yield from (conv(inputs, narrow, 1, side, groups=1 if inputs == 24 else 3), norm(narrow))
            side //= 2 if unit == 0 else 1
            yield from (conv(narrow, narrow, 3, side, groups=narrow), norm(narrow))
            yield from (conv(narrow, computed, 1, side, groups=3), norm(computed))
            inputs = outputs
    yield linear(inputs, classes)


def shuffle_v2_layers(classes: int, *, stem: int = 1) -> Iterator[Layer]:
    """Ma et al. 2018, figure 3c and d and table 5 at width 1; the stem's kernel is that of the literature."""
    yield from (conv(3, 24, stem, 32), norm(24))
    inputs, side = 24, 32
    for outputs, units in ((116, 4), (232, 8), (464, 4)):
        half = outputs // 2
        yield from (conv(inputs, half, 1, side), norm(half))
        side //= 2
        yield from (conv(inputs, inputs, 3, side, groups=inputs), norm(inputs), conv(inputs, half, 1, side), norm(half))
        yield from (conv(half, half, 3, side, groups=half), norm(half), conv(half, half, 1, side), norm(half))
        for _ in range(units - 1):
            yield from (conv(half, half, 1, side), norm(half), conv(half, half, 3, side, groups=half), norm(half))
            yield from (conv(half, half, 1, side), norm(half))
        inputs = outputs
    yield from (conv(inputs, 1024, 1, side), norm(1024), linear(1024, classes))


# Millions of parameters as published with CRD (Tian et al. 2020) and by the papers after it, with 100 classes.
ZOO = {
    "resnet8": (0.08, resnet_layers(8, 1, 16, 100)),
    "resnet14": (0.18, resnet_layers(14, 1, 16, 100)),
    "resnet20": (0.28, resnet_layers(20, 1, 16, 100)),
    "resnet32": (0.47, resnet_layers(32, 1, 16, 100)),
    "resnet44": (0.67, resnet_layers(44, 1, 16, 100)),
    "resnet56": (0.86, resnet_layers(56, 1, 16, 100)),
    "resnet110": (1.74, resnet_layers(110, 1, 16, 100)),
    "resnet8x4": (1.23, resnet_layers(8, 4, 32, 100)),
    "resnet32x4": (7.43, resnet_layers(32, 4, 32, 100)),
    "imagenet-resnet18": (11.22, imagenet_layers((2, 2, 2, 2), 100, bottleneck=False)),
    "imagenet-resnet50": (23.71, imagenet_layers((3, 4, 6, 3), 100, bottleneck=True)),
    "wrn_16_1": (0.18, wide_layers(16, 1, 100)),
    "wrn_16_2": (0.70, wide_layers(16, 2, 100)),
    "wrn_40_1": (0.57, wide_layers(40, 1, 100)),
    "wrn_40_2": (2.26, wide_layers(40, 2, 100)),
    "vgg8": (3.97, vgg_layers("11111", 100)),
    "vgg11": (9.28, vgg_layers("11222", 100)),
    "vgg13": (9.46, vgg_layers("22222", 100)),
    "vgg16": (14.77, vgg_layers("22333", 100)),
    "vgg19": (20.09, vgg_layers("22444", 100)),
    "MobileNetV2": (0.81, mobile_layers(100)),
    "ShuffleV1": (0.95, shuffle_v1_layers(100)),
    "ShuffleV2": (1.36, shuffle_v2_layers(100)),
}
COUNTS = {name: tuple(map(sum, zip(*layers, strict=True))) for name, (_, layers) in ZOO.items()}


@pytest.mark.parametrize("name", ZOO)
def test_parameters_and_multiply_adds_are_those_counted_by_hand(name: str) -> None:
    with torch.device("meta"):
        network = build_model(name, channels=3, classes=100)
    parameters = sum(weight.numel() for weight in network.parameters())
    assert (parameters, multiply_adds_on_meta(network)) == COUNTS[name]
    assert parameters / 1e6 == pytest.approx(ZOO[name][0], abs=0.006)


def multiply_adds_on_meta(network: nn.Module) -> int:
    return multiply_adds(network.to_empty(device="cpu"), (3, 32, 32))


def multiply_adds_of(layers: Iterator[Layer]) -> float:
    """Millions of multiply-adds."""
    return sum(one for _, one in layers) / 1e6


@pytest.mark.parametrize(
    ("counted", "published"),
    [
        (COUNTS["resnet20"][1] / 1e6, 40.82),
        (COUNTS["resnet32"][1] / 1e6, 69.13),
        (COUNTS["resnet44"][1] / 1e6, 97.44),
        (COUNTS["resnet56"][1] / 1e6, 125.75),
        (multiply_adds_of(vgg_layers("11222", 100, last_side=2, hidden=2)), 153.34),
        (multiply_adds_of(vgg_layers("22222", 100, last_side=2, hidden=2)), 228.84),
        (multiply_adds_of(vgg_layers("22333", 100, last_side=2, hidden=2)), 313.77),
        (multiply_adds_of(vgg_layers("22444", 100, last_side=2, hidden=2)), 398.71),
        (multiply_adds_of(shuffle_v2_layers(100, stem=3)), 45.09),
    ],
)
def test_multiply_adds_counted_by_hand_are_the_published_ones(counted: float, published: float) -> None:
    """Millions for CIFAR-100, of github.com/chenyaofo/pytorch-cifar-models. Its VGG networks pool once more and have
    two linear layers more than the literature's, its ShuffleNet V2 has a 3x3 stem: the same functions count both.

    For the others (resnet8, 14, 110, 8x4 and 32x4, wide ResNets, vgg8, MobileNetV2 of half width, ShuffleV1) we know of
    no published counts for images of 32x32: there the count by hand, from the papers' tables, is the only check.
    """
    assert counted == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize(("name", "published"), [("imagenet-resnet18", 0.56), ("imagenet-resnet50", 1.30)])
def test_multiply_adds_of_the_networks_of_imagenet_are_the_published_ones(name: str, published: float) -> None:
    """Thousand millions for CIFAR-100, of the model zoo of github.com/da2so/DA2Lite."""
    assert COUNTS[name][1] / 1e9 == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.73)])
def test_option_a_has_the_parameters_of_the_paper(depth: int, millions: float) -> None:
    """He et al. 2016, table 6, which gives 0.27, 0.46, 0.66, 0.85 and 1.7 million; without projections."""
    network = build_model(f"resnet{depth}_a", channels=3, classes=10)
    projections = sum(inputs * 2 * inputs + 2 * 2 * inputs for inputs in (16, 32))
    with_projections = sum(parameters for parameters, _ in resnet_layers(depth, 1, 16, 10))
    found = sum(weight.numel() for weight in network.parameters())
    assert found == with_projections - projections
    assert found / 1e6 == pytest.approx(millions, abs=0.006)


NAMES = ("resnet8", "resnet8_a", "wrn_16_1", "wrn-10-2", "vgg8", "mobilenetv2_half", "shufflenetv1", "shufflenetv2")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(32, 32), (28, 28), (17, 11)])
def test_images_of_any_size(name: str, size: tuple[int, int]) -> None:
    network = build_model(name, channels=2, classes=5).eval()
    images = torch.randn(2, 2, *size)
    assert network(images).shape == (2, 5)
    torch.testing.assert_close(network.head(network.features(images)), network(images))


@pytest.mark.parametrize("name", NAMES)
def test_the_head_is_what_head_replacement_takes(name: str) -> None:
    network = build_model(name, channels=3, classes=5)
    assert classifier_head(network) is network.head
    assert network.head.out_features == 5


@pytest.mark.parametrize("name", NAMES)
def test_listed_layers_give_maps_from_large_to_small(name: str) -> None:
    network = build_model(name, channels=3, classes=5).eval()
    _, features = FeatureModel(network, network.feature_layers)(torch.randn(1, 3, 32, 32))
    sides = [maps.shape[2] for maps in features.values()]
    assert list(features) == list(network.feature_layers)
    assert sides == sorted(sides, reverse=True)
    assert sides[0] > sides[-1]


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_learns(name: str) -> None:
    torch.manual_seed(0)
    network = build_model(name, channels=1, classes=4)
    network(torch.randn(4, 1, 32, 32)).square().sum().backward()
    # A bias before batch norm cannot change the outputs: its gradient is rounding, or zero.
    still = [
        name
        for name, weight in network.named_parameters()
        if weight.grad is None or (weight.dim() > 1 and not weight.grad.any())
    ]
    assert still == []


@pytest.mark.parametrize("name", ["wrn_10_1", "vgg8", "mobilenetv2_half"])
def test_initial_convolutions_follow_kaiming_fan_out(name: str) -> None:
    torch.manual_seed(0)
    for layer in build_model(name, channels=3, classes=4).modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 10_000:
            fan_out = layer.out_channels * math.prod(layer.kernel_size)
            assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrn_17_2", r"wide ResNet depth is 17; expected 6n\+4"),
        ("wrn_4_2", r"depth is 4; expected 6n\+4"),
        ("wrn_16_0", "width is 0"),
        ("vgg9", "VGG depth is 9; expected one of 8, 11, 13, 16, 19"),
        ("resnet18_a", r"depth is 18; expected 6n\+2"),
        ("wrn_40x2", "did you mean 'wrn_40_2'"),
        ("mobilenetv2", "did you mean 'mobilenetv2_half'"),
        ("ShufleV2", "did you mean 'ShuffleV2'"),
    ],
)
def test_impossible_names(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(name, channels=3, classes=10)
