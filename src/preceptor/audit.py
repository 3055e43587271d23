"""What a chain returns: the losses, and the tap that says what it did to each sample."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Audit:
    """What the chain did to each sample. Everything is detached; nothing is computed until it is asked for.

    Attributes:
        asked: the teacher is listened to on this sample; elsewhere what stands here of its word means nothing.
        teacher_class: the teacher's prediction.
        wrong: labeled and predicted wrongly by the teacher.
        corrected: affected by the correction.
        temperature: one number, or one per sample.
        lowest: the temperature that the component lets no sample go below; None when it has no such limit.
        weight: how much the teacher teaches the sample (the selection's word; 1 without a selection).
        said: the teacher's log-probabilities at the chain's temperature.
        target: the same after correction.
    """

    asked: Bool[Tensor, " batch"]
    teacher_class: Int[Tensor, " batch"]
    wrong: Bool[Tensor, " batch"]
    corrected: Bool[Tensor, " batch"]
    temperature: float | Float[Tensor, " batch"]
    lowest: float | None
    weight: Float[Tensor, " batch"]
    said: Float[Tensor, "batch classes"]
    target: Float[Tensor, "batch classes"]

    @property
    def clamped(self) -> Bool[Tensor, " batch"]:
        """Samples whose temperature the component raised to its lowest."""
        if self.lowest is None:
            return torch.zeros_like(self.wrong)
        return (self._temperatures <= self.lowest) & self.asked

    @property
    def mean_temperature(self) -> Float[Tensor, ""]:
        """Over the samples the teacher is listened to on; 0 when there are none."""
        return torch.where(self.asked, self._temperatures, 0).sum() / self.asked.sum().clamp(min=1)

    @property
    def _temperatures(self) -> Float[Tensor, " batch"]:
        if isinstance(self.temperature, Tensor):
            return self.temperature.to(self.weight.dtype).expand_as(self.weight)
        return torch.full_like(self.weight, self.temperature)  # made there: a copy would wait for the device

    @property
    def change(self) -> Float[Tensor, " batch"]:
        """How much probability the correction moved: total variation distance, 0 to 1."""
        return 0.5 * (self.target.exp() - self.said.exp()).abs().sum(dim=1)


@dataclass(frozen=True)
class LossOutput:
    """The outcome of a chain: weighted losses by name, their sum, and the audit tap (None without a teacher)."""

    losses: dict[str, Tensor]
    total: Tensor
    audit: Audit | None

    def __getitem__(self, name: str) -> Tensor:
        """One weighted loss by name."""
        return self.losses[name]
