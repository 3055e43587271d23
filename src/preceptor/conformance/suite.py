"""The checks a component must pass, for one component or for every registered one."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from preceptor.component_types import ComponentType
from preceptor.conformance import losses, shared, teacher_side  # noqa: F401  (add checks)
from preceptor.conformance.batch import plain_selection_data
from preceptor.conformance.check import Check, ComponentCase, ConformanceError, functions_for, require
from preceptor.context import BatchContext, ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.registry import ComponentInfo, components, find_component

Reference = Callable[..., Any]
"""An independent NumPy (float64) derivation of a component, with the component's own arguments as arrays.

For a temperature or a selection it gets an object with the fields of :class:`preceptor.BatchContext`; for a fitted
component one more, with those of :class:`preceptor.context.SelectionData`. It returns what the component returns; for a
correction it returns probabilities, which may be zero, not their logarithms.
"""


def checks_for(
    info: ComponentInfo, *, options: Mapping[str, Any] | None = None, reference: Reference | None = None
) -> list[Check]:
    """The checks a component must pass.

    Args:
        info: the registered component.
        options: the options to build it with. Default: the class's attribute ``conformance_options`` when it has one (a
            component with required options needs it), else its defaults.
        reference: an independent derivation in NumPy that it must agree with.
    """
    build_options = dict(getattr(info.cls, "conformance_options", {}) if options is None else options)
    checks = [
        Check(run.__name__, (run.__doc__ or "").strip().splitlines()[0], run, build_options)
        for run in functions_for(info.kind)
    ]
    if reference is not None:
        checks.append(_agreement(reference, build_options))
    return checks


def check_component(
    kind: ComponentType, name: str, *, options: Mapping[str, Any] | None = None, reference: Reference | None = None
) -> None:
    """Run every check on a registered component. See :func:`checks_for` for the arguments.

    Raises:
        InputError: no such component.
        ConformanceError: one line for every check that failed.
    """
    info = find_component(kind, name)
    failures = []
    for check in checks_for(info, options=options, reference=reference):
        try:
            check(info)
        except ConformanceError as error:
            failures.append(str(error))
    if failures:
        raise ConformanceError("\n".join(failures))


def conformance_cases() -> list[tuple[ComponentInfo, Check]]:
    """Every check of every component that is registered, built in or a third party's."""
    return [(info, check) for info in components() for check in checks_for(info)]


def _agreement(reference: Reference, options: Mapping[str, Any]) -> Check:
    def agrees_with_its_reference(case: ComponentCase) -> None:
        for seed in range(4):
            component = case.build(torch.float64)
            batch = case.plain_batch(samples=16, dtype=torch.float64, seed=seed)
            actual = _as_arrays(case.call(component, batch))
            if case.info.kind == "correction":
                actual = np.exp(actual)
            selection_data = (plain_selection_data(torch.float64),) if case.needs_fit else ()
            arguments = map(_as_arrays, (*case.arguments(component, batch), *selection_data))
            expected = np.asarray(reference(*arguments), dtype=np.float64)
            require(actual.shape == expected.shape, f"shape {actual.shape}, the reference has {expected.shape}")
            difference = float(np.abs(actual - expected).max())
            require(difference <= 1e-9 * max(1.0, np.abs(expected).max()), f"they differ by {difference:.3g}")

    description = "it agrees with an independent derivation in NumPy"
    return Check(agrees_with_its_reference.__name__, description, agrees_with_its_reference, options)


def _as_arrays(value: Any) -> Any:
    """Tensors and numbers as NumPy arrays, dataclasses of them as objects; anything else as it is."""
    if isinstance(value, tuple | list):
        return tuple(map(_as_arrays, value))
    if isinstance(value, BatchContext | SelectionData | TeacherSnapshot | ModelOutputs):
        return SimpleNamespace(**{name: _as_arrays(part) for name, part in vars(value).items()})
    if isinstance(value, Tensor):
        return value.detach().numpy()
    return np.asarray(value, dtype=np.float64) if isinstance(value, int | float) else value
