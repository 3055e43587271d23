"""Residual networks for small images: those of CIFAR by depth and width, and those of ImageNet with another stem."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from preceptor.errors import InputError
from preceptor.models.family import model_family
from preceptor.models.layers import PooledNetwork, convolution, initialize

EXPANSION = 4
"""Channels out of a bottleneck per channel of its 3x3 convolution (He et al., 2016, table 1)."""

_BLOCKS_PER_STAGE = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_SHALLOWEST_OF_BOTTLENECKS = 50

Block = Callable[[int, int, int], nn.Module]
"""Made from channels in, channels out, and stride."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected by a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)
        self.relu = nn.ReLU(inplace=True)  # a module, so that its input can be captured

    def forward(
        self, maps: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs smaller_height smaller_width"]:
        """``relu(residual + shortcut)``; height and width are divided by the stride, rounded up."""
        residual = F.relu(self.bn1(self.conv1(maps)), inplace=True)
        residual = self.bn2(self.conv2(residual))
        activated: Tensor = self.relu(residual + self.shortcut(maps))
        return activated


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1 that narrow and widen the channels, and a shortcut as in ``BasicBlock``.

    The stride is that of the 3x3 convolution, as in torchvision and the networks for small images after it; the
    paper's own had it at the first 1x1. ``outputs`` is a multiple of 4.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        narrow = outputs // EXPANSION
        self.conv1 = nn.Conv2d(inputs, narrow, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(narrow)
        self.conv3 = nn.Conv2d(narrow, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)
        self.relu = nn.ReLU(inplace=True)  # a module, so that its input can be captured

    def forward(
        self, maps: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs smaller_height smaller_width"]:
        """``relu(residual + shortcut)``; height and width are divided by the stride, rounded up."""
        residual = F.relu(self.bn1(self.conv1(maps)), inplace=True)
        residual = F.relu(self.bn2(self.conv2(residual)), inplace=True)
        residual = self.bn3(self.conv3(residual))
        activated: Tensor = self.relu(residual + self.shortcut(maps))
        return activated


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def stage(block: Block, inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    """Blocks in a row; the first changes the channels and has the stride."""
    return nn.Sequential(block(inputs, outputs, stride), *(block(outputs, outputs, 1) for _ in range(blocks - 1)))


class StagedResNet(PooledNetwork):
    """A stem, stages that halve the image from the second on, global average pooling and a linear head."""

    third_party_names: ClassVar[dict[str, str]] = {
        r"conv1\.(.*)": r"stem.0.\1",
        r"bn1\.(.*)": r"stem.1.\1",
        r"layer(\d)\.(\d+)\.(?:downsample|shortcut)\.(.*)": r"stage\1.\2.shortcut.\3",
        r"layer(\d)\.(.*)": r"stage\1.\2",
        r"(?:fc|linear|classifier)\.(.*)": r"head.\1",
    }

    def __init__(
        self,
        block: Block,
        stem: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        *,
        channels: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.stem = convolution(channels, stem)
        for name, inputs, outputs, count in zip(self.feature_layers, (stem, *widths[:-1]), widths, blocks, strict=True):
            stride = 1 if name == self.feature_layers[0] else 2
            self.add_module(name, stage(block, inputs, outputs, stride=stride, blocks=count))
        self.head = nn.Linear(widths[-1], classes)
        initialize(self)


@model_family(
    "resnet{depth}",
    "resnet{depth}x{width}",
    examples=("resnet8", "resnet20", "resnet56", "resnet8x4", "resnet32x4"),
)
class CifarResNet(StagedResNet):
    """The residual network for small images of He et al., 2016 (arXiv:1512.03385), section 4.2.

    A 3x3 stem, three stages of n basic blocks with strides 1, 2, 2, global average pooling and a linear head. The
    shortcut is a 1x1 convolution with batch norm where the shape changes, as in the distillation literature since
    Tian et al., 2020 (CRD, arXiv:1910.10699). Stages have 16, 32 and 64 channels times the width. The stem has 16
    channels at widths 1 to 3 and 32 from width 4 on: what the literature uses at widths 1, 2 and 4.

    Args:
        depth: 6n + 2: n is the number of blocks per stage.
        width: multiplies the channels of the stages. Default 1.
        channels: of the images. Default 3.
        classes: number of logits. Default 10.

    Raises:
        InputError: a depth that is not 6n + 2, or a width below 1.
    """

    feature_layers = ("stage1", "stage2", "stage3")

    def __init__(self, depth: int, width: int = 1, channels: int = 3, classes: int = 10) -> None:
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            meant = ""
            if depth in _BLOCKS_PER_STAGE:
                meant = f"; did you mean imagenet-resnet{depth} or torchvision:resnet{depth}?"
            raise InputError(f"ResNet depth is {depth}; expected 6n+2, such as 8, 14, 20, 32, 44, 56 or 110{meant}")
        if width < 1:
            raise InputError(f"ResNet width is {width}; expected 1 or more, for example resnet8x4")
        stem = 16 if width < 4 else 32
        widths = (16 * width, 32 * width, 64 * width)
        super().__init__(BasicBlock, stem, widths, [blocks] * 3, channels=channels, classes=classes)


@model_family("imagenet-resnet{depth}", examples=("imagenet-resnet18", "imagenet-resnet50"))
class ImagenetResNet(StagedResNet):
    """The residual network for ImageNet of He et al., 2016 (arXiv:1512.03385), table 1, adapted to small images.

    Adapted in the customary way: a 3x3 convolution of stride 1 is the stem, in the place of a 7x7 one of stride 2
    and a max pool. The rest is the table's: four stages with strides 1, 2, 2, 2 and widths 64, 128, 256, 512, of
    basic blocks at depths 18 and 34, and from 50 on of bottlenecks, which give out 4 x width channels; global
    average pooling; a linear head. The shortcut is a 1x1 convolution where the shape changes (option B).

    Images of 32x32 end as maps of 4x4, as do those of 28x28; any size works. With 100 classes and 3 channels it has
    11.2 million weights at depth 18, and 23.7 million at depth 50.

    Args:
        depth: 18, 34, 50, 101 or 152.
        channels: of the images. Default 3.
        classes: number of logits. Default 10.

    Raises:
        InputError: any other depth.
    """

    feature_layers = ("stage1", "stage2", "stage3", "stage4")

    def __init__(self, depth: int, channels: int = 3, classes: int = 10) -> None:
        if depth not in _BLOCKS_PER_STAGE:
            raise InputError(
                f"ImageNet ResNet depth is {depth}; expected one of {', '.join(map(str, _BLOCKS_PER_STAGE))}; "
                f"depths 6n+2 belong to the smaller resnet{{depth}}, for example resnet20"
            )
        deep = depth >= _SHALLOWEST_OF_BOTTLENECKS
        expansion = EXPANSION if deep else 1
        widths = [width * expansion for width in (64, 128, 256, 512)]
        block, blocks = Bottleneck if deep else BasicBlock, _BLOCKS_PER_STAGE[depth]
        super().__init__(block, 64, widths, blocks, channels=channels, classes=classes)
