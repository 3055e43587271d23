"""Checks of several or all component types, most of them through a ``DistillationLoss``."""

from copy import deepcopy
from dataclasses import replace
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from preceptor.component_types import COMPONENT_TYPES, declares
from preceptor.conformance.batch import Batch, plain_batch, with_reservation
from preceptor.conformance.check import ComponentCase, Constant, check, forward_backward, require, require_close
from preceptor.context import UNLABELED, BatchContext
from preceptor.loss_output import LossOutput
from preceptor.registry import build_component, options


@check(*COMPONENT_TYPES)
def builds_from_a_recipe(case: ComponentCase) -> None:
    """a recipe can build it by name, and every default is a value a recipe may give"""
    info = case.info
    defaults = {key: option.default for key, option in options(info).items() if option.default is not Parameter.empty}
    component = build_component(info.kind, info.name, {**defaults, **case.options})
    require(type(component) is info.cls, f"the name builds a {type(component).__name__}, not a {info.cls.__name__}")
    require(info.paper.strip(), "say where the method comes from: register(..., paper=...)")


@check(*COMPONENT_TYPES)
def leaves_its_inputs_alone(case: ComponentCase) -> None:
    """it changes none of its input tensors, some of which are cached"""
    component = case.build()
    arguments = case.arguments(component, case.plain_batch())
    before = deepcopy(arguments)
    component(*arguments)
    for tensor, original in zip(tensors_of(arguments), tensors_of(before), strict=True):
        require(torch.equal(tensor, original), "a tensor was changed in place: work on a copy, or with torch.where")


def tensors_of(arguments: tuple[Any, ...]) -> list[Tensor]:
    """The tensors among a component's arguments, those in a batch context included."""
    values: list[Any] = []
    for argument in arguments:
        if isinstance(argument, BatchContext):
            values += vars(argument).values()
        else:
            values += argument if isinstance(argument, tuple) else [argument]
    return [value for value in values if isinstance(value, Tensor)]


@check(*COMPONENT_TYPES)
def finite_in_half_precision(case: ComponentCase) -> None:
    """bfloat16 and float16 logits give finite losses and gradients"""
    for dtype in (torch.bfloat16, torch.float16):
        _require_finite(case, case.plain_batch().cast(dtype), f"{dtype} logits")


@check(*COMPONENT_TYPES)
def finite_at_extreme_logits(case: ComponentCase) -> None:
    """logits up to 1e4, constant and tied rows give finite losses and gradients"""
    for dtype in (torch.float32, torch.bfloat16):
        _require_finite(case, case.extreme_batch().cast(dtype), f"{dtype} logits of 1e4 and constant rows")


def _require_finite(case: ComponentCase, batch: Batch, description: str) -> None:
    loss = case.loss()
    output, gradient = forward_backward(loss, batch)
    remedy = "stay in log-space, guard divisions and roots of zero"
    require(output.total.isfinite(), f"the loss is {float(output.total.detach())} for {description}: {remedy}")
    require(gradient.isfinite().all(), f"the gradient is not finite for {description}: {remedy}")
    own = [p.grad.isfinite().all() for p in loss.parameters() if p.grad is not None]
    require(all(own), f"the gradient on its own parameters is not finite for {description}: {remedy}")
    for name, value in _audited(output).items():
        require(value.isfinite().all(), f"the audit's {name} is not finite for {description}: {remedy}")


def _audited(output: LossOutput) -> dict[str, Tensor]:
    """The entries of the audit that a component can influence, as tensors."""
    if output.audit is None:
        return {}
    audit = output.audit
    return {
        "temperature": torch.as_tensor(audit.temperature),
        "weight": audit.weight,
        "teacher_log_probs": audit.teacher_log_probs,
        "target": audit.target,
    }


@check(*COMPONENT_TYPES)
def equivariant_to_batch_order(case: ComponentCase) -> None:
    """the order of the samples in the batch changes nothing but the order of the results"""
    batch = case.plain_batch()
    order = torch.randperm(len(batch.label), generator=torch.Generator().manual_seed(1))
    output, gradient = forward_backward(case.loss(), batch)
    reordered, reordered_gradient = forward_backward(case.loss(), batch.reordered(order))
    require_close(reordered.total, output.total, "the loss depends on the order of the samples")
    require_close(reordered_gradient, gradient[order], "the gradient depends on the order of the samples")
    after = _audited(reordered)
    for name, value in _audited(output).items():
        expected = value[order] if value.dim() else value
        require_close(after[name], expected, f"the audit's {name} depends on the order of the samples")


@check(*COMPONENT_TYPES)
def no_gradient_to_the_teacher(case: ComponentCase) -> None:
    """nothing on the teacher's side carries gradient"""
    batch = case.plain_batch()
    teacher = batch.teacher.requires_grad_()
    forward_backward(case.loss(), batch)
    require(teacher.grad is None, "gradient reached the teacher's logits: the teacher would be trained")


