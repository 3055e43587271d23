"""Arbitration: teacher and label mixed by how far each can be believed on the sample."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.context import BatchClasses, BatchContext, Classes, PerSample, SelectionData, is_class
from preceptor.errors import InputError
from preceptor.fitting import FitPart, FittedComponent, fit_scale, labeled_outputs
from preceptor.registry import Scope, register


def arbitrate(
    log_probs: BatchClasses, label: Classes, teacher_trust: PerSample, label_trust: PerSample
) -> BatchClasses:
    """``p~ = (t p + q onehot(y)) / (t + q)`` in log-space.

    Corners: ``t = 0`` is the label alone, as ``drop_wrong`` has it with a label loss on the rest, and label smoothing
    with ``correct_prob = 1``; ``q = 0`` is the teacher as it is; ``t = beta`` and ``q = 1 - beta`` is Label Revision.

    Args:
        log_probs: of the teacher.
        label: class numbers.
        teacher_trust: ``t``, 0 or more.
        label_trust: ``q``, 0 or more; not both are 0.
    """
    smallest = torch.finfo(log_probs.dtype).tiny  # keeps a trust of 0 finite in log-space
    total = teacher_trust + label_trust
    teacher_part = log_probs + (teacher_trust / total).clamp(min=smallest).log().unsqueeze(1)
    label_part = (label_trust / total).clamp(min=smallest).log().unsqueeze(1)
    return torch.where(is_class(log_probs, label), torch.logaddexp(teacher_part, label_part), teacher_part)


def class_label_trust(logits: Float[Tensor, "n classes"], label: Int[Tensor, " n"]) -> Float[Tensor, " classes"]:
    """The share of the labels of each class that are right, by the confident joint; 1 for a class without labels.

    A sample counts for the likeliest of the classes whose probability reaches the mean one of that class among the
    samples labeled so. The share is that of the samples of a label that count for it. In float64.

    Northcutt et al., "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021, arXiv:1911.00068.
    """
    classes, label = logits.shape[1], label.long()
    probs = logits.double().softmax(dim=1)
    own = probs.gather(1, label.unsqueeze(1)).squeeze(1)
    count = torch.bincount(label, minlength=classes)
    mean = torch.zeros_like(probs[0]).index_add(0, label, own) / count
    reached = torch.where(probs >= mean - 1e-6, probs, -1.0)  # a class without labels has a mean of NaN: not reached
    best, counted = reached.max(dim=1)
    sure = best > -1
    joint = torch.bincount(label[sure] * classes + counted[sure], minlength=classes**2).reshape(classes, classes)
    right = joint.diagonal().clamp(min=1).double()
    return right / (right + joint.sum(dim=1) - joint.diagonal())


@register("correction", "arbitrate", paper="this project's own; its label trust is Northcutt et al., arXiv:1911.00068")
class Arbitrate(FittedComponent):
    """Mix teacher and label by how far each can be believed on the sample.

    The teacher's trust ``t`` is its confidence, calibrated by a temperature on held-out samples. The label's trust
    ``q`` is 1 minus the probability that it is wrong: of an audit where there is one, else ``label_trust``, else the
    share of right labels in the label's class by confident learning. Where the label is the likelier error the sample
    is learned mostly from the teacher. With an audit, give the recipe ``correction_where: wrong_teacher | wrong_label |
    ambiguous``, and no label loss on the wrong samples.

    Args:
        label_trust: the probability that a label is right, 0 to 1. Default None: estimated, for each class.
        fit_on: "held_out" (default): labeled samples that are held out from training; "train": the training samples,
            for a teacher whose outputs on them are out of fold.
        apply_to: "wrong" (default): where the two disagree; or "all" labeled samples.

    Raises:
        InputError: a ``label_trust`` that is no probability.
    """

    fit_buffers: ClassVar[tuple[str, ...]] = ("scale", "class_trust")
    wants_context: ClassVar[bool] = True

    scale: Tensor
    class_trust: Tensor

    def __init__(
        self, label_trust: float | None = None, fit_on: FitPart = "held_out", apply_to: Scope = "wrong"
    ) -> None:
        super().__init__()
        if label_trust is not None and not 0 <= label_trust <= 1:
            raise InputError(f"arbitrate: label_trust = {label_trust}: expected a probability, 0 to 1")
        self.label_trust = label_trust
        self.fit_on: FitPart = fit_on
        self.apply_to: Scope = apply_to
        self.needs_held_out = fit_on == "held_out"

    def fit(self, selection_data: SelectionData) -> None:
        """Fit the temperature and the trust in labels; `InputError` where there are no labeled samples."""
        samples = labeled_outputs(selection_data, self.fit_on, "arbitrate")
        scale = fit_scale(samples.logits, samples.label)
        self.store(scale=scale.reshape(1), class_trust=class_label_trust(scale * samples.logits, samples.label))

    def trusts(self, label: Classes, context: BatchContext) -> tuple[PerSample, PerSample]:
        """``t`` and ``q`` of each sample."""
        logits = context.teacher_logits
        teacher_trust = (self.scale.to(logits.dtype) * logits).softmax(dim=1).amax(dim=1)
        if context.label_wrong is not None:
            label_trust = 1 - context.label_wrong
        elif self.label_trust is not None:
            label_trust = torch.full_like(teacher_trust, self.label_trust)
        else:
            label_trust = self.class_trust[label]
        return teacher_trust, label_trust.to(logits.dtype)

    def forward(
        self, log_probs: BatchClasses, label: Classes, teacher_class: Classes, context: BatchContext
    ) -> BatchClasses:
        """The mixture; `InputError` before the fit."""
        self.check_fitted()
        return arbitrate(log_probs, label, *self.trusts(label, context))
