import pytest
import torch
from torch import nn

from preceptor.models.resnet import BasicBlock, Bottleneck, stage

BLOCKS = pytest.mark.parametrize("block", [BasicBlock, Bottleneck])


def convolutions(block):
    return [
        (layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0])
        for name, layer in block.named_modules()
        if isinstance(layer, nn.Conv2d) and "shortcut" not in name
    ]


@BLOCKS
def test_a_block_without_residual_is_its_shortcut(block):
    block = block(8, 8, stride=1).eval()
    *_, last_norm = (layer for layer in block.children() if isinstance(layer, nn.BatchNorm2d))
    nn.init.zeros_(last_norm.weight)
    maps = torch.rand(2, 8, 5, 5)
    assert torch.equal(block(maps), maps)


@BLOCKS
@pytest.mark.parametrize(("size", "halved"), [((8, 8), (4, 4)), ((7, 4), (4, 2)), ((1, 3), (1, 2))])
def test_a_stride_halves_the_maps_rounded_up(block, size, halved):
    assert block(4, 16, stride=2).eval()(torch.randn(2, 4, *size)).shape == (2, 16, *halved)


@BLOCKS
@pytest.mark.parametrize(("inputs", "outputs", "stride", "projected"), [(8, 8, 1, 0), (8, 16, 1, 1), (8, 8, 2, 1)])
def test_the_shortcut_is_projected_only_where_the_shape_changes(block, inputs, outputs, stride, projected):
    kernels = [layer for layer in block(inputs, outputs, stride).shortcut.modules() if isinstance(layer, nn.Conv2d)]
    assert len(kernels) == projected


def test_a_bottleneck_convolves_in_a_quarter_of_its_channels():
    assert convolutions(Bottleneck(24, 32, stride=2)) == [(24, 8, 1, 1), (8, 8, 3, 2), (8, 32, 1, 1)]


def test_a_basic_block_convolves_twice():
    assert convolutions(BasicBlock(24, 32, stride=2)) == [(24, 32, 3, 2), (32, 32, 3, 1)]


@BLOCKS
def test_only_the_first_block_of_a_stage_changes_the_shape(block):
    row = stage(block, 4, 16, stride=2, blocks=3)
    assert [convolutions(part)[0][0] for part in row] == [4, 16, 16]
    assert row.eval()(torch.randn(1, 4, 8, 8)).shape == (1, 16, 4, 4)
