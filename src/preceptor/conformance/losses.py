"""Checks of losses, label losses and feature losses."""

from copy import deepcopy
from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor, nn

from preceptor.component_types import TargetSpace, declares
from preceptor.conformance.check import (
    TEMPERATURE,
    ComponentCase,
    Constant,
    check,
    forward_backward,
    require,
    require_close,
)
from preceptor.loss import DistillationLoss
from preceptor.loss_terms import LossTerm
from preceptor.temperatures import Fixed

OVERFLOWING = 3e38
"""A logit whose loss overflows float32."""


@check("loss", "label_loss", "feature_loss")
def one_loss_a_sample(case: ComponentCase) -> None:
    """it returns one loss a sample, [batch] (a statistic of the batch: one number), in the type of the logits"""
    for dtype in (torch.float32, torch.float64):
        batch = case.plain_batch(dtype=dtype)
        loss = case.call(case.build(dtype), batch)
        require(isinstance(loss, Tensor), f"it returned a {type(loss).__name__}, not a tensor")
        statistic = declares(case.info.cls, "batch_statistic")
        expected = torch.Size() if statistic else batch.label.shape
        remedy = "reduce the batch to one number" if statistic else "do not reduce the batch"
        require(loss.shape == expected, f"shape {tuple(loss.shape)}, not {tuple(expected)}: {remedy}")
        require(loss.dtype == dtype, f"logits of {dtype} gave losses of {loss.dtype}")


@check("loss", "label_loss", "feature_loss")
def gradient_is_right(case: ComponentCase) -> None:
    """its gradient agrees with finite differences in float64; one with a self_target has to test that itself"""
    if declares(case.info.cls, "self_target"):
        return
    batch = case.plain_batch(samples=4, dtype=torch.float64)
    component = case.build(torch.float64)
    if isinstance(component, nn.Module):
        case.call(component, batch)  # what its first call in training fixes is a constant from there on
        component.eval()  # state that changes at every call would change between the two sides of a difference
    steps = torch.linspace(1, 3, 4, dtype=torch.float64)
    for temperature in (TEMPERATURE, steps) if case.info.kind == "loss" else (TEMPERATURE,):

        def loss(student: Tensor, temperature: float | Tensor = temperature) -> Tensor:
            value: Tensor = case.call(deepcopy(component), replace(batch, student=student), temperature)
            return value

        student = batch.student.clone().requires_grad_()
        require(loss(student).requires_grad, "the loss carries no gradient: something detaches the student's logits")
        torch.autograd.gradcheck(loss, (student,))


@check("loss")
def declares_what_it_needs(case: ComponentCase) -> None:
    """target_space is "log_probs" or "logits", zero_at_teacher is True or False"""
    space = getattr(case.info.cls, "target_space", None)
    require(space in get_args(TargetSpace), f"target_space = {space!r}: expected one of {get_args(TargetSpace)}")
    zero = getattr(case.info.cls, "zero_at_teacher", None)
    require(isinstance(zero, bool), f"zero_at_teacher = {zero!r}: expected True or False")


@check("loss")
def takes_a_temperature_per_sample(case: ComponentCase) -> None:
    """one number and a tensor that repeats it for each sample mean the same temperature"""
    batch = case.plain_batch()
    repeated = torch.full((len(batch.label),), TEMPERATURE)
    one, many = (case.call(case.build(), batch, temperature) for temperature in (TEMPERATURE, repeated))
    require_close(many, one, "temperatures per sample change the loss: does [batch] divide [batch, classes]?")


@check("loss")
def zero_at_the_teacher(case: ComponentCase) -> None:
    """where zero_at_teacher is True, a student equal to the teacher has no loss and no gradient"""
    if not case.info.cls.zero_at_teacher:
        return
    batch = case.plain_batch(dtype=torch.float64)
    for temperature in (1.0, 4.0):
        loss = case.loss(correction=None, temperature=Fixed(temperature)).double()
        output, gradient = forward_backward(loss, replace(batch, student=batch.teacher.clone()))
        require_close(output.total, torch.zeros_like(output.total), "the loss is not zero at the teacher", 1e-9)
        require_close(gradient, torch.zeros_like(gradient), "the gradient is not zero at the teacher", 1e-9)


@check("loss", "label_loss", "feature_loss")
def weight_zero_is_gradient_zero(case: ComponentCase) -> None:
    """a sample of weight zero gives exactly zero gradient and disturbs no other, even where its loss is infinite"""
    batch = case.plain_batch()
    if _mixes_samples_by_design(case):
        return
    ignored = ~batch.context.right if case.info.kind == "label_loss" else torch.arange(len(batch.label)) % 2 == 0
    student = batch.student.clone()
    student[ignored] = OVERFLOWING * torch.tensor([1.0, -1.0]).repeat(3)[: student.shape[1]]
    expected, expected_gradient = forward_backward(_ignoring(case, ignored), batch)
    output, gradient = forward_backward(_ignoring(case, ignored), replace(batch, student=student))
    for rows in (expected_gradient[ignored], gradient[ignored]):
        require((rows == 0).all(), "a sample of weight zero has a gradient: does another's loss contain it?")
    require_close(output.total, expected.total, "the logits of a sample of weight zero change the loss")
    require_close(
        gradient[~ignored], expected_gradient[~ignored], "the logits of a sample of weight zero change other gradients"
    )


def _mixes_samples_by_design(case: ComponentCase) -> bool:
    """Whether it has batch norm, whose mean and variance are those of the whole batch."""
    component = case.build()
    return isinstance(component, nn.Module) and any(isinstance(one, nn.BatchNorm2d) for one in component.modules())


def _ignoring(case: ComponentCase, ignored: Tensor) -> DistillationLoss:
    """A loss that gives some samples weight zero: by a selection, or, for a label loss, by ``where``."""
    if case.info.kind == "label_loss":
        return case.loss(terms={"loss": LossTerm(case.build(), where="right")})
    return case.loss(selection=Constant((~ignored).float()))


@check("label_loss")
def skips_unlabeled_samples(case: ComponentCase) -> None:
    """a sample without a label has no gradient and no part in the loss"""
    batch = case.plain_batch()
    labeled = batch.context.labeled
    output, gradient = forward_backward(case.loss(), batch)
    require((gradient[~labeled] == 0).all(), "a label loss has a gradient on a sample without a label")
    alone, _ = forward_backward(case.loss(), batch.reordered(labeled.nonzero().squeeze(1)))
    expected = alone.total * labeled.sum() / len(labeled)
    require_close(output.total, expected, "unlabeled samples change the loss of the others")
