"""VGG with batch norm for small images."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from preceptor.errors import InputError
from preceptor.models.family import model_family
from preceptor.models.layers import PooledNetwork, initialize

_CONVOLUTIONS = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""How many in each stage: columns A, B, D and E of the paper's table 1; depth 8 is of the distillation literature."""
_STAGES = ("stage1", "stage2", "stage3", "stage4", "stage5")
_WIDTHS = (64, 128, 256, 512, 512)
_HEAD_DEVIATION = 0.01
_LARGE = 64
"""Height in pixels from which the maps are halved before the last stage too."""


def _stage(inputs: int, outputs: int, convolutions: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(convolutions):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        inputs = outputs
    return nn.Sequential(*layers)


@model_family("vgg{depth}", examples=("vgg8", "vgg11", "vgg13", "vgg16", "vgg19"))
class Vgg(PooledNetwork):
    """VGG of Simonyan and Zisserman, 2015 (arXiv:1409.1556), table 1, with batch norm and one linear layer as head.

    Five stages of 3x3 convolutions with biases, each followed by batch norm and ReLU. A max pool halves the maps
    before the second, third and fourth stage, and before the fifth where images have 64 rows or more; global average
    pooling; a linear head. This is the form of Tian et al., 2020 (CRD, arXiv:1910.10699), as is depth 8: in the paper
    a fourth and a fifth pool and three wide linear layers follow. With 100 classes, vgg13 has 9.46 million weights.

    Initial weights: Kaiming's rule, biases 0, the head normal with deviation 0.01, as in that literature.

    Args:
        depth: 8, 11, 13, 16 or 19.
        channels: of the images. Default 3.
        classes: number of logits. Default 10.

    Raises:
        InputError: any other depth.
    """

    feature_layers = ("stage2", "stage3", "stage4", "stage5")
    """Without the first stage, in the place of which others have a stem, as in that literature."""
    third_party_names: ClassVar[dict[str, str]] = {
        **{rf"block{stage}\.(.*)": rf"stage{stage + 1}.\1" for stage in range(5)},
        r"(?:classifier|fc|linear)\.(.*)": r"head.\1",
    }

    def __init__(self, depth: int, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        if depth not in _CONVOLUTIONS:
            known = ", ".join(map(str, _CONVOLUTIONS))
            raise InputError(f"VGG depth is {depth}; expected one of {known}, for example vgg13")
        inputs = (channels, *_WIDTHS[:-1])
        for name, *sizes in zip(_STAGES, inputs, _WIDTHS, _CONVOLUTIONS[depth], strict=True):
            self.add_module(name, _stage(*sizes))
        self.head = nn.Linear(_WIDTHS[-1], classes)
        initialize(self)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.head.weight, std=_HEAD_DEVIATION)

    def maps(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dimensions h w"]:
        """What :meth:`features` pools."""
        halved = _STAGES[1 : 5 if images.shape[2] >= _LARGE else 4]
        maps = images
        for name in _STAGES:
            maps = F.max_pool2d(maps, 2) if name in halved else maps
            maps = getattr(self, name)(maps)
        return maps
