"""The formula that the dynamic temperatures share: the more confusing a sample, the lower its temperature."""

from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from preceptor.context import PerSample, shares
from preceptor.errors import InputError

Normalize = Literal["none", "sum"]
"""Weights as they are, or divided by their sum over the batch."""


def dynamic_temperature(
    weight: PerSample,
    temperature: float,
    beta: float,
    normalize: Normalize = "none",
    minimum: float = 1.0,
    queried: Bool[Tensor, " batch"] | None = None,
) -> PerSample:
    """``T_x = T_0 + (mean(w) - w_x) beta``, at least ``minimum``.

    The batch mean is T_0 before the clamp. With weights normalized by their sum, T stays in
    ``[T_0 - beta (1 - 1/N), T_0 + beta / N]``; raw weights can lead below zero, which the clamp prevents.

    A temperature that equals ``minimum`` was raised to it: one that would be equal without the clamp is returned a
    rounding step above it, so that the audit can tell the two apart.

    Args:
        weight: how confusing each sample is, 0 or more.
        temperature: T_0.
        beta: change of the temperature per unit of weight.
        normalize: which one the paper uses is not known.
        minimum: above 0 (this project's addition).
        queried: the samples that sum and mean are over; None is all.

    Wen, Lai and Qian, arXiv:1911.07471 (Dynamic Temperature Distillation), as published in TextBrewer.
    """
    if queried is not None:
        weight = torch.where(queried, weight, 0)
    if normalize == "sum":
        weight = shares(weight)
    mean = weight.mean() if queried is None else weight.sum() / queried.sum().clamp(min=1)
    unclamped = temperature + (mean - weight) * beta
    just_above = minimum * (1 + 2 * torch.finfo(weight.dtype).eps)  # 2 eps: survives the rounding to the weight's type
    return torch.where(unclamped < minimum, minimum, unclamped.clamp(min=just_above))


def check_dynamic(name: str, temperature: float, beta: float, minimum: float) -> None:
    """Check the settings of a dynamic temperature.

    Raises:
        InputError: ``minimum`` is not above 0, ``temperature`` is below it, ``beta`` is negative, or a value is not
            finite.
    """
    if not 0 < minimum <= temperature < float("inf"):
        raise InputError(
            f"{name}: temperature = {temperature}, minimum = {minimum}: expected 0 < minimum <= temperature < inf"
        )
    if not 0 <= beta < float("inf"):
        raise InputError(f"{name}: beta = {beta}: must be 0 (a fixed temperature) or more, and finite")
