"""What a distillation loss returns: the losses by name, and an audit of every sample."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Audit:
    """What the loss did with each sample. Tensors are detached; the properties compute only when read.

    Attributes:
        queried: the teacher is used on this sample; elsewhere its columns here mean nothing.
        teacher_class: the teacher's prediction.
        wrong: labeled, and predicted wrongly by the teacher.
        corrected: in the scope of the correction.
        temperature: one number, or one per sample.
        minimum_temperature: lower limit that the temperature component applies; None when it has none. A temperature
            that equals it counts as clamped: a component returns one that was not raised slightly above it.
        weight: selection weight of the sample; 1 without a selection.
        teacher_log_probs: the teacher's log-probabilities at the loss's temperature.
        target: the same after correction.
    """

    queried: Bool[Tensor, " batch"]
    teacher_class: Int[Tensor, " batch"]
    wrong: Bool[Tensor, " batch"]
    corrected: Bool[Tensor, " batch"]
    temperature: float | Float[Tensor, " batch"]
    minimum_temperature: float | None
    weight: Float[Tensor, " batch"]
    teacher_log_probs: Float[Tensor, "batch classes"]
    target: Float[Tensor, "batch classes"]

    @property
    def clamped(self) -> Bool[Tensor, " batch"]:
        """Samples whose temperature was raised to the minimum."""
        if self.minimum_temperature is None:
            return torch.zeros_like(self.wrong)
        return (self._temperatures <= self.minimum_temperature) & self.queried

    @property
    def mean_temperature(self) -> Float[Tensor, ""]:
        """Mean over the queried samples; 0 when there are none."""
        return torch.where(self.queried, self._temperatures, 0).sum() / self.queried.sum().clamp(min=1)

    @property
    def _temperatures(self) -> Float[Tensor, " batch"]:
        if isinstance(self.temperature, Tensor):
            return self.temperature.to(self.weight.dtype).expand_as(self.weight)
        return torch.full_like(self.weight, self.temperature)  # filled on the device: a copy would wait for it

    @property
    def change(self) -> Float[Tensor, " batch"]:
        """Probability moved by the correction: total variation distance, 0 to 1."""
        return 0.5 * (self.target.exp() - self.teacher_log_probs.exp()).abs().sum(dim=1)


@dataclass(frozen=True)
class LossOutput:
    """The outcome of a chain: weighted losses by name, their sum, and the audit tap (None without a teacher)."""

    losses: dict[str, Tensor]
    total: Tensor
    audit: Audit | None

    def __getitem__(self, name: str) -> Tensor:
        """One weighted loss by name."""
        return self.losses[name]
