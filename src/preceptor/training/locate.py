"""Where a failed step first becomes non-finite: the step is taken again, uncompiled, and examined place by place."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from preceptor.loss_output import LossOutput
from preceptor.loss_terms import LossTerm
from preceptor.registry import registered_name
from preceptor.training.failure import FaultLocation, Place, Sample

if TYPE_CHECKING:
    from preceptor.training.student import Step, StudentTrainer


@dataclass(frozen=True)
class _Fault:
    """A place that is not finite; rows are samples of the batch."""

    place: Place
    at: str | None = None
    value: Literal["nan", "inf"] | None = None
    rows: tuple[int, ...] = ()
    terms: tuple[str, ...] = ()


def locate_non_finite(step: "Step", student: "StudentTrainer") -> FaultLocation:
    """Where a step first becomes non-finite, in the order in which its parts are computed.

    The student must be as it was before the step; the step changes it, as far as this gets.
    """
    compiled, student.forward = student.forward, student.model
    try:
        logits, fault = _examine(step, student)
    finally:
        student.forward = compiled
    batch = step.batch
    index, label, view = batch.index_cpu.tolist(), batch.label.tolist(), batch.view.tolist()
    return FaultLocation(
        place=fault.place,
        at=fault.at,
        value=fault.value,
        terms=fault.terms,
        samples=tuple(Sample(index[row], label[row], view[row]) for row in fault.rows),
        batch=len(label),
        student_largest=_largest(logits),
        teacher_largest=None if step.teacher is None else _largest(step.teacher.logits),
        learning_rate=float(student.optimizer.param_groups[0]["lr"]),
    )


def _examine(step: "Step", student: "StudentTrainer") -> tuple[Tensor, _Fault]:
    """The student's logits and the first fault."""
    loss, batch = student.student.loss, step.batch
    spoilt = student.non_finite()
    with _layers(student.student.network, len(batch.label)) as layers, _per_sample(student) as broken_samples:
        logits, output = student.forward_and_loss(step)
        if spoilt:
            return logits, _Fault("weights", spoilt[0])
        if step.teacher is not None:
            used = loss.teacher_mask(batch.index).unsqueeze(1)
            fault = _fault("teacher", None, torch.where(used, step.teacher.logits, 0), len(batch.label))
            if fault is not None:
                return logits, fault
        if not bool(logits.isfinite().all()):
            return logits, layers.forward or _Fault("student", None, _value(logits), _rows(logits, len(batch.label)))
        fault = (
            _in_audit(student, output)
            or _in_terms(output, broken_samples)
            or _in_gradients(student, logits, output, layers)
        )
    if fault is None:
        student.train_step(step)
        spoilt = student.non_finite()
        if spoilt:
            fault = _Fault("update", spoilt[0])
        else:
            fault = _Fault("unknown") if bool(student.is_finite()) else _Fault("total", "total", "inf")
    return logits, fault


class _Layers:
    """Notes after which layer an activation, and on the way back a gradient, is the first that is not finite."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.forward: _Fault | None = None
        self.backward: _Fault | None = None
        self._came_from: str | None = None

    def on_forward(self, name: str, module: nn.Module, arguments: object, output: object) -> None:
        if isinstance(output, Tensor):
            self.forward = self.forward or _fault("student", name, output, self.batch)
            if output.requires_grad:
                output.register_hook(partial(self.on_backward, name))

    def on_backward(self, name: str, gradient: Tensor) -> None:
        came_from = "" if self._came_from is None else f", coming back from layer {self._came_from}"
        at = f"the output of layer {name}{came_from}"
        self.backward = self.backward or _fault("gradient", at, gradient, self.batch)
        self._came_from = name


@contextmanager
def _layers(network: nn.Module, batch: int) -> Iterator[_Layers]:
    layers = _Layers(batch)
    leaves = {name: module for name, module in network.named_modules() if name and not any(module.children())}
    hooks = [
        module.register_forward_hook(partial(layers.on_forward, f"{name} ({type(module).__name__})"))
        for name, module in leaves.items()
    ]
    try:
        yield layers
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _per_sample(student: "StudentTrainer") -> Iterator[dict[str, Tensor]]:
    """Within it, calling the loss notes by term which samples' losses are not finite."""
    broken: dict[str, Tensor] = {}

    def before(name: str, term: nn.Module, arguments: tuple[object, ...]) -> None:
        assert isinstance(term, LossTerm)
        outputs, others, weight, groups = arguments
        if not term.batch_statistic:
            with torch.no_grad():  # on a copy: a loss that keeps a value per sample must not see them twice
                losses = deepcopy(term.loss)(outputs, *others)  # type: ignore
            broken[name] = ~losses.isfinite() & (term.limited(weight, groups)[0] != 0)  # type: ignore[arg-type]

    hooks = [t.register_forward_pre_hook(partial(before, name)) for name, t in student.student.loss.terms.items()]
    try:
        yield broken
    finally:
        for hook in hooks:
            hook.remove()


