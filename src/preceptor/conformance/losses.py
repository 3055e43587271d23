"""Checks for the components that return losses: matches and ground truths."""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from preceptor.conformance.batch import Batch
from preceptor.conformance.check import TEMPERATURE, Subject, check, learn, require, require_close
from preceptor.context import BatchContext
from preceptor.loss import DistillationLoss
from preceptor.loss_terms import LossTerm
from preceptor.registry import TargetSpace, is_batch_statistic
from preceptor.temperatures import Fixed

OVERFLOWING = 3e38
"""A logit whose loss overflows float32."""


@check("loss", "label_loss")
def one_loss_a_sample(subject: Subject) -> None:
    """it returns one loss a sample, [batch] (a statistic of the batch: one number), in the type of the logits"""
    for dtype in (torch.float32, torch.float64):
        batch = subject.plain_batch(dtype=dtype)
        found = subject.call(subject.build(dtype), batch)
        require(isinstance(found, Tensor), f"it returned a {type(found).__name__}, not a tensor")
        statistic = is_batch_statistic(subject.info.cls)
        expected = torch.Size() if statistic else batch.label.shape
        remedy = "reduce the batch to one number" if statistic else "do not reduce the batch"
        require(found.shape == expected, f"shape {tuple(found.shape)}, not {tuple(expected)}: {remedy}")
        require(found.dtype == dtype, f"logits of {dtype} gave losses of {found.dtype}")


@check("loss", "label_loss")
def gradient_is_right(subject: Subject) -> None:
    """its gradient agrees with finite differences in float64"""
    batch = subject.plain_batch(samples=4, dtype=torch.float64)
    component = subject.build(torch.float64)
    if isinstance(component, nn.Module):
        component.eval()  # what moves with every call would move with every step of the difference
    steps = torch.linspace(1, 3, 4, dtype=torch.float64)
    for temperature in (TEMPERATURE, steps) if subject.info.kind == "loss" else (TEMPERATURE,):

        def loss(student: Tensor, given: float | Tensor = temperature) -> Tensor:
            found: Tensor = subject.call(deepcopy(component), replace(batch, student=student), given)
            return found

        student = batch.student.clone().requires_grad_()
        require(loss(student).requires_grad, "the loss carries no gradient: something detaches the student's logits")
        torch.autograd.gradcheck(loss, (student,))


@check("loss")
def declares_what_it_needs(subject: Subject) -> None:
    """target_space is "log_probs" or "logits", zero_at_teacher is True or False"""
    space = getattr(subject.info.cls, "target_space", None)
    require(space in get_args(TargetSpace), f"target_space = {space!r}: expected one of {get_args(TargetSpace)}")
    zero = getattr(subject.info.cls, "zero_at_teacher", None)
    require(isinstance(zero, bool), f"zero_at_teacher = {zero!r}: expected True or False")


@check("loss")
def takes_a_temperature_per_sample(subject: Subject) -> None:
    """one number and a tensor that repeats it for each sample mean the same temperature"""
    batch = subject.plain_batch()
    repeated = torch.full((len(batch.label),), TEMPERATURE)
    one, many = (subject.call(subject.build(), batch, temperature) for temperature in (TEMPERATURE, repeated))
    require_close(many, one, "temperatures per sample change the loss: does [batch] divide [batch, classes]?")


@check("loss")
def zero_at_the_teacher(subject: Subject) -> None:
    """where zero_at_teacher guarantees it, a student equal to the teacher has no loss and no gradient"""
    if not subject.info.cls.zero_at_teacher:
        return
    batch = subject.plain_batch(dtype=torch.float64)
    for temperature in (1.0, 4.0):
        loss = subject.loss(correction=None, temperature=Fixed(temperature)).double()
        outcome, gradient = learn(loss, replace(batch, student=batch.teacher.clone()))
        require_close(outcome.total, torch.zeros_like(outcome.total), "the loss is not zero at the teacher", 1e-9)
        require_close(gradient, torch.zeros_like(gradient), "the gradient is not zero at the teacher", 1e-9)


@dataclass(frozen=True)
class _GivenWeights:
    """A selection that says what it is told to."""

    weight: Tensor

    def __call__(self, context: BatchContext) -> Float[Tensor, " batch"]:
        return self.weight.to(context.teacher)


@check("loss", "label_loss")
def weight_zero_is_gradient_zero(subject: Subject) -> None:
    """a sample of weight zero gives exactly zero gradient and disturbs no other, even where its loss is infinite"""
    batch = subject.plain_batch()
    ignored = torch.arange(len(batch.label)) % 2 == 0 if subject.info.kind == "loss" else ~batch.context.right
    wild = batch.student.clone()
    wild[ignored] = OVERFLOWING * torch.tensor([1.0, -1.0]).repeat(3)[: wild.shape[1]]
    expected, calm = learn(_ignoring(subject, ignored), batch)
    outcome, gradient = learn(_ignoring(subject, ignored), replace(batch, student=wild))
    for found in (calm, gradient):
        require((found[ignored] == 0).all(), "a sample of weight zero has a gradient: does another's loss contain it?")
    require_close(outcome.total, expected.total, "the logits of a sample of weight zero change the loss")
    require_close(gradient[~ignored], calm[~ignored], "the logits of a sample of weight zero change other gradients")


def _ignoring(subject: Subject, ignored: Tensor) -> DistillationLoss:
    """A chain that gives some samples weight zero: by selection for a match, by ``where`` for a ground truth."""
    if subject.info.kind == "loss":
        return subject.loss(selection=_GivenWeights((~ignored).float()))
    return subject.loss(terms={"loss": LossTerm(subject.build(), where="right")})


@check("label_loss")
def passes_unlabeled_samples_by(subject: Subject) -> None:
    """a sample without a label has no gradient and no part in the loss"""
    batch = subject.plain_batch()
    labeled = batch.context.labeled
    outcome, gradient = learn(subject.loss(), batch)
    require((gradient[~labeled] == 0).all(), "a ground truth taught a sample that has no label")
    alone, _ = learn(subject.loss(), _labeled_only(batch))
    expected = alone.total * labeled.sum() / len(labeled)
    require_close(outcome.total, expected, "unlabeled samples change the loss of the others")


def _labeled_only(batch: Batch) -> Batch:
    return batch.reordered(batch.context.labeled.nonzero().squeeze(1))
