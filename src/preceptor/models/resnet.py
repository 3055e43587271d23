"""Residual networks for small images, by depth and width."""

from jaxtyping import Float
from torch import Tensor, nn

from preceptor.errors import InputError
from preceptor.models.family import model_family
from preceptor.models.initialize import initialize
from preceptor.models.residual import BasicBlock, stage


@model_family(
    "resnet{depth}",
    "resnet{depth}x{width}",
    examples=("resnet8", "resnet20", "resnet56", "resnet8x4", "resnet32x4"),
)
class CifarResNet(nn.Module):
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
    """What feature losses compare unless told otherwise."""

    def __init__(self, depth: int, width: int = 1, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        blocks = _blocks_per_stage(depth)
        if width < 1:
            raise InputError(f"ResNet width is {width}; expected 1 or more, for example resnet8x4")
        stem = 16 if width < 4 else 32
        self.stem = nn.Sequential(
            nn.Conv2d(channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem), nn.ReLU(inplace=True)
        )
        self.stage1 = stage(BasicBlock, stem, 16 * width, stride=1, blocks=blocks)
        self.stage2 = stage(BasicBlock, 16 * width, 32 * width, stride=2, blocks=blocks)
        self.stage3 = stage(BasicBlock, 32 * width, 64 * width, stride=2, blocks=blocks)
        self.head = nn.Linear(64 * width, classes)
        initialize(self)

    def features(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dimensions"]:
        """The pooled activations before the head: 64 x width per image."""
        maps: Tensor = self.stage3(self.stage2(self.stage1(self.stem(images))))
        return maps.mean(dim=(2, 3))

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """The logits."""
        logits: Tensor = self.head(self.features(images))
        return logits


def _blocks_per_stage(depth: int) -> int:
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        meant = ""
        if depth in (18, 34, 50, 101, 152):
            meant = f"; did you mean imagenet-resnet{depth} or torchvision:resnet{depth}?"
        raise InputError(f"ResNet depth is {depth}; expected 6n+2, such as 8, 14, 20, 32, 44, 56 or 110{meant}")
    return blocks
