import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from preceptor.errors import InputError
from preceptor.models import (
    CifarResNet,
    ImagenetResNet,
    ModelCard,
    build_model,
    known_models,
    load_student,
    save_student,
    seeded_model,
)

DEPTHS = (18, 34, 50, 101, 152)

# Table 1 of the paper: how often each stage repeats its block, and the kernels of that block as (side, channels).
TABLE = {
    18: ((2, 2, 2, 2), lambda width: [(3, width), (3, width)]),
    34: ((3, 4, 6, 3), lambda width: [(3, width), (3, width)]),
    50: ((3, 4, 6, 3), lambda width: [(1, width), (3, width), (1, 4 * width)]),
    101: ((3, 4, 23, 3), lambda width: [(1, width), (3, width), (1, 4 * width)]),
    152: ((3, 8, 36, 3), lambda width: [(1, width), (3, width), (1, 4 * width)]),
}
STRIDES = (1, 2, 2, 2)


def unfilled(depth, channels=3, classes=10):
    """The network without memory for its weights."""
    with torch.device("meta"):
        return ImagenetResNet(depth, channels, classes)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def expected_parameters(depth, channels, classes, stem_side=3):
    """Counted from the table: side * side * in * out a convolution, 2 * out the batch norm after it."""
    repeats, kernels_at = TABLE[depth]
    total, inputs = stem_side**2 * channels * 64 + 2 * 64, 64
    for repeat, width in zip(repeats, (64, 128, 256, 512), strict=True):
        for _ in range(repeat):
            outputs, between = kernels_at(width)[-1][1], inputs
            for side, kernels in kernels_at(width):
                total += side**2 * between * kernels + 2 * kernels
                between = kernels
            if inputs != outputs:
                total += inputs * outputs + 2 * outputs
            inputs = outputs
    return total + inputs * classes + classes


@pytest.mark.parametrize(("depth", "published"), [(18, 11_220_132), (50, 23_705_252)])
def test_as_many_parameters_as_for_cifar100_in_the_literature(depth, published):
    assert expected_parameters(depth, 3, 100) == published
    assert parameters(unfilled(depth, classes=100)) == published


@pytest.mark.parametrize(
    ("depth", "published"),
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)],
)
def test_all_but_the_stem_is_the_network_for_imagenet(depth, published):
    """The published counts of torchvision, whose stem is 7x7."""
    assert expected_parameters(depth, 3, 1000, stem_side=7) == published
    assert parameters(unfilled(depth, classes=1000)) == published - (49 - 9) * 3 * 64


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (4, 7)])
def test_as_many_parameters_as_counted_by_hand(depth, channels, classes):
    assert parameters(unfilled(depth, channels, classes)) == expected_parameters(depth, channels, classes)


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_depth_counts_the_layers_with_weights(depth):
    layers = [
        name
        for name, layer in unfilled(depth).named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and "shortcut" not in name
    ]
    assert len(layers) == depth


