"""The checks a component must pass, for one component or for every registered one."""

from collections.abc import Callable, Collection, Mapping
from inspect import signature
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from preceptor.component_types import ComponentType
from preceptor.conformance import losses, shared, teacher_side  # noqa: F401  (add checks)
from preceptor.conformance.batch import Batch, plain_selection_data
from preceptor.conformance.check import Check, ComponentCase, ConformanceError, functions_for, require
from preceptor.context import BatchContext, ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.registry import ComponentInfo, components, find_component

Reference = Callable[..., Any]
"""An independent NumPy (float64) derivation of a component, with the component's own arguments as arrays.

For a temperature or a selection it gets an object with the fields of :class:`preceptor.BatchContext`; for a fitted
component one more, with those of :class:`preceptor.context.SelectionData`. It returns what the component returns; for a
correction it returns probabilities, which may be zero, not their logarithms.

A loss may make something of the student's logits (or features) that carries no gradient: a target, a weight, a rank. A
reference that would follow them takes an argument ``held``: they, constant while its finite differences are taken.
"""

STEP = 1e-6
"""Of finite differences of a reference."""


def checks_for(
    info: ComponentInfo,
    *,
    options: Mapping[str, Any] | None = None,
    reference: Reference | None = None,
    kinks: Collection[str] = (),
) -> list[Check]:
    """The checks a component must pass.

    Args:
        info: the registered component.
        options: the options to build it with. Default: the class's attribute ``conformance_options`` when it has one (a
            component with required options needs it), else its defaults.
        reference: an independent derivation in NumPy that it must agree with, a loss in its gradient, too.
        kinks: degenerate batches (see ``conformance.batch``) on which it has no derivative; values alone count there.
    """
    build_options = dict(getattr(info.cls, "conformance_options", {}) if options is None else options)
    checks = [
        Check(run.__name__, (run.__doc__ or "").strip().splitlines()[0], run, build_options)
        for run in functions_for(info.kind)
    ]
    if reference is not None:
        checks.append(_agreement(reference, build_options, kinks))
    return checks


def check_component(
    kind: ComponentType,
    name: str,
    *,
    options: Mapping[str, Any] | None = None,
    reference: Reference | None = None,
    kinks: Collection[str] = (),
) -> None:
    """Run every check on a registered component. See :func:`checks_for` for the arguments.

    Raises:
        InputError: no such component.
        ConformanceError: one line for every check that failed.
    """
    info = find_component(kind, name)
    failures = []
    for check in checks_for(info, options=options, reference=reference, kinks=kinks):
        try:
            check(info)
        except ConformanceError as error:
            failures.append(str(error))
    if failures:
        raise ConformanceError("\n".join(failures))


def conformance_cases() -> list[tuple[ComponentInfo, Check]]:
    """Every check of every component that is registered, built in or a third party's."""
    return [(info, check) for info in components() for check in checks_for(info)]


def _agreement(reference: Reference, options: Mapping[str, Any], kinks: Collection[str]) -> Check:
    def agrees_with_its_reference(case: ComponentCase) -> None:
        batches = {f"batch {seed}": case.plain_batch(16, torch.float64, seed) for seed in range(4)}
        batches |= case.degenerate_batches(16, torch.float64)
        unknown = set(kinks) - set(batches)
        require(not unknown, f"kinks = {sorted(unknown)}: expected some of {', '.join(batches)}")
        seen: list[list[Tensor]] = []
        for name, batch in batches.items():
            tensors = shared.tensors_of(case.arguments(case.build_unfitted(torch.float64), batch))
            if any(all(map(torch.equal, tensors, others)) for others in seen):
                continue  # it differs in labels alone, which the component does not see
            seen.append(tensors)
            _require_equal_values(case, batch, reference, name)
            if case.info.kind in ("loss", "label_loss", "feature_loss") and name not in kinks:
                _require_equal_gradients(case, batch, reference, name)

    description = "value and gradient agree with an independent derivation in NumPy"
    return Check(agrees_with_its_reference.__name__, description, agrees_with_its_reference, options)


def _require_equal_values(case: ComponentCase, batch: Batch, reference: Reference, name: str) -> None:
    component = case.build(torch.float64)
    actual = _as_arrays(case.call(component, batch))
    if case.info.kind == "correction":
        actual = np.exp(actual)
    expected = np.asarray(reference(*_reference_arguments(case, batch)), dtype=np.float64)
    require(actual.shape == expected.shape, f"{name}: shape {actual.shape}, the reference has {expected.shape}")
    difference = float(np.abs(actual - expected).max())
    require(difference <= 1e-9 * max(1.0, np.abs(expected).max()), f"{name}: they differ by {difference:.3g}")


def _require_equal_gradients(case: ComponentCase, batch: Batch, reference: Reference, name: str) -> None:
    """The gradient of a random sum of the losses, along a random direction: a wrong entry anywhere changes it."""
    generator = torch.Generator().manual_seed(0)
    component = case.build(torch.float64)
    first, *rest = case.arguments(component, batch)
    student = [one.clone().requires_grad_() for one in (first if isinstance(first, tuple) else (first,))]
    loss = component(tuple(student) if isinstance(first, tuple) else student[0], *rest)
    factor = torch.randn(loss.shape, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad((factor * loss).sum(), student)

    own, *others = _reference_arguments(case, batch)
    held = {"held": own} if "held" in signature(reference).parameters else {}
    along = [torch.randn(one.shape, generator=generator, dtype=torch.float64) for one in student]

    def of_reference(step: float) -> float:
        parts = tuple((one.detach() + step * other).numpy() for one, other in zip(student, along, strict=True))
        values = reference(parts if isinstance(own, tuple) else parts[0], *others, **held)
        return float((factor.numpy() * values).sum())

    actual = sum(float((one * other).sum()) for one, other in zip(gradients, along, strict=True))
    expected = (of_reference(STEP) - of_reference(-STEP)) / (2 * STEP)
    size = max(float(torch.cat([one.flatten() for one in gradients]).norm()), abs(expected))
    difference = abs(actual - expected)
    require(
        difference <= 1e-5 * size + 1e-7,
        f"{name}: its gradient and finite differences of the reference differ by {difference:.3g}",
    )


def _reference_arguments(case: ComponentCase, batch: Batch) -> tuple[Any, ...]:
    arguments = case.arguments(case.build_unfitted(torch.float64), batch)
    selection_data = (plain_selection_data(torch.float64),) if case.needs_fit else ()
    return tuple(map(_as_arrays, (*arguments, *selection_data)))


def _as_arrays(value: Any) -> Any:
    """Tensors and numbers as NumPy arrays, dataclasses of them as objects; anything else as it is."""
    if isinstance(value, tuple | list):
        return tuple(map(_as_arrays, value))
    if isinstance(value, BatchContext | SelectionData | TeacherSnapshot | ModelOutputs):
        return SimpleNamespace(**{name: _as_arrays(part) for name, part in vars(value).items()})
    if isinstance(value, Tensor):
        return value.detach().numpy()
    return np.asarray(value, dtype=np.float64) if isinstance(value, int | float) else value
