"""The rule both dynamic temperatures share: the more confusing a sample, the sharper the teacher speaks about it."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from preceptor.errors import InputError

Normalize = Literal["none", "sum"]
"""Weights as they are, or divided by their sum over the batch."""


def dynamic_temperature(
    weight: Float[Tensor, " batch"],
    temperature: float,
    beta: float,
    normalize: Normalize = "none",
    minimum: float = 1.0,
    asked: Bool[Tensor, " batch"] | None = None,
) -> Float[Tensor, " batch"]:
    """``T_x = T_0 + (mean(w) - w_x) beta``, at least ``minimum``.

    The batch mean is T_0 before the clamp: softness is redistributed, not changed on average. With weights normalized
    by their sum, T stays in ``[T_0 - beta (1 - 1/N), T_0 + beta / N]``; raw ones can ask for temperatures below zero.

    Args:
        weight: how confusing each sample is, 0 or more.
        temperature: T_0.
        beta: how far a weight moves it.
        normalize: "none" or "sum" (over the batch); which one the paper uses is not known.
        minimum: the clamp (this project's addition).
        asked: the samples the teacher is listened to on, over which sum and mean go; None is all of them.

    Wen, Lai and Qian, arXiv:1911.07471 (Dynamic Temperature Distillation), as published in TextBrewer.
    """
    if asked is not None:
        weight = torch.where(asked, weight, 0)
    if normalize == "sum":
        weight = weight / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
    mean = weight.mean() if asked is None else weight.sum() / asked.sum().clamp(min=1)
    return (temperature + (mean - weight) * beta).clamp(min=minimum)


def check_dynamic(name: str, temperature: float, beta: float, minimum: float) -> None:
    """Refuse settings that cannot give a temperature.

    Raises:
        InputError: a minimum that is not above 0, a temperature below it, or a value that is not finite.
    """
    if not 0 < minimum <= temperature < float("inf"):
        raise InputError(
            f"{name}: temperature = {temperature}, minimum = {minimum}: needs 0 < minimum <= temperature, both finite"
        )
    if not 0 <= beta < float("inf"):
        raise InputError(f"{name}: beta = {beta}: must be 0 (a fixed temperature) or more, and finite")
