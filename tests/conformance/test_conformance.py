"""Every registered component passes every check of its type, with its defaults and at the edges of its options."""

from functools import partial
from typing import Any

import pytest
from torch import Tensor

from preceptor import register
from preceptor.component_types import ComponentType
from preceptor.conformance import Check, ConformanceError, check_component, checks_for, conformance_cases
from preceptor.conformance.suite import Reference
from preceptor.errors import InputError
from preceptor.losses import KL
from preceptor.registry import ComponentInfo, components, find_component
from tests.conformance.references import REFERENCES

CASES = conformance_cases()

EDGES: list[tuple[ComponentType, str, dict[str, Any]]] = [
    ("recalibration", "temperature_scaling", {"fit_on": "train"}),
    ("recalibration", "temperature_scaling", {"prior": 4.0}),
    ("recalibration", "vector_scaling", {"l2": 1.0}),
    ("recalibration", "dirichlet", {"l2": 0.1, "fit_on": "train"}),
    ("recalibration", "confusion", {"smoothing": 1e-3}),
    ("correction", "arbitrate", {"label_trust": 0.0, "apply_to": "all"}),
    ("correction", "arbitrate", {"label_trust": 1.0, "fit_on": "train"}),
    ("correction", "label_revision", {"eta": 0.0}),
    ("correction", "label_revision", {"eta": 0.999, "apply_to": "all"}),
    ("correction", "label_smoothing", {"eps": 0.1, "apply_to": "all"}),
    ("correction", "label_smoothing", {"correct_prob": 1.0}),
    ("temperature", "fixed", {"temperature": 0.5}),
    ("temperature", "annealed", {"start": 0.5, "end": 8.0, "until": 0.75}),
    ("temperature", "ctkd", {"standardize": True, "warmup": 0.0}),
    ("temperature", "ctkd", {"start": 0.5, "span": 0.1, "warmup": 1.0}),
    ("temperature", "standardized", {"temperature": 0.25}),
    ("selection", "influence", {"keep": 0.0}),
    ("selection", "influence", {"keep": 1.0, "damping": 0.1}),
    ("selection", "influence", {"exact_up_to": 0}),
    ("selection", "influence", {"exact_up_to": 0, "steps": 0}),
    ("selection", "tracin", {"keep": 0.25, "ascending": True}),
    ("selection", "correctness", {"keep": 0.9}),
    ("selection", "random", {"ascending": True}),
    ("selection", "trust", {"features": True, "keep": 0.3}),
    ("selection", "trust", {"ascending": True, "fit_on": "train"}),
    ("selection", "trust_weight", {"l2": 1.0}),
    ("selection", "conformal_weight", {"alpha": 0.001}),
    ("selection", "conformal_weight", {"alpha": 0.5, "decay": "linear"}),
    ("selection", "ea", {"faithful": True, "temperature": 0.5}),
    ("selection", "near_miss", {"near": 2.0, "hard": 0.5, "easy": 0.1, "margin": 0.9}),
    ("loss", "dkd", {"alpha": 0.0, "beta": 0.5}),
    ("loss", "nckd", {"share": 0.05}),
    ("loss", "nckd", {"share": 0.6}),
    ("loss", "nckd", {"share": 0.6, "faithful": True}),
    ("loss", "ltkd", {"between": 0.0, "groups": 5}),
    ("loss", "ltkd", {"within": 0.0, "groups": 2}),
    ("loss", "crld", {"within": 0.0, "least": 0.0}),
    ("loss", "crld", {"across": 0.0, "sure": 0.5}),
    ("loss", "mlkd", {"faithful": True, "more_temperatures": [1.0]}),
    ("loss", "mlkd_views", {"faithful": True, "more_temperatures": [1.0]}),
    ("loss", "mlkd_views", {"standardized": True}),
    ("loss", "ldrld", {"depth": 2, "ranked_by": "teacher"}),
    ("loss", "ldrld", {"depth": 3, "beta": 0.0}),
    ("loss", "sld", {"temperatures": [0.5]}),
    ("loss", "sld_student", {"faithful": True}),
    ("loss", "nkd", {"gamma": 0.0}),
    ("loss", "ttm", {"gamma": 3.0}),
    ("loss", "wttm", {"gamma": 0.01}),
    ("loss", "rld", {"confidence_temperature": None}),
    ("loss", "rld", {"alpha": 0.0, "beta": 0.5}),
    ("loss", "slam", {"fit_on": "train"}),
    ("loss", "kl", {"temperature_squared": False}),
    ("loss", "soft_gambler", {"payoff": 1.0001}),
    ("loss", "soft_gambler", {"payoff": 4.9}),
    ("feature_loss", "review", {"activated": True}),
    ("label_loss", "gambler", {"payoff": 1.0001}),
    ("label_loss", "gambler", {"payoff": 4.9}),
    ("label_loss", "virtual_teacher", {"correct_prob": 0.5, "temperature": 1.0}),
    ("label_loss", "virtual_teacher", {"faithful": True}),
    ("label_loss", "label_smoothing", {"eps": 0.0}),
    ("label_loss", "label_smoothing", {"eps": 1.0}),
]

