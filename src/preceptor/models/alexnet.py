"""AlexNet for small images."""

from jaxtyping import Float
from torch import Tensor, nn

from preceptor.models.family import model_family
from preceptor.models.layers import initialize

_DROPOUT = 0.5
_HIDDEN = 512
_POOLED_SIDE = 2


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2), nn.ReLU(inplace=True))


def _halving_pool() -> nn.MaxPool2d:
    """Windows of 3 at steps of 2, which overlap as in the paper; a side is halved, rounded up."""
    return nn.MaxPool2d(3, stride=2, padding=1)


def _hidden_layer(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, _HIDDEN), nn.ReLU(inplace=True), nn.Dropout(_DROPOUT))


@model_family("alexnet", examples=("alexnet",))
class AlexNet(nn.Module):
    """AlexNet (Krizhevsky, Sutskever and Hinton, 2012), adapted to images of 28x28 and 32x32.

    Kept of the paper: five convolutions with biases and ReLU and no batch norm, overlapping max pools after the
    first, second and fifth, two hidden fully connected layers with dropout 0.5 (section 4.2), and a linear head.

    Changed for small images: the first convolution is 5x5 with stride 2 (11x11 with stride 4 in the paper), the others
    are 3x3; one tower of 64, 192, 384, 256 and 256 channels, as in torchvision and the customary AlexNets for
    CIFAR; the fully connected layers read maps of 2x2 and are 512 wide instead of 4096; no local response
    normalization; initial weights by Kaiming's rule, also in the hidden layers, without which it starts slowly for
    lack of batch norm. With 100 classes and 3 channels it has 3.1 million weights, the paper's some 60 million.

    Xu, Pu and Zhao (ICPR 2020) train an AlexNet to abstain on small images and do not state how they adapted it: this
    is a reconstruction.

    Both 28x28 and 32x32 arrive at the fully connected layers as maps of 2x2; those of other sizes are averaged or
    repeated to 2x2, so that any size works. Meant for 16x16 and more.

    Args:
        channels: of the images. Default 3.
        classes: number of logits. Default 10.
    """

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(channels, 64, kernel=5, stride=2),
            _halving_pool(),
            _convolution(64, 192),
            _halving_pool(),
            _convolution(192, 384),
            _convolution(384, 256),
            _convolution(256, 256),
            _halving_pool(),
            nn.AdaptiveAvgPool2d(_POOLED_SIDE),
        )
        self.hidden = nn.Sequential(_hidden_layer(256 * _POOLED_SIDE**2), _hidden_layer(_HIDDEN))
        self.head = nn.Linear(_HIDDEN, classes)
        initialize(self)
        for layer in self.hidden.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def features(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dimensions"]:
        """The activations of the last hidden layer: 512 per image. In training, after dropout."""
        hidden: Tensor = self.hidden(self.layers(images).flatten(1))
        return hidden

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """The logits."""
        logits: Tensor = self.head(self.features(images))
        return logits
