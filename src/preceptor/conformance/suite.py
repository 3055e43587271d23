"""The suite: which checks a component must pass, for one component or for every registered one."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from preceptor.conformance import fitted, losses, shared, signals  # noqa: F401  (they add their checks)
from preceptor.conformance.batch import plain_evidence
from preceptor.conformance.check import Check, ConformanceError, Subject, functions_for, require
from preceptor.context import BatchContext, ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.registry import ComponentInfo, ComponentType, components, find_component

Reference = Callable[..., Any]
"""An independent NumPy (float64) derivation of a component, with the component's own arguments as arrays.

A temperature's or selection's gets an object with the fields of :class:`preceptor.BatchContext`; that of a selection which
is fitted gets one more, with those of :class:`preceptor.context.SelectionData`. It returns what the component returns; a
correction's returns probabilities, which may be zero, not their logarithms.
"""


def checks_for(
    info: ComponentInfo, *, options: Mapping[str, Any] | None = None, reference: Reference | None = None
) -> list[Check]:
    """The checks a component must pass.

    Args:
        info: the registered component.
        options: what to build it with. Default: the class's attribute ``conformance_options`` when it has one (a
            component with required options needs it), else its defaults.
        reference: an independent derivation in NumPy that it must agree with.
    """
    given = dict(getattr(info.cls, "conformance_options", {}) if options is None else options)
    functions = functions_for(info.kind)
    checks = [Check(run.__name__, _promise(run), run, given) for run in functions]
    if reference is not None:
        checks.append(_agreement(reference, given))
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


def _promise(run: Callable[..., None]) -> str:
    return (run.__doc__ or "").strip().splitlines()[0]


def _agreement(reference: Reference, options: Mapping[str, Any]) -> Check:
    def agrees_with_its_reference(subject: Subject) -> None:
        for seed in range(4):
            component = subject.build(torch.float64)
            batch = subject.plain_batch(samples=16, dtype=torch.float64, seed=seed)
            found = _plain(subject.call(component, batch))
            if subject.info.kind == "correction":
                found = np.exp(found)
            selection_data = (plain_evidence(torch.float64),) if subject.is_fitted_first else ()
            handed = map(_plain, (*subject.arguments(component, batch), *selection_data))
            expected = np.asarray(reference(*handed), dtype=np.float64)
            require(found.shape == expected.shape, f"shape {found.shape}, the reference has {expected.shape}")
            difference = float(np.abs(found - expected).max())
            require(difference <= 1e-9 * max(1.0, np.abs(expected).max()), f"they differ by {difference:.3g}")

    guarantee = "it agrees with an independent derivation in NumPy"
    return Check(agrees_with_its_reference.__name__, guarantee, agrees_with_its_reference, options)


def _plain(value: Any) -> Any:
    """Tensors and numbers as NumPy arrays, a lesson or evidence as an object of them; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, BatchContext | SelectionData | TeacherSnapshot | ModelOutputs):
        return SimpleNamespace(**{name: _plain(part) for name, part in vars(value).items()})
    if isinstance(value, Tensor):
        return value.detach().numpy()
    return np.asarray(value, dtype=np.float64) if isinstance(value, int | float) else value
