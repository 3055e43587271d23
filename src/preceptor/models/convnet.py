"""A small convolutional network, fit for 8x8 digits."""

from jaxtyping import Float
from torch import Tensor, nn

from preceptor.errors import InputError
from preceptor.models.family import model_family
from preceptor.models.layers import PooledNetwork, convolution, initialize


@model_family("convnet{width}", examples=("convnet4", "convnet8", "convnet16"))
class ConvNet(PooledNetwork):
    """Three 3x3 convolutions with batch norm, halving the image after the first two, then a linear head.

    The convolutions have width, 2 x width and 4 x width channels; global average pooling makes the network fit
    images of any size from 4x4 on. At width 8 it has some 6,000 weights.

    Args:
        width: channels of the first convolution.
        channels: of the images. Default 1.
        classes: number of logits. Default 10.

    Raises:
        InputError: a width below 1.
    """

    feature_layers = ("layers.0", "layers.2", "layers.4")

    def __init__(self, width: int, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        if width < 1:
            raise InputError(f"ConvNet width is {width}; expected 1 or more, for example convnet8")
        self.layers = nn.Sequential(
            convolution(channels, width),
            nn.MaxPool2d(2),
            convolution(width, 2 * width),
            nn.MaxPool2d(2),
            convolution(2 * width, 4 * width),
        )
        self.head = nn.Linear(4 * width, classes)
        initialize(self)

    def maps(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dimensions h w"]:
        """What :meth:`features` pools."""
        maps: Tensor = self.layers(images)
        return maps
