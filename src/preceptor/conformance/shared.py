"""Checks that hold for every kind of component, most of them through a chain."""

from copy import deepcopy
from dataclasses import replace
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from preceptor.audit import LossOutput
from preceptor.conformance.batch import Batch, with_reservation
from preceptor.conformance.check import Subject, check, learn, require, require_close
from preceptor.context import UNLABELED, BatchContext
from preceptor.registry import COMPONENT_TYPES, build_component, options, wants_reservation


@check(*COMPONENT_TYPES)
def builds_from_a_recipe(subject: Subject) -> None:
    """a recipe can build it by name, and every default is a value a recipe may give"""
    info = subject.info
    defaults = {key: option.default for key, option in options(info).items() if option.default is not Parameter.empty}
    component = build_component(info.kind, info.name, {**defaults, **subject.options})
    require(type(component) is info.cls, f"the name builds a {type(component).__name__}, not a {info.cls.__name__}")
    require(info.paper.strip(), "say where the method comes from: register(..., paper=...)")


@check(*COMPONENT_TYPES)
def leaves_its_inputs_alone(subject: Subject) -> None:
    """it changes none of the tensors it is handed, some of which are cached"""
    component = subject.build()
    handed = subject.arguments(component, subject.plain_batch())
    before = deepcopy(handed)
    component(*handed)
    for now, then in zip(_tensors(handed), _tensors(before), strict=True):
        require(torch.equal(now, then), "a tensor was changed in place: work on a copy, or with torch.where")


def _tensors(handed: tuple[Any, ...]) -> list[Tensor]:
    """The tensors among a component's arguments, those of a lesson included."""
    parts = [
        part for value in handed for part in (vars(value).values() if isinstance(value, BatchContext) else [value])
    ]
    return [part for part in parts if isinstance(part, Tensor)]


@check(*COMPONENT_TYPES)
def finite_in_half_precision(subject: Subject) -> None:
    """bfloat16 and float16 logits give finite losses and gradients"""
    for dtype in (torch.bfloat16, torch.float16):
        _require_finite(subject, subject.plain_batch().cast(dtype), f"{dtype} logits")


@check(*COMPONENT_TYPES)
def finite_at_extreme_logits(subject: Subject) -> None:
    """logits up to 1e4, constant and tied rows give finite losses and gradients"""
    for dtype in (torch.float32, torch.bfloat16):
        _require_finite(subject, subject.extreme_batch().cast(dtype), f"{dtype} logits of 1e4 and constant rows")


def _require_finite(subject: Subject, batch: Batch, given: str) -> None:
    loss = subject.loss()
    outcome, gradient = learn(loss, batch)
    remedy = "stay in log-space, guard divisions and roots of zero"
    require(outcome.total.isfinite(), f"the loss is {float(outcome.total.detach())} for {given}: {remedy}")
    require(gradient.isfinite().all(), f"the gradient is not finite for {given}: {remedy}")
    learned = [p.grad.isfinite().all() for p in loss.parameters() if p.grad is not None]
    require(all(learned), f"the gradient on its own parameters is not finite for {given}: {remedy}")
    for name, value in _tapped(outcome).items():
        require(value.isfinite().all(), f"the audit's {name} is not finite for {given}: {remedy}")


def _tapped(outcome: LossOutput) -> dict[str, Tensor]:
    """What the audit tap holds that a component can influence, as tensors."""
    if outcome.audit is None:
        return {}
    audit = outcome.audit
    return {
        "temperature": torch.as_tensor(audit.temperature),
        "weight": audit.weight,
        "said": audit.teacher_log_probs,
        "target": audit.target,
    }


@check(*COMPONENT_TYPES)
def equivariant_to_batch_order(subject: Subject) -> None:
    """the order of the samples in the batch changes nothing but the order of the results"""
    batch = subject.plain_batch()
    order = torch.randperm(len(batch.label), generator=torch.Generator().manual_seed(1))
    (outcome, gradient), (turned, turned_gradient) = (
        learn(subject.loss(), given) for given in (batch, batch.reordered(order))
    )
    require_close(turned.total, outcome.total, "the loss depends on the order of the samples")
    require_close(turned_gradient, gradient[order], "the gradient depends on the order of the samples")
    after = _tapped(turned)
    for name, value in _tapped(outcome).items():
        expected = value[order] if value.dim() else value
        require_close(after[name], expected, f"the audit's {name} depends on the order of the samples")


