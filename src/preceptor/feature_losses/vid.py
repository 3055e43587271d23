"""Variational information distillation: the student predicts the teacher's maps, and how sure it is of each channel."""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from preceptor.context import PerSample
from preceptor.errors import InputError
from preceptor.feature_losses.layers import LayerPairs
from preceptor.registry import register

START = 5.0
"""Variance of every channel before training (RepDistiller)."""

LEAST = 1e-5
"""Added to the variances (RepDistiller)."""


def gaussian_loss(
    mean: Float[Tensor, "batch channels height width"],
    variance: Float[Tensor, " channels"],
    target: Float[Tensor, "batch channels height width"],
) -> PerSample:
    """``mean_chw ((target - mean)^2 / variance_c + ln variance_c) / 2``: negative log-likelihood, up to a constant."""
    variance = variance[:, None, None]
    return ((target - mean).square() / variance + variance.log()).mean(dim=(1, 2, 3)) / 2


class GaussianRegressor(nn.Module):
    """Mean and variance of the teacher's map: three 1x1 convolutions, and a variance for each channel."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(
            *(nn.Conv2d(inputs, outputs, 1, bias=False), nn.ReLU()),
            *(nn.Conv2d(outputs, outputs, 1, bias=False), nn.ReLU()),
            nn.Conv2d(outputs, outputs, 1, bias=False),
        )
        self.spread = nn.Parameter(torch.full((outputs,), math.log(math.expm1(START - LEAST))))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(maps), functional.softplus(self.spread) + LEAST


@register("feature_loss", "vid", paper="Ahn et al., 2019, arXiv:1904.05835 (Variational Information Distillation, VID)")
class VariationalInformation(LayerPairs):
    """A bound on the information that the student's features hold about the teacher's, by a Gaussian of learned spread.

    The sum over layers of ``mean ((F_t - mu(F_s))^2 / sigma^2 + ln sigma^2) / 2``, below zero where the student
    predicts well. Regressors and variances train with the student and do not ship with it. The larger map is
    average-pooled to the size of the smaller.

    Args:
        layers: module path in the student -> module path in the teacher; None pairs the stages from the last.

    Raises:
        InputError: on the first batch, features that are no maps [batch, channels, height, width].
    """

    def __init__(self, layers: Mapping[str, str] | None = None) -> None:
        super().__init__(layers)
        self.regressors = nn.ModuleList()

    def build_adapters(self, student: Sequence[torch.Size], teacher: Sequence[torch.Size]) -> None:
        self.check_maps(student, teacher)
        self.regressors = nn.ModuleList(
            GaussianRegressor(shape[1], other[1]) for shape, other in zip(student, teacher, strict=True)
        )

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> PerSample:
        """The loss of each sample.

        Raises:
            InputError: the regressors are not built.
        """
        if len(self.regressors) != len(student):
            raise InputError("vid: its regressors are not built: call build_adapters with the features of a batch")
        losses = []
        for regressor, own, other in zip(self.regressors, student, teacher, strict=True):
            dtype = next(regressor.parameters()).dtype  # a float64 network has float32 regressors
            height, width = min(own.shape[2], other.shape[2]), min(own.shape[3], other.shape[3])
            own, other = (functional.adaptive_avg_pool2d(maps, (height, width)) for maps in (own, other))
            mean, variance = regressor(own.to(dtype))
            losses.append(gaussian_loss(mean, variance, other))
        return torch.stack(losses).sum(dim=0)
