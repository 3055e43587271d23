"""Arbitration: teacher and label mixed by how far each can be believed on the sample."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.component_types import Scope
from preceptor.context import BatchClasses, BatchContext, Classes, PerSample, SelectionData, at_class, is_class
from preceptor.errors import InputError
from preceptor.fitting import SCALES, FitPart, FittedOnLabels, fit_scale
from preceptor.registry import register


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


def label_reliability(label_prob: PerSample, prior_trust: PerSample, classes: int) -> PerSample:
    """The probability that the label of a sample is right, given what the teacher says: by Bayes' rule,
    ``q = r p_y / (r p_y + (1 - r) (1 - p_y) / (C - 1))``.

    Wrong labels are taken to name each of the C - 1 other classes alike, whatever the sample (this project's choice).

    Args:
        label_prob: ``p_y``, the teacher's calibrated probability of the label.
        prior_trust: ``r``, the share of labels like this one that are right.
        classes: ``C``.
    """
    right = prior_trust * label_prob
    wrong = (1 - prior_trust) * (1 - label_prob) / (classes - 1)
    return torch.where(right + wrong > 0, right / (right + wrong).clamp(min=torch.finfo(right.dtype).tiny), prior_trust)


SCALE_STEPS = 241
"""Inverse temperatures tried, evenly in their logarithm: 2.5 % from one to the next."""


def noise_aware_scale(
    logits: Float[Tensor, "n classes"], label: Int[Tensor, " n"], prior_trust: Float[Tensor, " n"]
) -> Float[Tensor, ""]:
    """The inverse temperature at which the teacher, with the noise of the labels added, explains them best; float64.

    The largest ``sum_i ln (r p_y + (1 - r) (1 - p_y) / (C - 1))`` within ``SCALES``. Labels that are wrong do not make
    the teacher look unsure, as they would in plain temperature scaling.
    """
    classes, index = logits.shape[1], label.long().unsqueeze(1)
    low, high = (math.log(bound) for bound in SCALES)
    scales = torch.linspace(low, high, SCALE_STEPS, dtype=torch.float64, device=logits.device).exp()
    likelihood = []
    for scale in scales:
        own = (scale * logits.double()).softmax(dim=1).gather(1, index).squeeze(1)
        mixed = prior_trust * own + (1 - prior_trust) * (1 - own) / (classes - 1)
        likelihood.append(mixed.clamp(min=1e-300).log().sum())
    return scales[torch.stack(likelihood).argmax()]


@register("correction", "arbitrate", paper="this project's own; its label trust is Northcutt et al., arXiv:1911.00068")
class Arbitrate(FittedOnLabels):
    """Mix teacher and label by how far each can be believed on the sample.

    The teacher's trust ``t`` is its confidence, calibrated on held-out samples with the noise of their labels in mind.
    The label's trust ``q`` is 1 minus the probability that it is wrong: of an audit where there is one, else by Bayes'
    rule from the teacher's probability of the label and the share of labels that are right, which is ``label_trust``
    or, for each class, confident learning's estimate. Where the label is the likelier error the sample is learned
    mostly from the teacher. An unsure teacher and noisy labels look alike: a weak teacher makes confident learning see
    label errors that are not there, so state ``label_trust`` where it is known.

    With an audit, give the recipe ``correction_where: wrong_teacher | wrong_label | ambiguous``; and no label loss on
    the wrong samples.

    Args:
        label_trust: the share of labels that are right, 0 to 1. Default None: estimated, for each class.
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
        super().__init__(fit_on)
        if label_trust is not None and not 0 <= label_trust <= 1:
            raise InputError(f"arbitrate: label_trust = {label_trust}: expected a probability, 0 to 1")
        self.label_trust = label_trust
        self.apply_to: Scope = apply_to

    def fit(self, selection_data: SelectionData) -> None:
        """Fit the temperature and the trust in labels; `InputError` where there are no labeled samples."""
        samples = self.labeled(selection_data)
        plain = fit_scale(samples.logits, samples.label)
        trust = class_label_trust(plain * samples.logits, samples.label)
        if self.label_trust is not None:
            trust = torch.full_like(trust, self.label_trust)
        scale = noise_aware_scale(samples.logits, samples.label, trust[samples.label.long()])
        self.store(scale=scale.reshape(1), class_trust=trust)

    def trusts(self, label: Classes, context: BatchContext) -> tuple[PerSample, PerSample]:
        """``t`` and ``q`` of each sample."""
        logits = context.teacher_logits
        probs = (self.scale.to(logits.dtype) * logits).softmax(dim=1)
        if context.label_wrong is not None:
            label_trust = (1 - context.label_wrong).to(logits.dtype)
        else:
            prior_trust = self.class_trust[label].to(logits.dtype)
            label_trust = label_reliability(at_class(probs, label), prior_trust, logits.shape[1])
        return probs.amax(dim=1), label_trust

    def forward(
        self, log_probs: BatchClasses, label: Classes, teacher_class: Classes, context: BatchContext
    ) -> BatchClasses:
        """The mixture; `InputError` before the fit."""
        self.check_fitted()
        return arbitrate(log_probs, label, *self.trusts(label, context))
