"""What the project's own networks share: pooling and head, their usual kind of layer, and their initial weights."""

from jaxtyping import Float
from torch import Tensor, nn


class PooledNetwork(nn.Module):
    """A ``stem`` and stages one after the other, global average pooling and a linear ``head``.

    The modules are a subclass's own, and so is :meth:`maps` where it has others than these.
    """

    feature_layers: tuple[str, ...]
    """The stages: what feature losses compare unless told otherwise."""
    stem: nn.Module
    head: nn.Linear

    def maps(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dimensions h w"]:
        """What :meth:`features` pools."""
        maps: Tensor = self.stem(images)
        for name in self.feature_layers:
            maps = getattr(self, name)(maps)
        return maps

    def features(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dimensions"]:
        """The pooled activations before the head, as many per image as the maps have channels."""
        return self.maps(images).mean(dim=(2, 3))

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """The logits."""
        logits: Tensor = self.head(self.features(images))
        return logits


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution, batch norm and ReLU; height and width are divided by the stride, rounded up."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def initialize(network: nn.Module) -> None:
    """Draw convolutions by Kaiming's rule (fan-out, ReLU) from torch's global generator; batch norm starts as 1 and 0.

    He et al., 2015, arXiv:1502.01852, equation 14. Linear layers keep torch's own initial weights, as in the
    published distillation baselines.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
