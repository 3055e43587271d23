"""Every registered stage keeps every promise of its kind, with its defaults and at the edges of its options."""

from functools import partial
from typing import Any

import pytest

from preceptor.catalogue import find_stage, stages
from preceptor.conformance import Check, ConformanceError, check_stage, checks_for, conformance_cases
from preceptor.errors import InputError
from preceptor.stage import Kind, StageInfo
from tests.conformance.references import REFERENCES

CASES = conformance_cases()

EDGES: list[tuple[Kind, str, dict[str, Any]]] = [
    ("correct", "label_revision", {"eta": 0.0}),
    ("correct", "label_revision", {"eta": 0.999, "apply_to": "all"}),
    ("correct", "label_smoothing", {"eps": 0.1, "apply_to": "all"}),
    ("correct", "label_smoothing", {"correct_prob": 1.0}),
    ("temper", "fixed", {"temperature": 0.5}),
    ("select", "influence", {"keep": 0.0}),
    ("select", "influence", {"keep": 1.0, "damping": 0.1}),
    ("select", "influence", {"exact_up_to": 0}),
    ("select", "influence", {"exact_up_to": 0, "steps": 0}),
    ("select", "tracin", {"keep": 0.25, "lowest": True}),
    ("select", "correctness", {"keep": 0.9}),
    ("select", "random", {"lowest": True}),
    ("match", "kl", {"temperature_squared": False}),
    ("match", "soft_gambler", {"payoff": 1.0001}),
    ("match", "soft_gambler", {"payoff": 4.9}),
    ("truth", "gambler", {"payoff": 1.0001}),
    ("truth", "gambler", {"payoff": 4.9}),
    ("truth", "label_smoothing", {"eps": 0.0}),
    ("truth", "label_smoothing", {"eps": 1.0}),
]


@pytest.mark.parametrize(
    ("info", "check"), [pytest.param(info, check, id=f"{info.kind}-{info.name}-{check}") for info, check in CASES]
)
def test_stage_conforms(info: StageInfo, check: Check) -> None:
    check(info)


@pytest.mark.parametrize(("kind", "name", "options"), EDGES, ids=str)
def test_stage_conforms_at_the_edges_of_its_options(kind: Kind, name: str, options: dict[str, Any]) -> None:
    check_stage(kind, name, options=options, reference=partial(REFERENCES[kind, name], **options))


@pytest.mark.parametrize("info", stages(), ids=lambda info: f"{info.kind}-{info.name}")
def test_stage_agrees_with_an_independent_derivation(info: StageInfo) -> None:
    assert (info.kind, info.name) in REFERENCES, "derive it once more in tests/conformance/references.py"
    agreement = checks_for(info, reference=REFERENCES[info.kind, info.name])[-1]
    assert str(agreement) == "agrees_with_its_reference"
    agreement(info)


def test_every_stage_of_every_kind_is_a_case() -> None:
    assert {(info.kind, info.name) for info, _ in CASES} == {(info.kind, info.name) for info in stages()}


def test_a_wrong_reference_is_noticed() -> None:
    info = find_stage("match", "kl")
    agreement = checks_for(info, reference=REFERENCES["match", "squared_error_probs"])[-1]
    with pytest.raises(ConformanceError, match=r"match stage 'kl' fails 'agrees_with_its_reference'.*differ by"):
        agreement(info)


def test_unknown_stage_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'kl'"):
        check_stage("match", "kll")