@check(*COMPONENT_TYPES)
def accepts_unlabeled_samples(case: ComponentCase) -> None:
    """samples without a label (-1), some or all of the batch, give finite losses and gradients"""
    _require_finite(case, case.plain_batch(), "a batch with unlabeled samples")
    batch = case.plain_batch()
    no_label = torch.full_like(batch.label, UNLABELED)
    _require_finite(case, replace(batch, label=no_label), "a batch without any label")


@check(*COMPONENT_TYPES)
def accepts_an_abstaining_student(case: ComponentCase) -> None:
    """a student with classes + 1 outputs is accepted; only a loss that wants a reservation trains the last one"""
    batch = with_reservation(case.plain_batch())
    _require_finite(case, batch, "a student with classes + 1 outputs")
    _, gradient = forward_backward(case.loss(), batch)
    if declares(case.info.cls, "wants_reservation"):
        require((gradient[:, -1] != 0).any(), "it wants a reservation and gives it no gradient")
    elif case.info.kind == "loss":
        require((gradient[:, -1] == 0).all(), "a loss without wants_reservation has a gradient on the reservation")


@check(*COMPONENT_TYPES)
def keeps_its_state_in_the_checkpoint(case: ComponentCase) -> None:
    """state that it keeps between batches is in its state_dict; a plain object keeps none"""
    first, second = case.plain_batch(seed=1), case.plain_batch(seed=2)
    used, resumed = case.loss(), case.loss()
    forward_backward(used, first)
    resumed.load_state_dict(used.state_dict())
    (expected, _), (actual, _) = forward_backward(used, second), forward_backward(resumed, second)
    require(
        torch.equal(actual.total, expected.total),
        "after a resume its loss differs: hold state in buffers or parameters of an nn.Module",
    )


@check(*COMPONENT_TYPES)
def compiles_without_graph_breaks(case: ComponentCase) -> None:
    """torch.compile captures it as one graph and changes no value"""
    batch = case.plain_batch()
    expected, gradient = forward_backward(case.loss(), batch)
    torch._dynamo.reset()
    loss = case.loss()
    loss.compile(fullgraph=True, backend="eager")
    compiled, compiled_gradient = forward_backward(loss, batch)
    require_close(compiled.total, expected.total, "the compiled loss differs")
    require_close(compiled_gradient, gradient, "the compiled gradient differs")


class _NoMaskedAssignment(TorchDispatchMode):
    """Refuses ``values[mask] = tensor``, which fake tensors accept but a GPU waits for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if "index_put" in func.__name__:
            masks = [index for index in args[1] if index is not None and index.dtype == torch.bool]
            require(not masks, "values[mask] = tensor waits for the device: use torch.where")
        return func(*args, **(kwargs or {}))


@check(*COMPONENT_TYPES)
def no_host_sync(case: ComponentCase) -> None:
    """a training step never waits for the device: no .item(), no branch on a tensor, no boolean-mask gather"""
    loss = case.loss()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    batch = case.plain_batch()
    tensors = (batch.student, batch.teacher, batch.label, batch.index)
    fake = Batch(*(mode.from_tensor(tensor) for tensor in tensors))
    with mode, _NoMaskedAssignment():  # type: ignore[no-untyped-call]
        forward_backward(loss, fake)


@check(*COMPONENT_TYPES)
def follows_the_device(case: ComponentCase) -> None:
    """it computes where its inputs are: no .cpu(), no .numpy(), no constant made on another device"""
    component = case.build()
    if isinstance(component, nn.Module):
        component = component.to("meta")
    result = case.call(component, case.plain_batch().to("meta"))
    if isinstance(result, Tensor):
        require(result.device.type == "meta", f"inputs on one device, the result on {result.device}")


@check("temperature", "selection")
def no_gradient_to_the_student(case: ComponentCase) -> None:
    """the student's gradient is the one it gets from the same numbers as constants"""
    batch = plain_batch()
    output, gradient = forward_backward(case.loss(), batch)
    assert output.audit is not None
    value = output.audit.temperature if case.info.kind == "temperature" else output.audit.weight
    _, expected = forward_backward(case.loss(**{case.info.kind: Constant(value, like=case.build())}), batch)
    require_close(gradient, expected, "the gradient goes through its own temperature or weight: detach it", 1e-6)


@check("loss", "temperature")
def depends_on_the_label_as_declared(case: ComponentCase) -> None:
    """one without uses_label = True is the same for every label"""
    if declares(case.info.cls, "uses_label"):
        return
    batch = case.plain_batch()
    classes, expected = batch.teacher.shape[1], torch.as_tensor(case.call(case.build(), batch))
    for shift in range(1, classes):
        other = replace(batch, label=(batch.label + shift) % classes)
        same = torch.equal(torch.as_tensor(case.call(case.build(), other)), expected)
        require(same, "another label changes the result: declare uses_label = True")
