"""What the project's own networks share: their first kind of layer, and their initial weights."""

from torch import nn


def convolution(inputs: int, outputs: int) -> nn.Sequential:
    """A 3x3 convolution that keeps the size, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def initialize(network: nn.Module) -> None:
    """Draw convolutions by Kaiming's rule (fan-out, ReLU) from torch's global generator; batch norm starts as 1 and 0.

    He et al., 2015, arXiv:1502.01852, equation 14. Linear layers keep torch's own initial weights, as in the
    published distillation baselines.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