def with_used_batch_norms(network):
    """Batch norms that do something, as after training."""
    for norm in (layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            nn.init.uniform_(tensor, 0.5, 1.5)
    return network


def reference_logits(network, depth, images):
    """The paper's network from the tensors alone, in the order in which the layers hold them."""
    tensors = iter([t for name, t in network.state_dict().items() if "num_batches" not in name])

    def convolve_and_normalize(maps, stride=1):
        kernel, scale, shift, mean, variance = (next(tensors) for _ in range(5))
        maps = F.conv2d(maps, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        normalized = (maps - mean.view(-1, 1, 1)) / (variance.view(-1, 1, 1) + 1e-5).sqrt()
        return normalized * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)

    repeats, kernels_at = TABLE[depth]
    sides = [side for side, _ in kernels_at(64)]
    with_stride = sides.index(3)
    maps = convolve_and_normalize(images).clamp(min=0)
    for repeat, stride_of_stage in zip(repeats, STRIDES, strict=True):
        for block in range(repeat):
            stride, residual = stride_of_stage if block == 0 else 1, maps
            for layer in range(len(sides)):
                residual = convolve_and_normalize(residual, stride if layer == with_stride else 1)
                residual = residual if layer == len(sides) - 1 else residual.clamp(min=0)
            shortcut = maps if maps.shape == residual.shape else convolve_and_normalize(maps, stride)
            maps = (residual + shortcut).clamp(min=0)
    weight, bias = tensors
    return maps.flatten(2).mean(2) @ weight.T + bias


@pytest.mark.parametrize("depth", [18, 50])
@torch.no_grad()
def test_computes_the_paper_s_network(depth):
    torch.manual_seed(0)
    network = with_used_batch_norms(ImagenetResNet(depth, channels=2, classes=5)).double().eval()
    images = torch.randn(2, 2, 9, 12, dtype=torch.float64)
    torch.testing.assert_close(network(images), reference_logits(network, depth, images))


@pytest.mark.usefixtures("torchvision_ops")
@pytest.mark.parametrize("depth", [18, 50])
@torch.no_grad()
def test_computes_what_torchvision_computes(depth):
    torch.manual_seed(0)
    network = with_used_batch_norms(ImagenetResNet(depth, classes=5)).eval()
    other = build_model(f"torchvision:resnet{depth}", channels=3, classes=5).eval()
    other.conv1, other.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    tensors = zip(other.state_dict(), network.state_dict().values(), strict=True)
    other.load_state_dict(dict(tensors))
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(network(images), other(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("depth", "dimensions"), [(18, 512), (50, 2048)])
@pytest.mark.parametrize(("channels", "size"), [(1, (28, 28)), (3, (32, 32)), (2, (17, 5))])
@torch.no_grad()
def test_images_of_any_size(depth, dimensions, channels, size):
    network = ImagenetResNet(depth, channels=channels, classes=6).eval()
    images = torch.randn(2, channels, *size)
    features = network.features(images)
    assert features.shape == (2, dimensions)
    assert network(images).shape == (2, 6)
    assert torch.equal(network(images), network.head(features))


@pytest.mark.parametrize(("side", "sides"), [(32, [32, 16, 8, 4]), (28, [28, 14, 7, 4])])
def test_small_images_keep_their_size_up_to_the_second_stage(side, sides):
    network, shapes = unfilled(18), []
    for stage in (network.stage1, network.stage2, network.stage3, network.stage4):
        stage.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    network.eval()(torch.empty(1, 3, side, side, device="meta"))
    assert shapes == [(width, side, side) for width, side in zip((64, 128, 256, 512), sides, strict=True)]


@pytest.mark.parametrize("depth", [18, 50])
def test_every_weight_learns(depth):
    torch.manual_seed(0)
    network = ImagenetResNet(depth, channels=1, classes=4)
    network(torch.randn(4, 1, 8, 8)).square().sum().backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


@pytest.mark.parametrize("depth", [0, 1, 20, 49, 151, -18])
def test_the_error_for_another_depth_lists_the_possible_ones(depth):
    with pytest.raises(InputError, match=rf"depth is {depth}; expected one of 18, 34, 50, 101, 152;.*resnet20"):
        ImagenetResNet(depth)


def test_names_do_not_clash_with_the_networks_for_cifar():
    assert isinstance(build_model("imagenet-resnet18", channels=1, classes=2), ImagenetResNet)
    assert isinstance(build_model("resnet20", channels=1, classes=2), CifarResNet)
    with pytest.raises(InputError, match=r"depth is 18; expected 6n\+2, .*mean imagenet-resnet18 or torchvision:"):
        build_model("resnet18", channels=1, classes=2)
    with pytest.raises(InputError, match="depth is 20; expected one of 18"):
        build_model("imagenet-resnet20", channels=1, classes=2)


def test_known_models_lists_them():
    assert [line for line in known_models() if re.match(r"imagenet-resnet\{depth\}, such as imagenet-resnet18", line)]


def test_a_seed_draws_the_same_weights_again():
    first, again, other = (seeded_model("imagenet-resnet18", channels=1, classes=3, seed=seed) for seed in (5, 5, 6))
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    assert not torch.equal(first.head.weight, other.head.weight)
    assert not torch.equal(first.stem[0].weight, other.stem[0].weight)


@torch.no_grad()
def test_a_student_comes_back_as_it_was(tmp_path):
    network = seeded_model("imagenet-resnet18", channels=1, classes=3, seed=0)
    images = torch.randn(4, 1, 28, 28)
    network(images)  # moves the batch statistics
    card = ModelCard(
        architecture="imagenet-resnet18",
        channels=1,
        classes=3,
        class_names=("one", "two", "three"),
        image_size=(28, 28),
        mean=(0.3,),
        std=(0.2,),
        data="noise",
        preceptor="0.1.0",
    )
    save_student(tmp_path, network, card)
    loaded, loaded_card = load_student(tmp_path)
    assert loaded_card == card
    assert torch.equal(loaded(images), network.eval()(images))
