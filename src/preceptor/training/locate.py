"""Takes a step that goes wrong once more with a look at every component of it, to tell where it goes wrong first."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from preceptor.audit import Audit, LossOutput
from preceptor.loss import DistillationLoss
from preceptor.loss_terms import LossTerm
from preceptor.registry import registered_name
from preceptor.training.fault import FaultLocation, Sample, Stage, advice
from preceptor.training.step import Step, logits_in, take
from preceptor.training.student import Seat


@dataclass(frozen=True)
class _Spot:
    """A component that is not finite; its rows are places in the batch."""

    component: Stage
    at: str | None = None
    value: Literal["nan", "inf"] | None = None
    rows: tuple[int, ...] = ()
    terms: tuple[str, ...] = ()


def examine(step: Step, seat: Seat, precision: Literal["fp32", "bf16"]) -> FaultLocation:
    """Where a step goes wrong first, for one pupil.

    Stages are looked at in the order in which they are computed, the student uncompiled. The pupil must be as it was
    before the step; it is changed by the step, as far as this gets.
    """
    look = _Look(step, seat, precision)
    spot = look.first()
    rate = float(seat.optimizer.param_groups[0]["lr"])
    return FaultLocation(
        component=spot.component,
        at=spot.at,
        value=spot.value,
        terms=spot.terms,
        samples=_samples(step, spot.rows),
        batch=len(step.batch.label),
        student_largest=_largest(look.logits),
        teacher_largest=_largest(look.signal),
        learning_rate=rate,
        advice=advice(spot.component, rate, _largest(look.logits), precision),
    )


class _Look:
    """One step, looked at component by component."""

    def __init__(self, step: Step, seat: Seat, precision: Literal["fp32", "bf16"]) -> None:
        self.step, self.seat, self.precision = step, seat, precision
        self.loss = seat.pupil.loss
        self.signal = step.heard_by(self.loss)
        self.logits: Tensor | None = None
        self.batch = len(step.batch.label)

    def first(self) -> _Spot:
        """The first component that is not finite."""
        wild = self.seat.wild()
        if wild:
            self.logits = logits_in(self.step, self.seat.pupil.student, self.precision).detach()
            return _Spot("weights", wild[0])
        return self._in_teacher() or self._in_passes() or self._in_update() or _Spot("unknown")

    def _in_teacher(self) -> _Spot | None:
        if self.signal is None:
            return None
        asked = self.loss.teacher_mask(self.step.batch.index)
        return _spot("teacher", None, torch.where(asked.unsqueeze(1), self.signal, 0), self.batch)

    def _in_passes(self) -> _Spot | None:
        """In the forward passes of student and chain, and in the way back."""
        with _Layers(self.seat.pupil.student, self.batch) as layers:
            logits = logits_in(self.step, self.seat.pupil.student, self.precision)
            self.logits = logits.detach()
        if not bool(logits.isfinite().all()):
            return layers.forward or _spot("student", None, logits, self.batch)
        batch = self.step.batch
        with _per_sample(self.loss) as losses:
            terms = self.loss(logits, self.signal, batch.label, index=batch.index, progress=self.step.progress)
        heard = None if terms.audit is None else _in_audit(self.loss, terms.audit)
        return heard or _in_terms(terms, losses) or self._in_gradients(logits, terms, layers)

    def _in_gradients(self, logits: Tensor, terms: LossOutput, layers: "_Layers") -> _Spot | None:
        at_logits = _gradients(terms, logits)
        broken = {name: gradient for name, gradient in at_logits.items() if _value(gradient) is not None}
        if broken:
            first, *_ = broken.values()
            rows = sorted({row for gradient in broken.values() for row in _rows(gradient, self.batch)})
            return _Spot("gradient", "the student's logits", _value(first), tuple(rows), tuple(broken))
        parameters = _learning(self.seat)
        found = torch.autograd.grad(terms.total, list(parameters.values()), retain_graph=True, allow_unused=True)
        wild = [(name, one) for name, one in zip(parameters, found, strict=True) if _value(one) is not None]
        if not wild:
            return None
        affected = _terms_behind(terms, list(parameters.values()))
        if layers.backward is not None:
            return _Spot("gradient", layers.backward.at, layers.backward.value, layers.backward.rows, affected)
        name, gradient = wild[-1]  # the way back goes from the last layer to the first
        return _Spot("gradient", name, _value(gradient), (), affected)

    def _in_update(self) -> _Spot | None:
        take(self.step, self.seat, self.precision)
        wild = self.seat.wild()
        if wild:
            return _Spot("update", wild[0])
        return None if bool(self.seat.sound()) else _Spot("total", "total", "inf")


class _Layers:
    """Listens to the layers of a network: after which one an activation, or on the way back a gradient, is not finite
    first."""

    def __init__(self, network: nn.Module, batch: int) -> None:
        self._batch = batch
        leaves = {name: module for name, module in network.named_modules() if name and not any(module.children())}
        self._handles = [
            module.register_forward_hook(partial(self._said, f"{name} ({type(module).__name__})"))
            for name, module in leaves.items()
        ]
        self.forward: _Spot | None = None
        self.backward: _Spot | None = None
        self._passed: str | None = None

    def __enter__(self) -> "_Layers":
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _said(self, name: str, module: nn.Module, given: object, output: object) -> None:
        if not isinstance(output, Tensor):
            return
        self.forward = self.forward or _spot("student", name, output, self._batch)
        if output.requires_grad:
            output.register_hook(partial(self._felt, name))

    def _felt(self, name: str, gradient: Tensor) -> None:
        came_from = "" if self._passed is None else f", coming back from layer {self._passed}"
        at = f"the output of layer {name}{came_from}"
        self.backward = self.backward or _spot("gradient", at, gradient, self._batch)
        self._passed = name


@contextmanager
def _per_sample(loss: DistillationLoss) -> Iterator[dict[str, Bool[Tensor, " batch"]]]:
    """Within it a call of the chain leaves behind, by term, which samples' losses are not finite."""
    broken: dict[str, Tensor] = {}

    def listen(name: str, term: nn.Module, given: tuple[Tensor, tuple[object, ...], Tensor, dict[str, Tensor]]) -> None:
        assert isinstance(term, LossTerm)
        student, arguments, weight, groups = given
        if term.batch_statistic:
            return
        with torch.no_grad():
            losses = deepcopy(term.loss)(student, *arguments)  # type: ignore[arg-type] # one that keeps a state keeps it
        broken[name] = ~losses.isfinite() & (term.limited(weight, groups)[0] != 0)

    handles = [term.register_forward_pre_hook(partial(listen, name)) for name, term in loss.terms.items()]
    try:
        yield broken
    finally:
        for handle in handles:
            handle.remove()


