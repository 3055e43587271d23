"""The probe: the first steps of a run on a copy of its student, to see the size of each loss term."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import permutations
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data import epoch_order
from preceptor.errors import few
from preceptor.loss_output import LossOutput
from preceptor.models.features import ImageModel
from preceptor.run.config import RunConfig
from preceptor.run.doctor.finding import Finding
from preceptor.run.set_up import RunContext
from preceptor.teachers.base import Teacher
from preceptor.training import Student, Trainer, TrainingData

PROBE_STEPS = 8
"""A term limited by its 'where' may have few samples in one batch, or none: its largest gradient of these counts."""

FAR_APART = 100
"""Gradients of terms that are active together are far apart from this ratio on."""

UNUSUAL = 100
"""A loss, or its gradient by sample, of this size per unit of weight is unusual: in all recipes of the package they are
5 at most on digits, and cross-entropy starts at 7 on 1,000 classes."""


@dataclass(frozen=True)
class LossScale:
    """The size of a loss term in the probed step in which its gradient is largest.

    Attributes:
        loss: as weighted in the total.
        gradient: Euclidean norm of its gradient with respect to the student's logits of the batch; of a feature loss
            with respect to the features that it compares.
        since, until: the shares of training between which the term is active in the run.
        weight: of the term. Default 1.
        samples: in the batch. Default 1.
        of_features: whether it is a feature loss. Default False.
    """

    loss: float
    gradient: float
    since: float
    until: float
    weight: float = 1.0
    samples: int = 1
    of_features: bool = False

    @property
    def is_unusual(self) -> bool:
        """Whether it is far larger than such a term usually is; see ``UNUSUAL``."""
        by_sample = 0.0 if self.of_features else self.gradient * self.samples**0.5
        return max(abs(self.loss), by_sample) > UNUSUAL * abs(self.weight) > 0


def probe_losses(
    config: RunConfig, context: RunContext, teacher: Teacher | None, steps: int = PROBE_STEPS
) -> dict[str, LossScale]:
    """The scale of each loss term over the first steps of training; the student and loss of the run are not changed.

    Raises:
        NotFinite: a step is not finite.
    """
    network = ImageModel(deepcopy(context.network), context.student.normalization)
    student = Student("probe", network, deepcopy(context.loss))
    times = {name: (term.since, term.until) for name, term in student.loss.terms.items()}
    for term in student.loss.terms.values():
        # A term that starts late, or whose weight rises from zero, is probed too.
        term.since, term.until, term.warmup = 0.0, 1.0, 0.0
    scales: dict[str, LossScale] = {}

    def record(_module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any], output: LossOutput) -> None:
        for name, loss in output.losses.items():
            term = student.loss.terms[name]
            of_features = term.kind == "feature_loss"
            compared = tuple(options["student_features"].values()) if of_features else (inputs[0],)
            norm = _gradient_norm(loss, compared)
            if name not in scales or norm > scales[name].gradient or not isfinite(norm):
                size = float(loss.detach()), norm, *times[name]
                scales[name] = LossScale(*size, term.weight, len(inputs[0]), of_features)

    student.loss.register_forward_hook(record, with_kwargs=True)
    order = context.index[epoch_order(config.seed, 0, len(context.index))]
    Trainer(
        [student],
        teacher,
        TrainingData.of_images(context.train, order[: steps * config.training.batch_size], context.augmentation),
        config.training.model_copy(update={"epochs": 1}),
        seed=config.seed,
        precision=config.precision,
        compile="never",
    ).fit()
    return scales


def _gradient_norm(loss: Tensor, compared: tuple[Tensor, ...]) -> float:
    if not loss.requires_grad:
        return 0.0
    # The graph is kept for the step's own backward pass.
    gradients = torch.autograd.grad(loss, compared, retain_graph=True, allow_unused=True)
    return float(sum(float(one.double().square().sum()) for one in gradients if one is not None) ** 0.5)


def loss_finding(scales: Mapping[str, LossScale]) -> Finding:
    """Whether every term has a gradient of usual size, and none outweighs another that is active at the same time."""
    finite = {name: scale for name, scale in scales.items() if isfinite(scale.loss) and isfinite(scale.gradient)}
    numbers = {"terms": {name: asdict(scale) for name, scale in finite.items()}}
    if len(finite) < len(scales):
        message = f"not finite in the first {PROBE_STEPS} steps: {few([name for name in scales if name not in finite])}"
        return Finding("loss scale", "problem", message, "check the teacher's logits and the term's options", numbers)
    shown = ", ".join(f"{name} {scale.loss:.4g} (gradient {scale.gradient:.3g})" for name, scale in scales.items())
    zero = [name for name, scale in scales.items() if scale.gradient == 0]
    if zero:
        message = f"the gradient of {few(zero)} is 0 in the first {PROBE_STEPS} steps: {shown}"
        remedy = "check that some samples match its 'where', and that its weight is intended"
        return Finding("loss scale", "warning", message, remedy, numbers)
    for (large, most), (small, least) in permutations(scales.items(), 2):
        together = max(most.since, least.since) < min(most.until, least.until)
        alike = most.of_features == least.of_features
        if together and alike and most.gradient > FAR_APART * least.gradient:
            message = f"the gradient of {large} is {most.gradient / least.gradient:,.0f} times that of {small}: {shown}"
            remedy = f"if this is not intended, change their weights (recipe.terms.{small}.weight=...)"
            return Finding("loss scale", "warning", message, remedy, numbers)
    unusual = [name for name, scale in scales.items() if scale.is_unusual]
    if unusual:
        message = f"unusually large for its weight: {few(unusual)}: in the first steps: {shown}"
        remedy = "check the scale of the teacher's logits, the options of the term, and the learning rate"
        return Finding("loss scale", "warning", message, remedy, numbers)
    return Finding("loss scale", "ok", f"in the first steps: {shown}", "", numbers)
