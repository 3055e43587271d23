"""What a distillation loss returns: the losses by name, and an audit of every sample."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from preceptor.component_types import Correction, Selection, Temperature, declares, rescaled
from preceptor.context import BatchClasses, BatchContext, Classes, PerSample, Temperatures, Verdict, column


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
    teacher_class: Classes
    wrong: Bool[Tensor, " batch"]
    corrected: Bool[Tensor, " batch"]
    temperature: Temperatures
    minimum_temperature: float | None
    weight: PerSample
    teacher_log_probs: BatchClasses
    target: BatchClasses

    def detached(self) -> "Audit":
        """The same without gradient."""
        temperature = self.temperature.detach() if isinstance(self.temperature, Tensor) else self.temperature
        log_probs, target = self.teacher_log_probs.detach(), self.target.detach()
        return replace(self, temperature=temperature, teacher_log_probs=log_probs, target=target)

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
    def _temperatures(self) -> PerSample:
        if isinstance(self.temperature, Tensor):
            return self.temperature.to(self.weight.dtype).expand_as(self.weight)
        return torch.full_like(self.weight, self.temperature)  # filled on the device: a copy would wait for it

    @property
    def change(self) -> PerSample:
        """Probability moved by the correction: total variation distance, 0 to 1."""
        return 0.5 * (self.target.exp() - self.teacher_log_probs.exp()).abs().sum(dim=1)


@dataclass(frozen=True)
class LossOutput:
    """The outcome of a chain: weighted losses by name, their sum, and the audit tap (None without a teacher)."""

    losses: dict[str, Tensor]
    total: Tensor
    audit: Audit | None

    def __getitem__(self, name: str) -> Tensor:
        return self.losses[name]


def audit_of(
    context: BatchContext,
    correction: Correction | None,
    temperature: Temperature,
    selection: Selection | None,
    verdicts: Sequence[Verdict] = ("wrong_teacher",),
) -> Audit:
    """What the components on the teacher's side make of each sample; not detached, as a temperature may be learned.

    Where an audit has judged the samples, wrong ones are corrected only under these ``verdicts``.
    """
    chosen = temperature(context)
    compared = rescaled(temperature, context.teacher_logits, context.teacher_logits)
    log_probs = (compared / column(chosen)).log_softmax(dim=1)
    corrected, target = corrected_samples(context, correction, verdicts), log_probs
    if correction is not None:
        more = (context,) if declares(correction, "wants_context") else ()
        revised = correction(log_probs, context.pseudo_label, context.teacher_class, *more)
        target = torch.where(corrected.unsqueeze(1), revised, log_probs)
    weight = torch.ones_like(log_probs[:, 0]) if selection is None else selection(context).detach()
    return Audit(
        queried=torch.ones_like(context.labeled) if context.queried is None else context.queried,
        teacher_class=context.teacher_class,
        wrong=context.wrong,
        corrected=corrected,
        temperature=chosen,
        minimum_temperature=getattr(temperature, "minimum", None),
        weight=weight,
        teacher_log_probs=log_probs,
        target=target,
    )


def corrected_samples(
    context: BatchContext, correction: Correction | None, verdicts: Sequence[Verdict] = ("wrong_teacher",)
) -> Bool[Tensor, " batch"]:
    """The samples whose teacher output a correction changes; arguments as for :func:`audit_of`."""
    if correction is None:
        return torch.zeros_like(context.labeled)
    scope = context.wrong
    if context.verdict is not None:
        scope = torch.stack([scope & context.judged(verdict) for verdict in verdicts]).any(dim=0)
    return scope if correction.apply_to == "wrong" else context.right | scope
