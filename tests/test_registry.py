from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pytest

from preceptor import BatchContext, InputError, LabelRevision, LabelSmoothing, register, registry
from preceptor.component_types import COMPONENT_TYPES, ComponentType
from preceptor.errors import MachineError
from preceptor.registry import build_component, components, find_component, options


def test_the_components_of_this_version_are_there() -> None:
    assert {(info.kind, info.name) for info in components()} >= {
        ("correction", "label_revision"),
        ("correction", "label_smoothing"),
        ("correction", "probability_shift"),
        ("temperature", "fixed"),
        ("selection", "drop_wrong"),
        ("loss", "kl"),
        ("loss", "squared_error_logits"),
        ("loss", "squared_error_probs"),
        ("label_loss", "cross_entropy"),
        ("label_loss", "label_smoothing"),
    }


def test_components_come_by_kind_and_name() -> None:
    listed = [(COMPONENT_TYPES.index(info.kind), info.name) for info in components()]
    assert listed == sorted(listed)
    assert {info.kind for info in components("loss")} == {"loss"}
    assert sum(len(components(kind)) for kind in COMPONENT_TYPES) == len(listed)


@pytest.mark.parametrize("info", components(), ids=lambda info: f"{info.kind}-{info.name}")
def test_every_component_has_a_summary_and_a_source(info: Any) -> None:
    assert info.summary.endswith(".")
    assert len(info.paper) > 5


def test_find_component_offers_the_nearest() -> None:
    assert find_component("correction", "label_revision").cls is LabelRevision
    with pytest.raises(InputError, match="unknown correction component 'label_revison': did you mean 'label_revision'"):
        find_component("correction", "label_revison")


def test_options_are_read_off_the_constructor() -> None:
    actual = options(find_component("correction", "label_revision"))
    assert {name: option.default for name, option in actual.items()} == {"eta": 0.8, "apply_to": "wrong"}
    assert actual["eta"].annotation is float


def test_build_component_with_and_without_options() -> None:
    assert build_component("correction", "label_revision") == LabelRevision()
    assert build_component("correction", "label_revision", {"eta": 0.5, "apply_to": "all"}) == LabelRevision(0.5, "all")
    assert build_component("correction", "label_revision", {"eta": 0}) == LabelRevision(0)
    assert build_component("correction", "label_smoothing", {"eps": None}) == LabelSmoothing()


@pytest.mark.parametrize(
    ("kind", "name", "given", "message"),
    [
        (
            "correction",
            "label_revision",
            {"etta": 0.5},
            "unknown option of correction component 'label_revision' 'etta': did you",
        ),
        (
            "correction",
            "label_revision",
            {"eta": "0.5"},
            r"label_revision\.eta = '0\.5': input should be a valid number",
        ),
        ("correction", "label_revision", {"eta": True}, r"label_revision\.eta = True: input should be a valid number"),
        ("correction", "label_revision", {"eta": None}, r"label_revision\.eta = None: input should be a valid number"),
        ("correction", "label_revision", {"eta": 1.0}, r"eta = 1\.0: expected at least 0 and below 1"),
        ("correction", "label_revision", {"apply_to": "most"}, r"apply_to = 'most': input should be 'wrong' or 'all'"),
        ("correction", "probability_shift", {"apply_to": "all"}, "unknown option .* 'apply_to': known: none"),
        ("loss", "kl", {"temperature_squared": 1}, r"kl\.temperature_squared = 1: input should be a valid boolean"),
        ("temperature", "fixed", {"temperature": 0}, "temperature = 0.*: expected a finite number above 0"),
    ],
)
def test_options_that_do_not_fit_say_so(kind: ComponentType, name: str, given: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_component(kind, name, given)


@pytest.mark.usefixtures("registry")
def test_a_missing_option_is_named() -> None:
    @register("temperature", "needy", paper="this test")
    @dataclass(frozen=True)
    class Needy:
        """Has no default."""

        low: float
        high: float = 2.0

        def __call__(self, context: BatchContext) -> float:
            return self.low

    with pytest.raises(InputError, match="temperature component 'needy' needs low"):
        build_component("temperature", "needy", {"high": 3.0})
    assert build_component("temperature", "needy", {"low": 1.5}) == Needy(1.5)


def entry_point(load: Callable[[], None]) -> Any:
    class Entry:
        name, value = "theirs", "their_package.components"

        def load(self) -> None:
            load()

    return Entry()


@pytest.fixture
def imported_anew(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(registry, "_import_components", registry._import_components.__wrapped__)
    return monkeypatch


def test_entry_points_are_loaded(imported_anew: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    entry = entry_point(lambda: loaded.append("theirs"))
    imported_anew.setattr(metadata, "entry_points", lambda group: [entry] if group == "preceptor.components" else [])
    components()
    assert loaded == ["theirs"]


def test_an_entry_point_that_fails_is_the_environment_s_problem(imported_anew: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("no such symbol")

    imported_anew.setattr(metadata, "entry_points", lambda group: [entry_point(fail)])
    with pytest.raises(MachineError, match=r"'their_package\.components' .*'theirs'.*no such symbol.*uninstall it"):
        components()
