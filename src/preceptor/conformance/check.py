"""A check, the component it is run on, and the error it raises."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.audit import LossOutput
from preceptor.conformance.batch import POSITIONS, Batch, extreme_batch, plain_batch, plain_evidence, with_reservation
from preceptor.corrections import LabelRevision
from preceptor.loss import DistillationLoss
from preceptor.loss_terms import LossTerm
from preceptor.losses import KL
from preceptor.registry import ComponentInfo, ComponentType, is_batch_statistic, wants_index, wants_reservation
from preceptor.temperatures import Fixed

TEMPERATURE = 2.0
LONGEST_REASON = 400


class ConformanceError(AssertionError):
    """A component breaks a guarantee that every component of its kind makes."""


@dataclass(frozen=True)
class Subject:
    """The component under check: what is registered, and the options it is built with."""

    info: ComponentInfo
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_fitted_first(self) -> bool:
        """Whether the component is settled before training, on evidence."""
        return callable(getattr(self.info.cls, "fit", None))

    def build(self, dtype: torch.dtype = torch.float32) -> Any:
        """A fresh component, the same one every time: state and parameters start alike, and it is fitted if it can be."""
        component = self.build_unfitted(dtype)
        if self.is_fitted_first:
            component.fit(plain_evidence(dtype))
        return component

    def build_unfitted(self, dtype: torch.dtype = torch.float32) -> Any:
        """The same before it is fitted."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            component = self.info.cls(**self.options)
        if callable(getattr(component, "expect_samples", None)):
            component.expect_samples(POSITIONS)
        return component.to(dtype) if isinstance(component, nn.Module) else component

    def loss(self, **seats: Any) -> DistillationLoss:
        """A chain that holds a fresh component in its seat; the other seats are the plainest ones unless given."""
        component = self.build()
        if self.info.kind == "label_loss":
            return DistillationLoss(**{"terms": {"loss": LossTerm(component)}, **seats})
        if self.info.kind == "loss":
            plain = {
                "correction": LabelRevision(),
                "temperature": Fixed(TEMPERATURE),
                "terms": {"loss": LossTerm(component)},
            }
        else:
            plain = {"temperature": Fixed(TEMPERATURE), "terms": {"loss": LossTerm(KL())}, self.info.kind: component}
        return DistillationLoss(**{**plain, **seats})

    def arguments(self, component: Any, batch: Batch, temperature: float | Tensor = TEMPERATURE) -> tuple[Any, ...]:
        """What a chain hands the component."""
        match self.info.kind:
            case "correction":
                said = (batch.teacher / temperature).log_softmax(dim=1)
                return said, batch.taught_label, batch.context.teacher_class
            case "loss":
                handed = batch.student, self.target(component, batch), temperature, batch.taught_label
                return (*handed, torch.ones_like(batch.student[:, 0])) if is_batch_statistic(self.info.cls) else handed
            case "label_loss":
                told = batch.student, batch.taught_label
                return (*told, batch.index) if wants_index(self.info.cls) else told
            case _:
                return (batch.context,)

    def plain_batch(self, samples: int = 8, dtype: torch.dtype = torch.float32, seed: int = 0) -> Batch:
        """:func:`plain_batch`, from a student that may abstain where the component wants one."""
        return self.suited(plain_batch(samples, dtype, seed))

    def extreme_batch(self) -> Batch:
        """:func:`extreme_batch`, from a student that may abstain where the component wants one."""
        return self.suited(extreme_batch())

    def suited(self, batch: Batch) -> Batch:
        """The batch as it is, or from a student with one more output where the component wants one."""
        return with_reservation(batch) if wants_reservation(self.info.cls) else batch

    def call(self, component: Any, batch: Batch, temperature: float | Tensor = TEMPERATURE) -> Any:
        """Call the component itself as a chain would."""
        return component(*self.arguments(component, batch, temperature))

    def target(self, component: Any, batch: Batch) -> Tensor:
        """What a match is handed: the teacher's logits, or its log-probabilities at ``TEMPERATURE``."""
        return batch.teacher if component.target_space == "logits" else (batch.teacher / TEMPERATURE).log_softmax(dim=1)


@dataclass(frozen=True)
class Check:
    """One guarantee and how it is tested. Call it with a component's info.

    Raises:
        ConformanceError: the component breaks the guarantee, or fails while it is tested.
    """

    name: str
    guarantee: str
    run: Callable[[Subject], None]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, info: ComponentInfo) -> None:
        """Test the component, built with the check's options."""
        try:
            self.run(Subject(info, self.options))
        except Exception as error:
            reason = str(error) if isinstance(error, ConformanceError) else f"{type(error).__name__}: {error}"
            line = shorten(
                reason, LONGEST_REASON, placeholder=" ..."
            )  # the whole of it is in the error this comes from
            raise ConformanceError(
                f"{info.kind} component {info.name!r} fails {self.name!r} ({self.guarantee}): {line}"
            ) from error

    def __str__(self) -> str:
        """The name, which test frameworks show."""
        return self.name


CheckFunction = Callable[[Subject], None]

_checks: list[tuple[tuple[ComponentType, ...], CheckFunction]] = []


def check(*kinds: ComponentType) -> Callable[[CheckFunction], CheckFunction]:
    """Add a function to the suite for these kinds of component. Its docstring's first line is the guarantee."""

    def add(function: CheckFunction) -> CheckFunction:
        _checks.append((kinds, function))
        return function

    return add


def functions_for(kind: ComponentType) -> list[CheckFunction]:
    """The check functions for one kind of component, in the order they were written."""
    return [function for kinds, function in _checks if kind in kinds]


def require(condition: object, message: str) -> None:
    """Raise a :class:`ConformanceError` unless the condition holds."""
    if not condition:
        raise ConformanceError(message)


def require_close(found: Tensor, expected: Tensor, message: str, tolerance: float = 1e-5) -> None:
    """Raise a :class:`ConformanceError` unless two tensors agree, relative to the largest expected value."""
    require(found.shape == expected.shape, f"{message}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    found, expected = found.detach().double().flatten(), expected.detach().double().flatten()
    scale = max(1.0, float(expected.abs().amax())) if len(expected) else 1.0
    difference = float((found - expected).abs().amax()) if len(expected) else 0.0
    require(difference <= tolerance * scale, f"{message}: they differ by {difference:.3g}")


def learn(loss: DistillationLoss, batch: Batch) -> tuple[LossOutput, Tensor]:
    """Run a chain forward and backward; its terms and the gradient on the student's logits."""
    student = batch.student.detach().requires_grad_()
    outcome = loss(student, batch.teacher, batch.label, **batch.given)
    outcome.total.backward()
    return outcome, torch.zeros_like(student) if student.grad is None else student.grad