def _in_audit(student: "StudentTrainer", output: LossOutput) -> _Fault | None:
    loss, audit = student.student.loss, output.audit
    if audit is None:
        return None
    queried, batch = audit.queried.unsqueeze(1), len(audit.queried)
    places: list[tuple[Place, object, Tensor]] = [
        ("temperature", loss.temperature, torch.where(queried, audit.teacher_log_probs, 0)),
        ("correction", loss.correction, torch.where(queried, audit.target, 0)),
        ("selection", loss.selection, audit.weight),
    ]
    faults = (
        _fault(place, None if component is None else registered_name(component), values, batch)
        for place, component, values in places
    )
    return next((fault for fault in faults if fault is not None), None)


def _in_terms(output: LossOutput, broken_samples: dict[str, Tensor]) -> _Fault | None:
    broken = [name for name, loss in output.losses.items() if _value(loss) is not None]
    if broken:
        rows = broken_samples[broken[0]].nonzero().flatten().tolist() if broken[0] in broken_samples else []
        return _Fault("term", broken[0], _value(output.losses[broken[0]]), tuple(rows), tuple(broken))
    return _fault("total", "total", output.total, 0)


def _in_gradients(student: "StudentTrainer", logits: Tensor, output: LossOutput, layers: _Layers) -> _Fault | None:
    trained = [loss for loss in output.losses.items() if loss[1].requires_grad]
    at_logits = {
        name: torch.autograd.grad(loss, logits, retain_graph=True, allow_unused=True)[0] for name, loss in trained
    }
    broken = {name: gradient for name, gradient in at_logits.items() if _value(gradient) is not None}
    if broken:
        rows = sorted({row for gradient in broken.values() for row in _rows(gradient, len(logits))})
        value = _value(next(iter(broken.values())))
        return _Fault("gradient", "the student's logits", value, tuple(rows), tuple(broken))
    network, loss = student.student.network, student.student.loss
    named = {**dict(network.named_parameters()), **dict(loss.named_parameters(prefix="loss"))}
    parameters = {name: parameter for name, parameter in named.items() if parameter.requires_grad}

    def gradients(of: Tensor) -> list[tuple[str, Tensor]]:
        of_each = torch.autograd.grad(of, list(parameters.values()), retain_graph=True, allow_unused=True)
        return [(name, one) for name, one in zip(parameters, of_each, strict=True) if _value(one) is not None]

    spoilt = gradients(output.total)
    if not spoilt:
        return None
    terms = tuple(name for name, one in trained if gradients(one))
    if layers.backward is not None:
        return _Fault("gradient", layers.backward.at, layers.backward.value, layers.backward.rows, terms)
    name, gradient = spoilt[-1]  # the way back goes from the last layer to the first
    return _Fault("gradient", name, _value(gradient), (), terms)


def _fault(place: Place, at: str | None, values: Tensor, batch: int) -> _Fault | None:
    value = _value(values)
    return None if value is None else _Fault(place, at, value, _rows(values, batch))


def _value(values: Tensor | None) -> Literal["nan", "inf"] | None:
    """What there is that is not finite."""
    if values is None or bool(values.isfinite().all()):
        return None
    return "nan" if bool(values.isnan().any()) else "inf"


def _rows(values: Tensor, batch: int) -> tuple[int, ...]:
    """The rows that are not finite, where there is one for each sample."""
    if values.dim() == 0 or len(values) != batch:
        return ()
    return tuple((~values.isfinite()).reshape(batch, -1).any(dim=1).nonzero().flatten().tolist())


def _largest(logits: Tensor) -> float | None:
    finite = logits.detach().float().abs()
    finite = finite[finite.isfinite()]
    return float(finite.max()) if len(finite) else None