STANDARDIZED = "the z-scores of equal logits are zeros, those of logits that hardly differ are of size 1"
KINKS: list[tuple[ComponentType, str, dict[str, Any], str, str]] = [
    ("loss", "cmkd", {}, "constant student", STANDARDIZED),
    ("loss", "pearson", {}, "constant student", STANDARDIZED),
    ("loss", "spearman", {}, "constant student", STANDARDIZED),
    ("loss", "mlkd_views", {"standardized": True}, "constant student", STANDARDIZED),
    ("loss", "ldrld", {}, "constant student", "which classes lead is a hard rank of the student's logits"),
    ("loss", "sld_student", {"faithful": True}, "constant student", "which class is swapped is one, too"),
    ("feature_loss", "relational", {}, "constant student", "angles between equal features: there are none"),
]
"""Where a component has no derivative, with what options, and why: values alone are compared with the reference."""


def kinks(kind: ComponentType, name: str, options: dict[str, Any]) -> list[str]:
    return [batch for *key, needed, batch, _ in KINKS if key == [kind, name] and needed.items() <= options.items()]


def agreement(info: ComponentInfo, reference: Reference, **more: Any) -> Check:
    check = checks_for(info, reference=reference, **more)[-1]
    assert str(check) == "agrees_with_its_reference"
    return check


@pytest.mark.parametrize(
    ("info", "check"), [pytest.param(info, check, id=f"{info.kind}-{info.name}-{check}") for info, check in CASES]
)
def test_component_conforms(info: ComponentInfo, check: Check) -> None:
    check(info)


@pytest.mark.parametrize(("kind", "name", "options"), EDGES, ids=str)
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_component_conforms_with_extreme_options(
    kind: ComponentType, name: str, options: dict[str, Any], compiled: bool
) -> None:
    info, reference = find_component(kind, name), partial(REFERENCES[kind, name], **options)
    for check in checks_for(info, options=options, reference=reference, kinks=kinks(kind, name, options)):
        if (str(check) == "compiles_without_graph_breaks") == compiled:
            check(info)


@pytest.mark.parametrize("info", components(), ids=lambda info: f"{info.kind}-{info.name}")
def test_component_agrees_with_an_independent_derivation(info: ComponentInfo) -> None:
    assert (info.kind, info.name) in REFERENCES, "derive it once more in tests/conformance/references.py"
    key = info.kind, info.name
    agreement(info, REFERENCES[key], kinks=kinks(*key, {}))(info)


@pytest.mark.parametrize(("kind", "name", "options", "batch", "reason"), KINKS, ids=str)
def test_a_kink_is_one(kind: ComponentType, name: str, options: dict[str, Any], batch: str, reason: str) -> None:
    info, reference = find_component(kind, name), partial(REFERENCES[kind, name], **options)
    with pytest.raises(ConformanceError, match=f"{batch}: its gradient and finite differences of the reference differ"):
        agreement(info, reference, options=options)(info)


def test_every_component_is_a_case() -> None:
    assert {(info.kind, info.name) for info, _ in CASES} == {(info.kind, info.name) for info in components()}


def test_a_wrong_reference_is_noticed() -> None:
    info = find_component("loss", "kl")
    with pytest.raises(ConformanceError, match=r"loss component 'kl' fails 'agrees_with_its_reference'.*differ by"):
        agreement(info, REFERENCES["loss", "squared_error_probs"])(info)


def test_a_wrong_gradient_is_noticed(registry: None) -> None:
    @register("loss", "under_test", paper="this test")
    class Doubled(KL):
        """The value of KL, twice its gradient."""

        def __call__(
            self, student_logits: Tensor, target: Tensor, temperature: float | Tensor, label: Tensor
        ) -> Tensor:
            loss = super().__call__(student_logits, target, temperature, label)
            return 2 * loss - loss.detach()

    info = ComponentInfo("loss", "under_test", Doubled, "this test")
    with pytest.raises(ConformanceError, match="batch 0: its gradient and finite differences of the reference differ"):
        agreement(info, REFERENCES["loss", "kl"])(info)


def test_an_unknown_kink_is_refused() -> None:
    info = find_component("loss", "kl")
    with pytest.raises(ConformanceError, match=r"kinks = \['constant labels'\]: expected some of .*constant student"):
        agreement(info, REFERENCES["loss", "kl"], kinks=["constant labels"])(info)


def test_unknown_component_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'kl'"):
        check_component("loss", "kll")