def _in_audit(loss: DistillationLoss, audit: Audit) -> _Spot | None:
    asked, batch = audit.queried.unsqueeze(1), len(audit.queried)
    return (
        _spot("temperature", registered_name(loss.temperature), torch.where(asked, audit.teacher_log_probs, 0), batch)
        or _spot("correction", _name(loss.correction), torch.where(asked, audit.target, 0), batch)
        or _spot("selection", _name(loss.selection), audit.weight, batch)
    )


def _in_terms(terms: LossOutput, losses: dict[str, Tensor]) -> _Spot | None:
    broken = [name for name, loss in terms.losses.items() if _value(loss) is not None]
    if broken:
        rows = losses[broken[0]].nonzero().flatten().tolist() if broken[0] in losses else []
        return _Spot("term", broken[0], _value(terms.losses[broken[0]]), tuple(rows), tuple(broken))
    return _spot("total", "total", terms.total, 0)


def _gradients(terms: LossOutput, logits: Tensor) -> dict[str, Tensor]:
    """Of each term by the student's logits."""
    found = {}
    for name, loss in terms.losses.items():
        if loss.requires_grad:
            (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True, allow_unused=True)
            if gradient is not None:
                found[name] = gradient
    return found


def _terms_behind(terms: LossOutput, parameters: list[Tensor]) -> tuple[str, ...]:
    """The terms whose own gradient is not finite."""
    behind = []
    for name, loss in terms.losses.items():
        if loss.requires_grad:
            found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            behind += [name] if any(_value(one) is not None for one in found) else []
    return tuple(behind)


def _learning(seat: Seat) -> dict[str, Tensor]:
    """The parameters that are trained, by name."""
    named = {**dict(seat.pupil.student.named_parameters()), **dict(seat.pupil.loss.named_parameters(prefix="chain"))}
    return {name: parameter for name, parameter in named.items() if parameter.requires_grad}


def _spot(component: Stage, at: str | None, values: Tensor, batch: int) -> _Spot | None:
    value = _value(values)
    return None if value is None else _Spot(component, at, value, _rows(values, batch))


def _value(values: Tensor | None) -> Literal["nan", "inf"] | None:
    """What stands in it that is not finite."""
    if values is None or bool(values.isfinite().all()):
        return None
    return "nan" if bool(values.isnan().any()) else "inf"


def _rows(values: Tensor, batch: int) -> tuple[int, ...]:
    """The rows that are not finite, where there is one for each sample."""
    if values.dim() == 0 or len(values) != batch:
        return ()
    return tuple((~values.isfinite()).reshape(batch, -1).any(dim=1).nonzero().flatten().tolist())


def _largest(logits: Tensor | None) -> float | None:
    if logits is None:
        return None
    finite = logits.detach().float().abs()
    finite = finite[finite.isfinite()]
    return float(finite.max()) if len(finite) else None


def _samples(step: Step, rows: Sequence[int]) -> tuple[Sample, ...]:
    position, label, view = (one.tolist() for one in (step.batch.position, step.batch.label, step.batch.view))
    return tuple(Sample(position[row], label[row], view[row]) for row in rows if row < len(position))


def _name(component: object) -> str | None:
    return None if component is None else registered_name(component)
