"""Checks for the selections that are fitted once, before training."""

import torch
from torch import nn

from preceptor.conformance.batch import plain_batch, plain_evidence
from preceptor.conformance.check import Subject, check, require
from preceptor.errors import InputError
from preceptor.registry import FittedSelection


@check("selection")
def waits_until_it_is_fitted(subject: Subject) -> None:
    """one with a fit also has fitted and weight_at, refuses to weigh before it is fitted, and answers alike after"""
    if not subject.is_fitted_first:
        return
    component, batch = subject.build_unfitted(), plain_batch()
    require(isinstance(component, FittedSelection), "it has fit, but not both fitted and weight_at")
    require(not component.fitted, "it says it is fitted before it is")
    try:
        component(batch.context)
    except InputError:
        pass
    else:
        require(False, "it weighs samples before it is fitted: raise an InputError that says to fit it")
    component.fit(plain_evidence())
    require(component.fitted, "it says it is not fitted when it is")
    same = torch.equal(component(batch.context), component.weight_at(batch.index).to(batch.teacher.dtype))
    require(same, "weight_at gives other weights than the call")


@check("selection")
def is_fitted_again_by_its_checkpoint(subject: Subject) -> None:
    """one that was never fitted is, once it has loaded the state_dict of one that was"""
    if not subject.is_fitted_first:
        return
    settled, resumed = subject.build(), subject.build_unfitted()
    require(isinstance(settled, nn.Module), "it is no nn.Module, so what it is fitted to is not in the checkpoint")
    resumed.load_state_dict(settled.state_dict())
    context = plain_batch().context
    same = resumed.fitted and torch.equal(resumed(context), settled(context))
    require(same, "after a resume it weighs otherwise: hold what it is fitted to in buffers, of whatever size")
