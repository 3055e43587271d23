"""What the project's own networks share: their usual kind of layer, and their initial weights."""

from torch import nn


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
