"""The residual networks of ImageNet, with a stem for small images."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from preceptor.errors import InputError
from preceptor.models.family import model_family
from preceptor.models.initialize import initialize
from preceptor.models.residual import EXPANSION, BasicBlock, Bottleneck, stage

_BLOCKS_PER_STAGE = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_SHALLOWEST_OF_BOTTLENECKS = 50


@model_family("imagenet-resnet{depth}", examples=("imagenet-resnet18", "imagenet-resnet50"))
class ImagenetResNet(nn.Module):
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
    """What feature losses compare unless told otherwise."""

    def __init__(self, depth: int, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        blocks = _blocks_per_stage(depth)
        block, expansion = _kind_of_block(depth)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        )
        self.stage1 = stage(block, 64, 64 * expansion, stride=1, blocks=blocks[0])
        self.stage2 = stage(block, 64 * expansion, 128 * expansion, stride=2, blocks=blocks[1])
        self.stage3 = stage(block, 128 * expansion, 256 * expansion, stride=2, blocks=blocks[2])
        self.stage4 = stage(block, 256 * expansion, 512 * expansion, stride=2, blocks=blocks[3])
        self.head = nn.Linear(512 * expansion, classes)
        initialize(self)

    def features(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dimensions"]:
        """The pooled activations before the head: 512 per image at depths 18 and 34, else 2048."""
        maps: Tensor = self.stage4(self.stage3(self.stage2(self.stage1(self.stem(images)))))
        return maps.mean(dim=(2, 3))

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """The logits."""
        logits: Tensor = self.head(self.features(images))
        return logits


def _blocks_per_stage(depth: int) -> tuple[int, int, int, int]:
    if depth not in _BLOCKS_PER_STAGE:
        raise InputError(
            f"ImageNet ResNet depth is {depth}; expected one of {', '.join(map(str, _BLOCKS_PER_STAGE))}; "
            f"depths 6n+2 belong to the smaller resnet{{depth}}, for example resnet20"
        )
    return _BLOCKS_PER_STAGE[depth]


def _kind_of_block(depth: int) -> tuple[Callable[[int, int, int], nn.Module], int]:
    return (Bottleneck, EXPANSION) if depth >= _SHALLOWEST_OF_BOTTLENECKS else (BasicBlock, 1)
