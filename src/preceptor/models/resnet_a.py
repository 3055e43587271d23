"""Residual networks for small images whose shortcuts have no weights (option A)."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from preceptor.errors import InputError
from preceptor.models.family import model_family
from preceptor.models.resnet import BasicBlock, StagedResNet


class PaddedShortcut(nn.Module):
    """Every second row and column of its input, with as many channels of zeros before as after the input's own."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.before = (outputs - inputs) // 2
        self.after = outputs - inputs - self.before

    def forward(
        self, maps: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs half_height half_width"]:
        """Height and width are halved, rounded up."""
        return F.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class PaddedBlock(BasicBlock):
    """A ``BasicBlock`` whose shortcut is padded with zeros where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride)
        self.shortcut = nn.Identity() if stride == 1 else PaddedShortcut(inputs, outputs)


@model_family("resnet{depth}_a", examples=("resnet20_a", "resnet56_a"))
class CifarResNetA(StagedResNet):
    """The residual network for small images of He et al., 2016 (arXiv:1512.03385), section 4.2, with its own shortcuts.

    As ``CifarResNet`` at width 1, but where the shape changes the shortcut takes every second pixel and adds channels
    of zeros (the paper's option A), half of them on either side, as widely used code has it; the paper does not state
    where. It has no weights there: resnet20_a has 269,722 with 10 classes. This is another network than resnet20,
    and neither takes the other's weights whole.

    Args:
        depth: 6n + 2: n is the number of blocks per stage.
        channels: of the images. Default 3.
        classes: number of logits. Default 10.

    Raises:
        InputError: a depth that is not 6n + 2.
    """

    feature_layers = ("stage1", "stage2", "stage3")

    def __init__(self, depth: int, channels: int = 3, classes: int = 10) -> None:
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise InputError(
                f"ResNet depth is {depth}; expected 6n+2, for example resnet20_a, resnet56_a or resnet110_a"
            )
        super().__init__(PaddedBlock, 16, (16, 32, 64), [blocks] * 3, channels=channels, classes=classes)
