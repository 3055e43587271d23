"""A conformance check, the component case it runs on, and the error it raises."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.component_types import ComponentType, declares, rescaled
from preceptor.conformance.batch import (
    FEATURE_LAYERS,
    TRAIN_SIZE,
    Batch,
    degenerate_batches,
    extreme_batch,
    feature_maps,
    plain_batch,
    plain_selection_data,
    with_reservation,
)
from preceptor.context import BatchContext
from preceptor.corrections import LabelRevision
from preceptor.loss import DistillationLoss
from preceptor.loss_output import LossOutput
from preceptor.loss_terms import LossTerm
from preceptor.losses import KL
from preceptor.registry import ComponentInfo
from preceptor.temperatures import Fixed

TEMPERATURE = 2.0
LONGEST_REASON = 400


class ConformanceError(AssertionError):
    """A component lacks a property that every component of its type must have."""


@dataclass(frozen=True)
class ComponentCase:
    """A registered component and the options with which it is built, called as ``DistillationLoss`` calls it."""

    info: ComponentInfo
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs_fit(self) -> bool:
        return callable(getattr(self.info.cls, "fit", None))

    def build(self, dtype: torch.dtype = torch.float32) -> Any:
        """A new component, fitted if it needs to be; state and parameters are the same at every call."""
        component = self.build_unfitted(dtype)
        if self.needs_fit:
            component.fit(plain_selection_data(dtype))
        return component

    def build_unfitted(self, dtype: torch.dtype = torch.float32) -> Any:
        """The same before it is fitted."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            component = self.info.cls(**self.options)
            if self.info.kind == "feature_loss":
                student, teacher = self.feature_maps(plain_batch())
                component.resolve_layers(FEATURE_LAYERS, FEATURE_LAYERS)
                component.build_adapters(
                    [student[layer].shape for layer in component.layers],
                    [teacher[layer].shape for layer in component.layers.values()],
                )
        if callable(getattr(component, "expect_samples", None)):
            component.expect_samples(TRAIN_SIZE)
        return component.to(dtype) if isinstance(component, nn.Module) else component

    def loss(self, **slots: Any) -> DistillationLoss:
        """A distillation loss with a new component in its slot; ``slots`` replace the plain components elsewhere."""
        component = self.build()
        plain: dict[str, Any]
        match self.info.kind:
            case "label_loss" | "feature_loss":
                plain = {"terms": {"loss": LossTerm(component)}}
            case "loss":
                plain = {"correction": LabelRevision(), "terms": {"loss": LossTerm(component)}}
            case slot:
                plain = {"terms": {"loss": LossTerm(KL())}, slot: component}
        return DistillationLoss(**{"temperature": Fixed(TEMPERATURE), **plain, **slots})

    def arguments(self, component: Any, batch: Batch, temperature: float | Tensor = TEMPERATURE) -> tuple[Any, ...]:
        context = batch.context
        more = (context,) if declares(component, "wants_context") else ()
        weight = (torch.ones_like(batch.student[:, 0]),) if declares(component, "batch_statistic") else ()
        match self.info.kind:
            case "recalibration":
                return (batch.teacher,)
            case "correction":
                log_probs = (batch.teacher / temperature).log_softmax(dim=1)
                return log_probs, context.pseudo_label, context.teacher_class, *more
            case "loss":
                # The target stays at one temperature while the student's varies: both are inputs of their own.
                logits = component.target_space == "logits"
                target = batch.teacher if logits else (batch.teacher / TEMPERATURE).log_softmax(dim=1)
                index = (batch.index,) if declares(component, "wants_index") else ()
                return batch.student, target, temperature, context.pseudo_label, *index, *weight
            case "label_loss":
                index = (batch.index,) if declares(component, "wants_index") else ()
                return batch.student, context.pseudo_label, *index
            case "feature_loss":
                student, teacher = self.feature_maps(batch)
                return (
                    tuple(student[layer] for layer in component.layers),
                    tuple(teacher[layer] for layer in component.layers.values()),
                    *more,
                    *weight,
                )
            case _:
                return (context,)

    def feature_maps(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return feature_maps(batch, equal_channels=declares(self.info.cls, "equal_channels"))

    def call(self, component: Any, batch: Batch, temperature: float | Tensor = TEMPERATURE) -> Any:
        return component(*self.arguments(component, batch, temperature))

    def plain_batch(self, samples: int = 8, dtype: torch.dtype = torch.float32, seed: int = 0) -> Batch:
        return self.adapted(plain_batch(samples, dtype, seed))

    def extreme_batch(self) -> Batch:
        return self.adapted(extreme_batch())

    def degenerate_batches(self, samples: int = 8, dtype: torch.dtype = torch.float32) -> dict[str, Batch]:
        return {name: self.adapted(batch) for name, batch in degenerate_batches(samples, dtype).items()}

    def adapted(self, batch: Batch) -> Batch:
        """The batch, with one more student output where the component wants a reservation."""
        return with_reservation(batch) if declares(self.info.cls, "wants_reservation") else batch


@dataclass(frozen=True)
class Constant:
    """A temperature or a selection with this value; the temperature rescales logits as another one does."""

    value: float | Tensor
    like: Any = None

    def __call__(self, context: BatchContext) -> float | Tensor:
        return self.value

    def rescale(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        return rescaled(self.like, logits, teacher_logits)


@dataclass(frozen=True)
class Check:
    """One property and its test. Call it with a component's info.

    Raises:
        ConformanceError: the component lacks the property, or fails during the test.
    """

    name: str
    description: str
    run: Callable[[ComponentCase], None]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, info: ComponentInfo) -> None:
        try:
            self.run(ComponentCase(info, self.options))
        except Exception as error:
            reason = str(error) if isinstance(error, ConformanceError) else f"{type(error).__name__}: {error}"
            line = shorten(reason, LONGEST_REASON, placeholder=" ...")  # in full it is in the chained error
            raise ConformanceError(
                f"{info.kind} component {info.name!r} fails {self.name!r} ({self.description}): {line}"
            ) from error

    def __str__(self) -> str:
        return self.name


CheckFunction = Callable[[ComponentCase], None]

_checks: list[tuple[tuple[ComponentType, ...], CheckFunction]] = []


def check(*kinds: ComponentType) -> Callable[[CheckFunction], CheckFunction]:
    """Add a function to the suite for these component types. Its docstring's first line describes the property."""

    def add(function: CheckFunction) -> CheckFunction:
        _checks.append((kinds, function))
        return function

    return add


def functions_for(kind: ComponentType) -> list[CheckFunction]:
    """The check functions for one component type, in the order they were written."""
    return [function for kinds, function in _checks if kind in kinds]


def require(condition: object, message: str) -> None:
    """Raise a :class:`ConformanceError` unless the condition holds."""
    if not condition:
        raise ConformanceError(message)


def require_close(actual: Tensor, expected: Tensor, message: str, tolerance: float = 1e-5) -> None:
    """Raise a :class:`ConformanceError` unless two tensors agree, relative to the largest expected value."""
    require(actual.shape == expected.shape, f"{message}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}")
    actual, expected = actual.detach().double().flatten(), expected.detach().double().flatten()
    scale = max(1.0, float(expected.abs().amax())) if len(expected) else 1.0
    difference = float((actual - expected).abs().amax()) if len(expected) else 0.0
    require(difference <= tolerance * scale, f"{message}: they differ by {difference:.3g}")


def forward_backward(loss: DistillationLoss, batch: Batch) -> tuple[LossOutput, Tensor]:
    """Run a loss forward and backward; its output and the gradient on the student's logits."""
    student = batch.student.detach().requires_grad_()
    keywords = batch.keywords
    if loss.feature_losses:
        equal = any(declares(one, "equal_channels") for one in loss.feature_losses.values())
        features = feature_maps(replace(batch, student=student), equal_channels=equal)
        keywords = {**keywords, "student_features": features[0], "teacher_features": features[1]}
    output = loss(student, batch.teacher, batch.label, **keywords)
    output.total.backward()
    return output, torch.zeros_like(student) if student.grad is None else student.grad
