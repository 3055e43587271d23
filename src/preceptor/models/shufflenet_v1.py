"""ShuffleNet V1 for small images."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from preceptor.models.family import model_family
from preceptor.models.layers import PooledNetwork, convolution

_STEM = 24
_GROUPS = 3
_STAGES = ((240, 4), (480, 8), (960, 4))
"""Channels out and units: table 1 of the paper for 3 groups."""


def shuffle_channels(
    maps: Float[Tensor, "batch channels height width"], groups: int
) -> Float[Tensor, "batch channels height width"]:
    """The channels in another order: the first of each group, then the second of each (Zhang et al., section 3.1)."""
    grouped: Tensor = maps.unflatten(1, (groups, -1))
    return grouped.transpose(1, 2).flatten(1, 2)


class ShuffleUnit(nn.Module):
    """1x1 grouped convolution, shuffle, 3x3 depthwise, 1x1 grouped; added to the input, or beside it at stride 2.

    Figure 2 of the paper, with a ReLU after the depthwise convolution, as in the networks for CIFAR. At stride 2 the
    input is averaged over 3x3 windows and makes up the last of the channels that go out.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        computed = outputs - inputs if stride == 2 else outputs
        narrow = computed // 4
        self.groups = 1 if inputs == _STEM else _GROUPS
        self.conv1 = nn.Conv2d(inputs, narrow, 1, groups=self.groups, bias=False)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, stride, padding=1, groups=narrow, bias=False)
        self.bn2 = nn.BatchNorm2d(narrow)
        self.conv3 = nn.Conv2d(narrow, computed, 1, groups=_GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(computed)

    def forward(
        self, maps: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs smaller_height smaller_width"]:
        """Activated maps; height and width are divided by the stride, rounded up."""
        residual = shuffle_channels(F.relu(self.bn1(self.conv1(maps))), self.groups)
        residual = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(residual)))))
        if self.stride == 2:
            return F.relu(torch.cat([residual, F.avg_pool2d(maps, 3, stride=2, padding=1)], dim=1))
        return F.relu(residual + maps)


@model_family("shufflenetv1", "ShuffleV1", examples=("shufflenetv1", "ShuffleV1"))
class ShuffleNetV1(PooledNetwork):
    """ShuffleNet of Zhang et al., 2018 (arXiv:1707.01083), table 1, with 3 groups, adapted to small images.

    The form of the distillation literature since Tian et al., 2020 (CRD, arXiv:1910.10699): a 1x1 stem of 24 channels
    without stride or pool in the place of a 3x3 one with both; three stages, each halving the maps; global average
    pooling; a linear head. With 100 classes it has 0.95 million weights. Initial weights are torch's own, as there.

    Args:
        channels: of the images. Default 3.
        classes: number of logits. Default 10.
    """

    feature_layers = ("stage1", "stage2", "stage3")
    third_party_names: ClassVar[dict[str, str]] = {
        r"conv1\.(.*)": r"stem.0.\1",
        r"bn1\.(.*)": r"stem.1.\1",
        r"layer(\d)\.(.*)": r"stage\1.\2",
        r"(?:linear|fc)\.(.*)": r"head.\1",
    }

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.stem = convolution(channels, _STEM, kernel=1)
        inputs = _STEM
        for name, (outputs, units) in zip(self.feature_layers, _STAGES, strict=True):
            others = (ShuffleUnit(outputs, outputs, 1) for _ in range(units - 1))
            self.add_module(name, nn.Sequential(ShuffleUnit(inputs, outputs, 2), *others))
            inputs = outputs
        self.head = nn.Linear(inputs, classes)
