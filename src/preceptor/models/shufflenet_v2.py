"""ShuffleNet V2 for small images."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from preceptor.models.family import model_family
from preceptor.models.layers import PooledNetwork, convolution
from preceptor.models.shufflenet_v1 import shuffle_channels

_STEM = 24
_STAGES = ((116, 4), (232, 8), (464, 4))
"""Channels and units: table 5 of the paper at width 1."""
_LAST = 1024


class SplitUnit(nn.Module):
    """Half of the channels pass as they are; the other half goes through a 1x1, a depthwise 3x3 and a 1x1 convolution.

    Figure 3c of the paper.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Conv2d(half, half, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)

    def forward(
        self, maps: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Both halves, their channels in turn."""
        same, other = maps.chunk(2, dim=1)
        other = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(other)))))
        other = F.relu(self.bn3(self.conv3(other)))
        return shuffle_channels(torch.cat([same, other], dim=1), 2)


class DownUnit(nn.Module):
    """Two branches of stride 2, each of half of the channels that go out. Figure 3d of the paper."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = nn.Conv2d(inputs, inputs, 3, 2, padding=1, groups=inputs, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = nn.Conv2d(inputs, half, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(inputs, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = nn.Conv2d(half, half, 3, 2, padding=1, groups=half, bias=False)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = nn.Conv2d(half, half, 1, bias=False)
        self.bn5 = nn.BatchNorm2d(half)

    def forward(
        self, maps: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs smaller_height smaller_width"]:
        """Both branches, their channels in turn; height and width are halved, rounded up."""
        first = F.relu(self.bn2(self.conv2(self.bn1(self.conv1(maps)))))
        second = self.bn4(self.conv4(F.relu(self.bn3(self.conv3(maps)))))
        second = F.relu(self.bn5(self.conv5(second)))
        return shuffle_channels(torch.cat([first, second], dim=1), 2)


@model_family("shufflenetv2", "ShuffleV2", examples=("shufflenetv2", "ShuffleV2"))
class ShuffleNetV2(PooledNetwork):
    """ShuffleNet V2 of Ma et al., 2018 (arXiv:1807.11164), table 5, at width 1, adapted to small images.

    The form of the distillation literature since Tian et al., 2020 (CRD, arXiv:1910.10699): a 1x1 stem of 24 channels
    without stride or pool in the place of a 3x3 one with both; three stages, each halving the maps; a 1x1 convolution
    to 1,024 channels; global average pooling; a linear head. With 100 classes it has 1.36 million weights. Initial
    weights are torch's own, as there.

    Args:
        channels: of the images. Default 3.
        classes: number of logits. Default 10.
    """

    feature_layers = ("stage1", "stage2", "stage3")
    pooled_layer = "last"
    third_party_names: ClassVar[dict[str, str]] = {
        r"conv1\.(.*)": r"stem.0.\1",
        r"bn1\.(.*)": r"stem.1.\1",
        r"layer(\d)\.(.*)": r"stage\1.\2",
        r"conv2\.(.*)": r"last.0.\1",
        r"bn2\.(.*)": r"last.1.\1",
        r"(?:linear|fc)\.(.*)": r"head.\1",
    }

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.stem = convolution(channels, _STEM, kernel=1)
        inputs = _STEM
        for name, (outputs, units) in zip(self.feature_layers, _STAGES, strict=True):
            others = (SplitUnit(outputs) for _ in range(units - 1))
            self.add_module(name, nn.Sequential(DownUnit(inputs, outputs), *others))
            inputs = outputs
        self.last = convolution(inputs, _LAST, kernel=1)
        self.head = nn.Linear(_LAST, classes)

    def maps(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dimensions h w"]:
        """What :meth:`features` pools."""
        pooled: Tensor = self.last(super().maps(images))
        return pooled
