"""Checks for the components that shape the teacher's signal: corrections, temperatures and selections."""

from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from preceptor.conformance.batch import extreme_batch, plain_batch
from preceptor.conformance.check import TEMPERATURE, Subject, check, learn, require, require_close
from preceptor.context import BatchContext
from preceptor.registry import Scope


@check("correction")
def rows_are_log_probabilities(subject: Subject) -> None:
    """it returns log-probabilities, [batch, classes], whose probabilities sum to 1 in every row"""
    for batch in (plain_batch(), plain_batch(dtype=torch.float64), extreme_batch()):
        for temperature in (1.0, TEMPERATURE, 20.0):
            found = subject.call(subject.build(batch.teacher.dtype), batch, temperature)
            require(
                found.shape == batch.teacher.shape and found.dtype == batch.teacher.dtype,
                f"it returned {tuple(found.shape)} of {found.dtype} for {tuple(batch.teacher.shape)} "
                f"of {batch.teacher.dtype}",
            )
            total = found.exp().sum(dim=1)
            require_close(total, torch.ones_like(total), "rows do not sum to 1: return log-probabilities, normalized")


@check("correction")
def touches_only_its_scope(subject: Subject) -> None:
    """apply_to is "wrong" or "all"; every row outside it leaves the chain bit for bit as it came"""
    scope = subject.build().apply_to
    require(scope in get_args(Scope), f"apply_to = {scope!r}: expected one of {get_args(Scope)}")
    batch = plain_batch()
    outcome, _ = learn(subject.loss(), batch)
    audit = outcome.audit
    assert audit is not None
    affected = batch.context.wrong if scope == "wrong" else batch.context.labeled
    require(torch.equal(audit.corrected, affected), "the audit's corrected samples are not those of its scope")
    same = torch.equal(audit.target[~affected], audit.teacher_log_probs[~affected])
    require(same, "the teacher's word changed outside the correction's scope")


@check("correction")
def equivariant_to_relabeling(subject: Subject) -> None:
    """renumbering the classes renumbers the result and changes nothing else"""
    batch = plain_batch(dtype=torch.float64)
    classes = batch.teacher.shape[1]
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(2))
    new_number = torch.empty_like(order).scatter_(0, order, torch.arange(classes))
    renumbered = replace(batch, teacher=batch.teacher[:, order], label=new_number[batch.taught_label])
    component = subject.build(torch.float64)
    expected = subject.call(component, replace(batch, label=batch.taught_label))[:, order]
    require_close(subject.call(component, renumbered), expected, "the result depends on the numbers of the classes")


@check("temperature")
def positive_temperature(subject: Subject) -> None:
    """it returns a number above 0, or a float tensor [] or [batch] of them"""
    for batch in (plain_batch(), extreme_batch()):
        found = subject.call(subject.build(), batch)
        if isinstance(found, Tensor):
            shapes = (torch.Size(), batch.label.shape)
            require(found.shape in shapes, f"shape {tuple(found.shape)}: expected [] or [batch]")
            require(found.is_floating_point(), f"a tensor of {found.dtype}: expected floating point")
        else:
            require(isinstance(found, int | float), f"it returned a {type(found).__name__}")
        low = float(torch.as_tensor(found).detach().min())
        require(low > 0, f"the lowest temperature is {low}: clamp it above 0")


@check("selection")
def weights_per_sample(subject: Subject) -> None:
    """it returns one weight a sample, [batch], floating point, finite and not below 0"""
    for batch in (plain_batch(), extreme_batch()):
        found = subject.call(subject.build(), batch)
        require(isinstance(found, Tensor), f"it returned a {type(found).__name__}, not a tensor")
        require(found.shape == batch.label.shape, f"shape {tuple(found.shape)}: expected {tuple(batch.label.shape)}")
        require(found.is_floating_point(), f"weights of {found.dtype}: expected floating point, like the logits")
        require((found >= 0).all() and found.isfinite().all(), "weights must be finite and not below 0")


@dataclass(frozen=True)
class _Given:
    """A temperature or a selection that says what it is told to."""

    value: float | Tensor

    def __call__(self, context: BatchContext) -> float | Tensor:
        return self.value


@check("temperature", "selection")
def no_gradient_to_the_student(subject: Subject) -> None:
    """the student's gradient is the one it would get from the same numbers written down as constants"""
    batch = plain_batch()
    outcome, gradient = learn(subject.loss(), batch)
    assert outcome.audit is not None
    value = outcome.audit.temperature if subject.info.kind == "temperature" else outcome.audit.weight
    _, expected = learn(subject.loss(**{subject.info.kind: _Given(value)}), batch)
    require_close(gradient, expected, "the student is rewarded for its own temperature or weight: detach it", 1e-6)
