"""A student made of the first blocks of EfficientNet-Lite0: weights of the whole network start it, name by name."""

import timm
from torch import Tensor, nn


class FirstBlocks(nn.Module):
    """The stem and the first stages of timm's ``tf_efficientnet_lite0``, then global pooling and a linear head.

    Args:
        classes: number of logits.
        stages: of seven, how many are kept. Default 5: two thirds of the multiply-adds, a fifth of the weights.
    """

    def __init__(self, classes: int, stages: int = 5) -> None:
        super().__init__()
        whole = timm.create_model("tf_efficientnet_lite0")
        # Under the names of the whole network, so that its weights fit.
        self.conv_stem, self.bn1 = whole.conv_stem, whole.bn1
        self.blocks = whole.blocks[:stages]
        self.head = nn.Linear(_channels(self.blocks), classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalized images."""
        features = self.blocks(self.bn1(self.conv_stem(images)))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


def _channels(blocks: nn.Module) -> int:
    """Channels that the last convolution gives."""
    last = [layer for layer in blocks.modules() if isinstance(layer, nn.Conv2d)][-1]
    return last.out_channels


def build(classes: int) -> FirstBlocks:
    """The student, with random weights."""
    return FirstBlocks(classes)
