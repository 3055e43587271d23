"""The initial weights that the project's own networks share."""

from torch import nn


def initialize(network: nn.Module) -> None:
    """Draw convolutions by Kaiming's rule (fan-out, ReLU) from torch's global generator; batch norm starts as 1 and 0.

    He et al., 2015, arXiv:1502.01852, equation 14. Linear layers keep torch's own initial weights, as in the
    published distillation baselines.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
