"""Checks of corrections."""

from dataclasses import replace
from typing import get_args

import torch

from preceptor.conformance.batch import extreme_batch, plain_batch
from preceptor.conformance.check import TEMPERATURE, ComponentCase, check, forward_backward, require, require_close
from preceptor.registry import Scope


@check("correction")
def rows_are_log_probabilities(case: ComponentCase) -> None:
    """it returns log-probabilities, [batch, classes], whose probabilities sum to 1 in every row"""
    for batch in (plain_batch(), plain_batch(dtype=torch.float64), extreme_batch()):
        for temperature in (1.0, TEMPERATURE, 20.0):
            corrected = case.call(case.build(batch.teacher.dtype), batch, temperature)
            require(
                corrected.shape == batch.teacher.shape and corrected.dtype == batch.teacher.dtype,
                f"it returned {tuple(corrected.shape)} of {corrected.dtype} for {tuple(batch.teacher.shape)} "
                f"of {batch.teacher.dtype}",
            )
            total = corrected.exp().sum(dim=1)
            require_close(total, torch.ones_like(total), "rows do not sum to 1: return log-probabilities, normalized")


@check("correction")
def touches_only_its_scope(case: ComponentCase) -> None:
    """apply_to is "wrong" or "all"; every row outside it leaves the loss bit for bit as it came"""
    scope = case.build().apply_to
    require(scope in get_args(Scope), f"apply_to = {scope!r}: expected one of {get_args(Scope)}")
    batch = plain_batch()
    audit = forward_backward(case.loss(), batch)[0].audit
    assert audit is not None
    affected = batch.context.wrong if scope == "wrong" else batch.context.labeled
    require(torch.equal(audit.corrected, affected), "the audit's corrected samples are not those of its scope")
    same = torch.equal(audit.target[~affected], audit.teacher_log_probs[~affected])
    require(same, "the target changed outside the correction's scope")


@check("correction")
def equivariant_to_relabeling(case: ComponentCase) -> None:
    """renumbering the classes renumbers the result and changes nothing else"""
    batch = plain_batch(dtype=torch.float64)
    classes = batch.teacher.shape[1]
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(2))
    new_number = torch.empty_like(order).scatter_(0, order, torch.arange(classes))
    labeled = replace(batch, label=batch.label_or_teacher_class)
    renumbered = replace(batch, teacher=batch.teacher[:, order], label=new_number[labeled.label])
    component = case.build(torch.float64)
    expected = case.call(component, labeled)[:, order]
    require_close(case.call(component, renumbered), expected, "the result depends on the numbers of the classes")
