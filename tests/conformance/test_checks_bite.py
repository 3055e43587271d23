"""Each check catches a component that lacks its property: every class here is broken on purpose."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from torch import Tensor

from preceptor import register
from preceptor.component_types import COMPONENT_TYPES, ComponentType
from preceptor.conformance import ConformanceError, check_component, checks_for
from preceptor.registry import ComponentInfo
from tests.conformance.broken_components import (
    BROKEN_COMPONENTS,
    CorrectionBase,
    FollowsTheStudent,
    LearnedTemperature,
    Surest,
)
from tests.conformance.broken_losses import BROKEN_LOSSES, CallsItem, LossBase, MovingTarget

BROKEN = BROKEN_LOSSES + BROKEN_COMPONENTS

pytestmark = pytest.mark.usefixtures("registry")


def registered(kind: ComponentType, cls: type[Any]) -> ComponentInfo:
    register(kind, "under_test", paper="this test")(cls)
    return ComponentInfo(kind, "under_test", cls, "this test")


def run_check(name: str, info: ComponentInfo) -> None:
    [check] = [check for check in checks_for(info) if check.name == name]
    check(info)


@pytest.mark.parametrize(("kind", "cls", "check"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_component_is_caught(kind: ComponentType, cls: type[Any], check: str) -> None:
    info = registered(kind, cls)
    with pytest.raises(ConformanceError, match=rf"^{kind} component 'under_test' fails '{check}' \(.+\): \S"):
        run_check(check, info)


@pytest.mark.parametrize(
    ("kind", "cls"),
    [("loss", LossBase), ("correction", CorrectionBase), ("temperature", FollowsTheStudent), ("selection", Surest)],
)
def test_the_components_they_derive_from_conform(kind: ComponentType, cls: type[Any]) -> None:
    registered(kind, cls)
    check_component(kind, "under_test")


@pytest.mark.parametrize(
    ("kind", "cls", "check"),
    [
        ("loss", LossBase, "no_gradient_to_the_teacher"),
        ("correction", CorrectionBase, "no_gradient_to_the_teacher"),
        ("temperature", FollowsTheStudent, "no_gradient_to_the_student"),
    ],
)
def test_a_loss_that_forgets_to_detach_is_caught(
    kind: ComponentType, cls: type[Any], check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = registered(kind, cls)
    run_check(check, info)
    leaky: Callable[[Tensor], Tensor] = lambda tensor: tensor  # noqa: E731
    monkeypatch.setattr("preceptor.loss.Tensor.detach", leaky)
    with pytest.raises(ConformanceError, match=check):
        run_check(check, info)


def test_every_check_has_a_component_that_it_catches() -> None:
    bitten = {check for _, _, check in BROKEN} | {"no_gradient_to_the_teacher", "no_gradient_to_the_student"}
    known = {check.name for kind in COMPONENT_TYPES for check in checks_for(ComponentInfo(kind, "x", LossBase, "x"))}
    assert bitten == known


def test_check_component_reports_every_failure_at_once() -> None:
    registered("loss", CallsItem)
    with pytest.raises(ConformanceError) as failure:
        check_component("loss", "under_test")
    lines = str(failure.value).splitlines()
    assert all(line.startswith("loss component 'under_test' fails '") for line in lines)
    assert {"no_host_sync", "follows_the_device", "gradient_is_right"} <= {line.split("'")[3] for line in lines}


def test_a_component_with_parameters_and_required_options_passes() -> None:
    registered("temperature", LearnedTemperature)
    check_component("temperature", "under_test", options={"start": 3.0})


def test_a_required_option_that_is_not_given_is_named() -> None:
    info = registered("temperature", LearnedTemperature)
    with pytest.raises(ConformanceError, match="start"):
        run_check("positive_temperature", info)


def test_a_class_may_bring_its_own_options() -> None:
    class Ready(LearnedTemperature):
        """A learned temperature that says how it is to be checked."""

        conformance_options: ClassVar[dict[str, float]] = {"start": 2.0}

    registered("temperature", Ready)
    check_component("temperature", "under_test")


def test_a_component_with_state_passes() -> None:
    registered("label_loss", MovingTarget)
    check_component("label_loss", "under_test")
