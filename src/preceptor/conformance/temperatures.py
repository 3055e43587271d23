"""Checks of temperatures."""

import torch
from torch import Tensor

from preceptor.conformance.batch import extreme_batch, plain_batch
from preceptor.conformance.check import ComponentCase, check, require


@check("temperature")
def positive_temperature(case: ComponentCase) -> None:
    """it returns a number above 0, or a float tensor [] or [batch] of them"""
    for batch in (plain_batch(), extreme_batch()):
        temperature = case.call(case.build(), batch)
        if isinstance(temperature, Tensor):
            shapes = (torch.Size(), batch.label.shape)
            require(temperature.shape in shapes, f"shape {tuple(temperature.shape)}: expected [] or [batch]")
            require(temperature.is_floating_point(), f"a tensor of {temperature.dtype}: expected floating point")
        else:
            require(isinstance(temperature, int | float), f"it returned a {type(temperature).__name__}")
        low = float(torch.as_tensor(temperature).detach().min())
        require(low > 0, f"the lowest temperature is {low}: clamp it above 0")
