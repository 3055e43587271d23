"""How a network is trained: epochs, batch size, SGD and its schedule."""

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

Share = Annotated[float, Field(ge=0, le=1)]


class TrainingConfig(BaseModel):
    """An SGD training protocol. The defaults are the standard one of the distillation literature on CIFAR-100
    (RepDistiller, mdistiller), except for its length and schedule: short runs anneal along a cosine.

    Attributes:
        epochs: passes over the training images.
        batch_size: samples a step.
        learning_rate: at the start.
        momentum: of SGD, without Nesterov.
        weight_decay: on every parameter.
        schedule: "steps" multiplies the rate by ``decay_factor`` at each share of the epochs in ``decay_at``;
            "cosine" anneals it to zero, once an epoch.
        decay_at: shares of the epochs; the standard 150, 180, 210 of 240.
        decay_factor: 0.1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0, allow_inf_nan=False)
    schedule: Literal["steps", "cosine"] = "cosine"
    decay_at: tuple[Share, ...] = (0.625, 0.75, 0.875)
    decay_factor: float = Field(default=0.1, gt=0, le=1)

    def optimizer(self, modules: list[nn.Module]) -> torch.optim.SGD:
        """SGD over the parameters of the student and of the chain's own components."""
        parameters = [parameter for module in modules for parameter in module.parameters()]
        return torch.optim.SGD(
            parameters, lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay, foreach=True
        )

    def scheduler(self, optimizer: torch.optim.Optimizer) -> LRScheduler:
        """The learning rate's schedule, stepped once an epoch."""
        if self.schedule == "cosine":
            return CosineAnnealingLR(optimizer, T_max=self.epochs)
        milestones = [round(share * self.epochs) for share in self.decay_at]
        return MultiStepLR(optimizer, milestones=milestones, gamma=self.decay_factor)


PRESETS = {
    "short": TrainingConfig(),
    "standard": TrainingConfig(epochs=240, schedule="steps"),
}
"""Protocols by name: the short default, and the standard one of the CIFAR-100 literature."""
