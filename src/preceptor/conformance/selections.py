"""Checks of selections, those that are fitted before training included."""

import torch
from torch import Tensor, nn

from preceptor.conformance.batch import extreme_batch, plain_batch, plain_selection_data
from preceptor.conformance.check import ComponentCase, check, require
from preceptor.errors import InputError
from preceptor.registry import FittedSelection


@check("selection")
def weights_per_sample(case: ComponentCase) -> None:
    """it returns one weight a sample, [batch], floating point, finite and not below 0"""
    for batch in (plain_batch(), extreme_batch()):
        weight = case.call(case.build(), batch)
        require(isinstance(weight, Tensor), f"it returned a {type(weight).__name__}, not a tensor")
        require(weight.shape == batch.label.shape, f"shape {tuple(weight.shape)}: expected {tuple(batch.label.shape)}")
        require(weight.is_floating_point(), f"weights of {weight.dtype}: expected floating point, like the logits")
        require((weight >= 0).all() and weight.isfinite().all(), "weights must be finite and not below 0")


@check("selection")
def waits_until_it_is_fitted(case: ComponentCase) -> None:
    """one with fit also has fitted and weight_at, raises InputError before fit, agrees with weight_at after it"""
    if not case.needs_fit:
        return
    component, batch = case.build_unfitted(), plain_batch()
    require(isinstance(component, FittedSelection), "it has fit, but not both fitted and weight_at")
    require(not component.fitted, "fitted is True before it is fitted")
    try:
        component(batch.context)
    except InputError:
        pass
    else:
        require(False, "it weighs samples before it is fitted: raise an InputError that says to fit it")
    component.fit(plain_selection_data())
    require(component.fitted, "fitted is False after it was fitted")
    same = torch.equal(component(batch.context), component.weight_at(batch.index).to(batch.teacher.dtype))
    require(same, "weight_at gives other weights than the call")


@check("selection")
def is_fitted_again_by_its_checkpoint(case: ComponentCase) -> None:
    """one that was never fitted is, once it has loaded the state_dict of one that was"""
    if not case.needs_fit:
        return
    fitted, resumed = case.build(), case.build_unfitted()
    require(isinstance(fitted, nn.Module), "it is no nn.Module, so what it is fitted to is not in the checkpoint")
    resumed.load_state_dict(fitted.state_dict())
    context = plain_batch().context
    same = resumed.fitted and torch.equal(resumed(context), fitted(context))
    require(same, "after a resume its weights differ: hold what it is fitted to in buffers, of whatever size")