@check(*COMPONENT_TYPES)
def no_gradient_to_the_teacher(subject: Subject) -> None:
    """nothing on the teacher's side carries gradient"""
    batch = subject.plain_batch()
    teacher = batch.teacher.requires_grad_()
    learn(subject.loss(), batch)
    require(teacher.grad is None, "gradient reached the teacher's logits: the teacher would be trained")


@check(*COMPONENT_TYPES)
def accepts_unlabeled_samples(subject: Subject) -> None:
    """samples without a label (-1), some or all of the batch, give finite losses and gradients"""
    _require_finite(subject, subject.plain_batch(), "a batch with unlabeled samples")
    batch = subject.plain_batch()
    everything = torch.full_like(batch.label, UNLABELED)
    _require_finite(subject, replace(batch, label=everything), "a batch without any label")


@check(*COMPONENT_TYPES)
def accepts_an_abstaining_student(subject: Subject) -> None:
    """a student with one more output than classes is accepted; a match that does not want it does not see it"""
    batch = with_reservation(subject.plain_batch())
    _require_finite(subject, batch, "a student with classes + 1 outputs")
    _, gradient = learn(subject.loss(), batch)
    if wants_reservation(subject.info.cls):
        require((gradient[:, -1] != 0).any(), "it wants the output to abstain with, and teaches it nothing")
    elif subject.info.kind == "loss":
        require((gradient[:, -1] == 0).all(), "a match taught the output that a student abstains with")


@check(*COMPONENT_TYPES)
def keeps_its_state_in_the_checkpoint(subject: Subject) -> None:
    """what it remembers between batches is in its state_dict; a plain object remembers nothing"""
    first, second = subject.plain_batch(seed=1), subject.plain_batch(seed=2)
    used, resumed = subject.loss(), subject.loss()
    learn(used, first)
    resumed.load_state_dict(used.state_dict())
    (expected, _), (found, _) = learn(used, second), learn(resumed, second)
    require(
        torch.equal(found.total, expected.total),
        "after a resume it goes on otherwise: hold state in buffers or parameters of an nn.Module",
    )


@check(*COMPONENT_TYPES)
def compiles_without_graph_breaks(subject: Subject) -> None:
    """torch.compile takes it whole and changes no value"""
    batch = subject.plain_batch()
    expected, gradient = learn(subject.loss(), batch)
    torch._dynamo.reset()
    loss = subject.loss()
    loss.compile(fullgraph=True, backend="eager")
    compiled, compiled_gradient = learn(loss, batch)
    require_close(compiled.total, expected.total, "the compiled loss differs")
    require_close(compiled_gradient, gradient, "the compiled gradient differs")


class _NoMaskedAssignment(TorchDispatchMode):
    """Refuses ``values[mask] = tensor``, which fake tensors let pass but a GPU stops for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if "index_put" in func.__name__:
            masks = [index for index in args[1] if index is not None and index.dtype == torch.bool]
            require(not masks, "values[mask] = tensor waits for the device: use torch.where")
        return func(*args, **(kwargs or {}))


@check(*COMPONENT_TYPES)
def no_host_sync(subject: Subject) -> None:
    """a training step never waits for the device: no .item(), no branch on a tensor, no boolean-mask gather"""
    loss = subject.loss()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    batch = subject.plain_batch()
    tensors = (batch.student, batch.teacher, batch.label, batch.index)
    fake = Batch(*(mode.from_tensor(tensor) for tensor in tensors))
    with mode, _NoMaskedAssignment():  # type: ignore[no-untyped-call]
        learn(loss, fake)


@check(*COMPONENT_TYPES)
def follows_the_device(subject: Subject) -> None:
    """it computes where its inputs are: no .cpu(), no .numpy(), no constant made on another device"""
    component = subject.build()
    if isinstance(component, nn.Module):
        component = component.to("meta")
    found = subject.call(component, subject.plain_batch().to("meta"))
    if isinstance(found, Tensor):
        require(found.device.type == "meta", f"inputs on one device, the result on {found.device}")
