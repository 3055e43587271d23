"""Wide residual networks for small images."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from preceptor.errors import InputError
from preceptor.models.family import model_family
from preceptor.models.layers import PooledNetwork, initialize

_STEM = 16


class PreactivationBlock(nn.Module):
    """Batch norm and ReLU before each of two 3x3 convolutions, and a shortcut.

    Where the channels change, the shortcut is a 1x1 convolution of the activated maps, without batch norm.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(
        self, maps: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs smaller_height smaller_width"]:
        """``residual + shortcut``, not activated; height and width are divided by the stride, rounded up."""
        activated = F.relu(self.bn1(maps))
        residual: Tensor = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return residual + (maps if self.shortcut is None else self.shortcut(activated))


@model_family(
    "wrn_{depth}_{width}",
    "wrn-{depth}-{width}",
    examples=("wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2"),
)
class WideResNet(PooledNetwork):
    """The wide residual network of Zagoruyko and Komodakis, 2016 (arXiv:1605.07146), table 1, without dropout.

    A 3x3 stem of 16 channels, three stages of n pre-activation blocks with strides 1, 2, 2 and 16, 32 and 64 channels
    times the width, batch norm and ReLU, global average pooling and a linear head. With 100 classes, wrn_40_2 has 2.26
    million weights, as in Tian et al., 2020 (CRD, arXiv:1910.10699).

    Args:
        depth: 6n + 4: n is the number of blocks per stage.
        width: multiplies the channels of the stages.
        channels: of the images. Default 3.
        classes: number of logits. Default 10.

    Raises:
        InputError: a depth that is not 6n + 4, or a width below 1.
    """

    feature_layers = ("stage1", "stage2", "stage3")
    pooled_layer = "relu"
    before_activation: ClassVar[dict[str, str]] = {"stage1": "stage2.0.bn1", "stage2": "stage3.0.bn1", "stage3": "norm"}
    third_party_names: ClassVar[dict[str, str]] = {
        r"conv1\.(.*)": r"stem.\1",
        r"block(\d)\.layer\.(\d+)\.convShortcut\.(.*)": r"stage\1.\2.shortcut.\3",
        r"block(\d)\.layer\.(.*)": r"stage\1.\2",
        r"bn1\.(.*)": r"norm.\1",
        r"(?:fc|linear)\.(.*)": r"head.\1",
    }

    def __init__(self, depth: int, width: int, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise InputError(f"wide ResNet depth is {depth}; expected 6n+4, such as 10, 16, 22, 28 or 40")
        if width < 1:
            raise InputError(f"wide ResNet width is {width}; expected 1 or more, for example wrn_40_2")
        self.stem = nn.Conv2d(channels, _STEM, 3, padding=1, bias=False)
        inputs = _STEM
        for number, name in enumerate(self.feature_layers):
            outputs = 16 * width * 2**number
            first = PreactivationBlock(inputs, outputs, 1 if number == 0 else 2)
            others = (PreactivationBlock(outputs, outputs, 1) for _ in range(blocks - 1))
            self.add_module(name, nn.Sequential(first, *others))
            inputs = outputs
        self.norm = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.head = nn.Linear(inputs, classes)
        initialize(self)

    def maps(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dimensions h w"]:
        """What :meth:`features` pools."""
        pooled: Tensor = self.relu(self.norm(super().maps(images)))
        return pooled
