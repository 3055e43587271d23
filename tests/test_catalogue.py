from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pytest

from preceptor import InputError, LabelRevision, LabelSmoothing, Lesson, catalogue, register
from preceptor.catalogue import build_stage, find_stage, options, stages
from preceptor.errors import EnvironmentProblem
from preceptor.stage import KINDS, Kind


def test_the_stages_of_this_version_are_there() -> None:
    assert {(info.kind, info.name) for info in stages()} >= {
        ("correct", "label_revision"),
        ("correct", "label_smoothing"),
        ("correct", "probability_shift"),
        ("temper", "fixed"),
        ("select", "drop_wrong"),
        ("match", "kl"),
        ("match", "squared_error_logits"),
        ("match", "squared_error_probs"),
        ("truth", "cross_entropy"),
        ("truth", "label_smoothing"),
    }


def test_stages_come_by_kind_and_name() -> None:
    listed = [(KINDS.index(info.kind), info.name) for info in stages()]
    assert listed == sorted(listed)
    assert {info.kind for info in stages("match")} == {"match"}
    assert sum(len(stages(kind)) for kind in KINDS) == len(listed)


@pytest.mark.parametrize("info", stages(), ids=lambda info: f"{info.kind}-{info.name}")
def test_every_stage_says_what_it_is_and_where_it_comes_from(info: Any) -> None:
    assert info.summary.endswith(".")
    assert len(info.paper) > 5


def test_find_stage_offers_the_nearest() -> None:
    assert find_stage("correct", "label_revision").cls is LabelRevision
    with pytest.raises(InputError, match="unknown correct stage 'label_revison': did you mean 'label_revision'"):
        find_stage("correct", "label_revison")


def test_options_are_read_off_the_constructor() -> None:
    found = options(find_stage("correct", "label_revision"))
    assert {name: option.default for name, option in found.items()} == {"eta": 0.8, "apply_to": "wrong"}
    assert found["eta"].annotation is float


def test_build_stage_with_and_without_options() -> None:
    assert build_stage("correct", "label_revision") == LabelRevision()
    assert build_stage("correct", "label_revision", {"eta": 0.5, "apply_to": "all"}) == LabelRevision(0.5, "all")
    assert build_stage("correct", "label_revision", {"eta": 0}) == LabelRevision(0)
    assert build_stage("correct", "label_smoothing", {"eps": None}) == LabelSmoothing()


@pytest.mark.parametrize(
    ("kind", "name", "given", "message"),
    [
        (
            "correct",
            "label_revision",
            {"etta": 0.5},
            "unknown option of correct stage 'label_revision' 'etta': did you",
        ),
        ("correct", "label_revision", {"eta": "0.5"}, r"label_revision\.eta = '0\.5': input should be a valid number"),
        ("correct", "label_revision", {"eta": True}, r"label_revision\.eta = True: input should be a valid number"),
        ("correct", "label_revision", {"eta": None}, r"label_revision\.eta = None: input should be a valid number"),
        ("correct", "label_revision", {"eta": 1.0}, r"eta = 1\.0: must be at least 0 and below 1"),
        ("correct", "label_revision", {"apply_to": "most"}, r"apply_to = 'most': input should be 'wrong' or 'all'"),
        ("correct", "probability_shift", {"apply_to": "all"}, "unknown option .* 'apply_to': known: none"),
        ("match", "kl", {"temperature_squared": 1}, r"kl\.temperature_squared = 1: input should be a valid boolean"),
        ("temper", "fixed", {"temperature": 0}, "temperature = 0.*: must be above 0"),
    ],
)
def test_options_that_do_not_fit_say_so(kind: Kind, name: str, given: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_stage(kind, name, given)


@pytest.mark.usefixtures("registry")
def test_a_missing_option_is_named() -> None:
    @register("temper", "needy", paper="this test")
    @dataclass(frozen=True)
    class Needy:
        """Has no default."""

        low: float
        high: float = 2.0

        def __call__(self, lesson: Lesson) -> float:
            return self.low

    with pytest.raises(InputError, match="temper stage 'needy' needs low"):
        build_stage("temper", "needy", {"high": 3.0})
    assert build_stage("temper", "needy", {"low": 1.5}) == Needy(1.5)


def entry_point(load: Callable[[], None]) -> Any:
    class Entry:
        name, value = "theirs", "their_package.stages"

        def load(self) -> None:
            load()

    return Entry()


@pytest.fixture
def imported_anew(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(catalogue, "_import_stages", catalogue._import_stages.__wrapped__)
    return monkeypatch


def test_entry_points_are_loaded(imported_anew: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    entry = entry_point(lambda: loaded.append("theirs"))
    imported_anew.setattr(metadata, "entry_points", lambda group: [entry] if group == "preceptor.stages" else [])
    stages()
    assert loaded == ["theirs"]


def test_an_entry_point_that_fails_is_the_environment_s_problem(imported_anew: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("no such symbol")

    imported_anew.setattr(metadata, "entry_points", lambda group: [entry_point(fail)])
    with pytest.raises(EnvironmentProblem, match=r"'their_package\.stages' .*'theirs'.*no such symbol.*uninstall it"):
        stages()
