"""Checks of the teacher's side: recalibrations, corrections, temperatures, selections, and what is fitted."""

from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor, nn

from preceptor.component_types import COMPONENT_TYPES, Fittable, FittedSelection, Scope, rescaled
from preceptor.conformance.batch import extreme_batch, plain_batch, plain_selection_data, with_reservation
from preceptor.conformance.check import TEMPERATURE, ComponentCase, check, forward_backward, require, require_close
from preceptor.errors import InputError


@check("recalibration")
def rows_are_logits(case: ComponentCase) -> None:
    """it returns finite logits, [batch, classes], in the type of the teacher's"""
    for batch in (plain_batch(), plain_batch(dtype=torch.float64), extreme_batch()):
        logits = case.call(case.build(batch.teacher.dtype), batch)
        same = logits.shape == batch.teacher.shape and logits.dtype == batch.teacher.dtype
        require(same, f"it returned {tuple(logits.shape)} of {logits.dtype}: expected those of the teacher's logits")
        require(logits.isfinite().all(), "it returned logits that are not finite")


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
    """renumbering the classes renumbers the result and changes nothing else; one that is fitted knows the classes"""
    if case.needs_fit:
        return
    batch = plain_batch(dtype=torch.float64)
    classes = batch.teacher.shape[1]
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(2))
    new_number = torch.empty_like(order).scatter_(0, order, torch.arange(classes))
    labeled = replace(batch, label=batch.context.pseudo_label)
    renumbered = replace(batch, teacher=batch.teacher[:, order], label=new_number[labeled.label])
    component = case.build(torch.float64)
    expected = case.call(component, labeled)[:, order]
    require_close(case.call(component, renumbered), expected, "the result depends on the numbers of the classes")


@check("temperature")
def positive_temperature(case: ComponentCase) -> None:
    """it returns a number above 0, or a float tensor [] or [batch] of them"""
    for batch in (plain_batch(), extreme_batch()):
        temperature = case.call(case.build(), batch)
        if isinstance(temperature, Tensor):
            shapes = (torch.Size(), batch.label.shape)
            require(temperature.shape in shapes, f"shape {tuple(temperature.shape)}: expected [] or [batch]")
            require(temperature.is_floating_point(), f"a tensor of {temperature.dtype}: expected floating point")
        else:
            require(isinstance(temperature, int | float), f"it returned a {type(temperature).__name__}")
        low = float(torch.as_tensor(temperature).detach().min())
        require(low > 0, f"the lowest temperature is {low}: clamp it above 0")


@check("temperature")
def rescaling_keeps_the_order(case: ComponentCase) -> None:
    """one with rescale keeps shape, type and the order of the classes, and the student's extra output counts in none"""
    for batch in (plain_batch(), plain_batch(dtype=torch.float64)):
        temperature, wider = case.build(batch.teacher.dtype), with_reservation(batch)
        for logits in (batch.teacher, batch.student):
            scaled = rescaled(temperature, logits, batch.teacher)
            same = scaled.shape == logits.shape and scaled.dtype == logits.dtype
            require(same, f"it returned {tuple(scaled.shape)} of {scaled.dtype}: expected those of the logits")
            require(torch.equal(scaled.argsort(dim=1), logits.argsort(dim=1)), "it changes the order of the classes")
        alone, classes = rescaled(temperature, batch.student, batch.teacher), batch.teacher.shape[1]
        own = rescaled(temperature, wider.student, batch.teacher)[:, :classes]
        require_close(own, alone, "an extra output of the student changes the others: take statistics of the classes")


@check("selection")
def weights_per_sample(case: ComponentCase) -> None:
    """it returns one weight a sample, [batch], floating point, finite and not below 0"""
    for batch in (plain_batch(), extreme_batch()):
        weight = case.call(case.build(), batch)
        require(isinstance(weight, Tensor), f"it returned a {type(weight).__name__}, not a tensor")
        require(weight.shape == batch.label.shape, f"shape {tuple(weight.shape)}: expected {tuple(batch.label.shape)}")
        require(weight.is_floating_point(), f"weights of {weight.dtype}: expected floating point, like the logits")
        require((weight >= 0).all() and weight.isfinite().all(), "weights must be finite and not below 0")


@check(*COMPONENT_TYPES)
def waits_until_it_is_fitted(case: ComponentCase) -> None:
    """one with fit also has fitted, and raises InputError before fit; a selection's weight_at agrees with its call"""
    if not case.needs_fit:
        return
    component, batch = case.build_unfitted(), plain_batch()
    require(isinstance(component, Fittable), "it has fit, but not fitted")
    require(not component.fitted, "fitted is True before it is fitted")
    try:
        case.call(component, batch)
    except InputError:
        pass
    else:
        require(False, "it can be called before it is fitted: raise an InputError that says to fit it")
    component.fit(plain_selection_data())
    require(component.fitted, "fitted is False after it was fitted")
    if isinstance(component, FittedSelection):
        same = torch.equal(component(batch.context), component.weight_at(batch.index).to(batch.teacher.dtype))
        require(same, "weight_at gives other weights than the call")


@check(*COMPONENT_TYPES)
def is_fitted_again_by_its_checkpoint(case: ComponentCase) -> None:
    """one that was never fitted is, once it has loaded the state_dict of one that was"""
    if not case.needs_fit:
        return
    fitted, resumed = case.build(), case.build_unfitted()
    require(isinstance(fitted, nn.Module), "it is no nn.Module, so what it is fitted to is not in the checkpoint")
    resumed.load_state_dict(fitted.state_dict())
    batch = plain_batch()
    same = resumed.fitted and torch.equal(case.call(resumed, batch), case.call(fitted, batch))
    require(same, "after a resume its results differ: hold what it is fitted to in buffers, of whatever size")


@check(*COMPONENT_TYPES)
def is_fitted_to_the_same_bits(case: ComponentCase) -> None:
    """fitted twice on the same data, it is the same bit for bit"""
    if not case.needs_fit:
        return
    first, second = case.build().state_dict(), case.build().state_dict()
    same = all(torch.equal(first[name].nan_to_num(), second[name].nan_to_num()) for name in first)
    require(same, "two fits on the same data differ: draw from the seed of the selection data")
