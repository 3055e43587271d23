"""Compute precision: which floating-point type networks run in."""

from typing import Literal

import torch
from torch import nn

from preceptor.teachers.optimize import bf16_unsupported_reason

Precision = Literal["auto", "fp32", "bf16"]
"""What networks compute in; "auto" is bf16 where that is faster. Losses are in fp32 either way."""


def resolve_precision(
    precision: Precision, device: torch.device, network: nn.Module | None = None
) -> Literal["fp32", "bf16"]:
    """The precision that "auto" stands for on a device, for a network."""
    if precision != "auto":
        return precision
    return "bf16" if bf16_unsupported_reason(device, network) is None else "fp32"
