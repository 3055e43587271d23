"""Where a failed step first becomes non-finite: the step is taken again, uncompiled, and examined place by place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from preceptor.loss_output import LossOutput
from preceptor.registry import registered_name
from preceptor.training.batches import Batch
from preceptor.training.config import learning_rate_of
from preceptor.training.failure import FaultLocation, Place, Sample, Value

if TYPE_CHECKING:
    from preceptor.training.step import Step
    from preceptor.training.student import StudentTrainer


def locate_non_finite(step: "Step", student: "StudentTrainer") -> FaultLocation:
    """Where a step first becomes non-finite, in the order in which its parts are computed.

    The student must be as it was before the step; the step changes it, as far as this gets.
    """
    rate, spoilt = learning_rate_of(student.optimizer), student.non_finite()
    compiled, student.forward = student.forward, student.model
    try:
        with _watched(student, step.batch) as watch:
            logits, output = student.forward_and_loss(step)
            places = _faults(step, student, logits, output, watch)
            fault = FaultLocation("weights", spoilt[0]) if spoilt else next(filter(None, places))
    finally:
        student.forward = compiled
    return replace(
        fault,
        batch=len(logits),
        student_largest=_largest(logits),
        teacher_largest=None if step.teacher is None else _largest(step.teacher.logits),
        learning_rate=rate,
    )


def _faults(
    step: "Step", student: "StudentTrainer", logits: Tensor, output: LossOutput, watch: "_Watch"
) -> Iterator[FaultLocation | None]:
    """Place by place, in the order in which they are computed; None where all is finite."""
    loss, batch, audit = student.student.loss, step.batch, output.audit
    if step.teacher is not None:
        used = loss.teacher_mask(batch.index).unsqueeze(1)
        yield _fault(batch, "teacher", None, torch.where(used, step.teacher.logits, 0))
    if _value(logits):
        yield watch.forward or _fault(batch, "student", None, logits)
    if audit is not None:
        queried = audit.queried.unsqueeze(1)
        log_probs, target = torch.where(queried, audit.teacher_log_probs, 0), torch.where(queried, audit.target, 0)
        yield _fault(batch, "temperature", registered_name(loss.temperature), log_probs)
        yield _fault(batch, "correction", registered_name(loss.correction), target)
        yield _fault(batch, "selection", registered_name(loss.selection), audit.weight)
    broken = [name for name, value in output.losses.items() if _value(value)]
    for name in broken[:1]:
        yield FaultLocation("term", name, _value(output.losses[name]), tuple(broken), watch.samples.get(name, ()))
    yield _fault(batch, "total", "total", output.total)
    yield _in_gradients(student, batch, logits, output, watch)
    student.train_step(step)
    yield from [FaultLocation("update", name) for name in student.non_finite()]
    yield FaultLocation("unknown") if bool(student.is_finite()) else FaultLocation("total", "total", "inf")


def _in_gradients(
    student: "StudentTrainer", batch: Batch, logits: Tensor, output: LossOutput, watch: "_Watch"
) -> FaultLocation | None:
    network, loss = student.student.network, student.student.loss
    named = {**dict(network.named_parameters()), **dict(loss.named_parameters(prefix="loss"))}
    parameters = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    broken: dict[str, tuple[Tensor | None, ...]] = {}
    for name, value in {**output.losses, "total": output.total}.items():
        if value.requires_grad:
            sources, watch.came_from = [logits, *parameters.values()], ""
            gradients = torch.autograd.grad(value, sources, retain_graph=True, allow_unused=True)
            if any(map(_value, gradients)):
                broken[name] = gradients
    if not broken:
        return None
    terms = tuple(name for name in broken if name in output.losses)
    at_logits = [gradients[0] for gradients in broken.values() if gradients[0] is not None and _value(gradients[0])]
    if at_logits:
        rows = torch.stack([~gradient.isfinite() for gradient in at_logits]).any(dim=0)
        return FaultLocation("gradient", "the student's logits", _value(at_logits[0]), terms, _samples(batch, rows))
    if watch.backward is not None:
        return replace(watch.backward, terms=terms)
    named_gradients = [*zip(parameters, next(iter(broken.values()))[1:], strict=True)]
    at, gradient = [one for one in named_gradients if _value(one[1])][-1]  # the way back begins with the last layer
    return FaultLocation("gradient", at, _value(gradient), terms)


@dataclass
class _Watch:
    """What is noted while the step is taken: the first layers at fault, and by term the samples whose loss is."""

    batch: Batch
    forward: FaultLocation | None = None
    backward: FaultLocation | None = None
    samples: dict[str, tuple[Sample, ...]] = field(default_factory=dict)
    came_from: str = ""

    def layer(self, name: str, module: nn.Module, arguments: object, output: object) -> None:
        if isinstance(output, Tensor):
            self.forward = self.forward or _fault(self.batch, "student", name, output)
            if output.requires_grad:
                output.register_hook(partial(self.gradient, name))

    def gradient(self, name: str, gradient: Tensor) -> None:
        at = f"the output of layer {name}{self.came_from}"
        self.backward = self.backward or _fault(self.batch, "gradient", at, gradient)
        self.came_from = f", coming back from layer {name}"

    def losses(self, name: str, reduce: Callable[..., Tensor], losses: Tensor, weight: Tensor, *rest: Tensor) -> Tensor:
        # Called once a label: of mixed inputs either label's loss may be at fault.
        self.samples[name] = self.samples.get(name) or _samples(self.batch, ~losses.isfinite() & (weight != 0))
        return reduce(losses, weight, *rest)


@contextmanager
def _watched(student: "StudentTrainer", batch: Batch) -> Iterator[_Watch]:
    watch, terms = _Watch(batch), student.student.loss.terms
    leaves = {n: layer for n, layer in student.student.network.named_modules() if n and not any(layer.children())}
    hooks = [
        layer.register_forward_hook(partial(watch.layer, f"{name} ({type(layer).__name__})"))
        for name, layer in leaves.items()
    ]
    for name, term in terms.items():
        setattr(term, "reduce", partial(watch.losses, name, term.reduce))  # noqa: B010 (a method, to type checkers)
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()
        for term in terms.values():
            del term.reduce


def _fault(batch: Batch, place: Place, at: str | None, values: Tensor) -> FaultLocation | None:
    value = _value(values)
    return value and FaultLocation(place, at, value, samples=_samples(batch, ~values.isfinite()))


def _value(values: Tensor | None) -> Value | None:
    """What there is that is not finite."""
    if values is None or bool(values.isfinite().all()):
        return None
    return "nan" if bool(values.isnan().any()) else "inf"


def _samples(batch: Batch, broken: Tensor) -> tuple[Sample, ...]:
    """The samples of the rows in which something is true, where there is a row for each sample."""
    size = len(batch.label)
    if broken.dim() == 0 or len(broken) != size:
        return ()
    rows = broken.reshape(size, -1).any(dim=1).cpu()
    columns = (batch.own_index[rows], batch.label.cpu()[rows], batch.view[rows])
    return tuple(Sample(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


def _largest(logits: Tensor) -> float | None:
    finite = logits.detach().float().abs()
    finite = finite[finite.isfinite()]
    return float(finite.max()) if len(finite) else None
