"""Compute precision: which floating-point type networks run in."""

from typing import Literal

import torch

from preceptor.teachers.optimize import bf16_unsupported_reason

Precision = Literal["auto", "fp32", "bf16"]
"""What networks compute in; "auto" is bf16 where the device has units for it. Losses are in fp32 either way."""


def resolve_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """The precision that "auto" stands for on a device."""
    if precision != "auto":
        return precision
    return "bf16" if bf16_unsupported_reason(device) is None else "fp32"
