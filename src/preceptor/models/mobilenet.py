"""MobileNetV2 of half width for small images."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from preceptor.models.family import model_family
from preceptor.models.layers import PooledNetwork, convolution, initialize

_STEM = 16
_STAGES = (
    (1, 8, 1, 1),
    (6, 12, 2, 1),
    (6, 16, 3, 2),
    (6, 32, 4, 2),
    (6, 48, 3, 1),
    (6, 80, 3, 2),
    (6, 160, 1, 1),
)
"""Expansion, channels, blocks and stride: table 2 of the paper at half width, the second stage with stride 1."""
_LAST = 1280
_HEAD_DEVIATION = 0.01


class InvertedResidual(nn.Module):
    """A depthwise 3x3 convolution between a 1x1 that widens and one that narrows; added to its input where it fits."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = expansion * inputs
        self.layers = nn.Sequential(
            *convolution(inputs, wide, kernel=1),
            nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.adds_input = stride == 1 and inputs == outputs

    def forward(
        self, maps: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs smaller_height smaller_width"]:
        """The narrow maps, not activated; height and width are divided by the stride, rounded up."""
        narrow: Tensor = self.layers(maps)
        return maps + narrow if self.adds_input else narrow


@model_family("mobilenetv2_half", "MobileNetV2", examples=("mobilenetv2_half", "MobileNetV2"))
class MobileNetV2Half(PooledNetwork):
    """MobileNetV2 of Sandler et al., 2018 (arXiv:1801.04381), table 2, at half width and adapted to small images.

    This is the student that the distillation literature calls MobileNetV2 since Tian et al., 2020 (CRD,
    arXiv:1910.10699): a 3x3 stem of 16 channels and stride 2, seven stages of inverted residuals with half the paper's
    channels, a 1x1 convolution to 1,280 channels, global average pooling and a linear head. Changed from the paper:
    the second stage has stride 1, activations are ReLU instead of ReLU6, the first stage has a 1x1 convolution
    although it does not widen, and there is no dropout. With 100 classes it has 0.81 million weights.

    Images of 32x32 end as maps of 2x2; any size works. The head starts normal with deviation 0.01 and biases 0, as in
    that literature.

    Args:
        channels: of the images. Default 3.
        classes: number of logits. Default 10.
    """

    feature_layers = ("stage2", "stage3", "stage5", "stage7")
    pooled_layer = "last"
    third_party_names: ClassVar[dict[str, str]] = {
        r"conv1\.(.*)": r"stem.\1",
        **{rf"blocks\.{n}\.(\d+)\.conv\.(.*)": rf"stage{n + 1}.\1.layers.\2" for n in range(len(_STAGES))},
        r"conv2\.(.*)": r"last.\1",
        r"classifier\.(?:0\.)?(.*)": r"head.\1",
    }

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.stem = convolution(channels, _STEM, stride=2)
        inputs = _STEM
        for number, (expansion, outputs, blocks, stride) in enumerate(_STAGES, start=1):
            stage = [InvertedResidual(inputs, outputs, stride, expansion)]
            stage += [InvertedResidual(outputs, outputs, 1, expansion) for _ in range(blocks - 1)]
            self.add_module(f"stage{number}", nn.Sequential(*stage))
            inputs = outputs
        self.last = convolution(inputs, _LAST, kernel=1)
        self.head = nn.Linear(_LAST, classes)
        initialize(self)
        nn.init.normal_(self.head.weight, std=_HEAD_DEVIATION)
        nn.init.zeros_(self.head.bias)

    def maps(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dimensions h w"]:
        """What :meth:`features` pools."""
        maps: Tensor = self.stem(images)
        for number in range(1, len(_STAGES) + 1):
            maps = getattr(self, f"stage{number}")(maps)
        pooled: Tensor = self.last(maps)
        return pooled
