import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preceptor.export.uncertainty import UNCERTAINTIES
from preceptor.metrics import SCORES, Predictions, confidence

OPTIONS = {"max_logit_p_norm": [{"p": p} for p in (0.0, 0.5, 1.0, 3.0, 10.0)], "energy": [{}, {"temperature": 2.5}]}
CASES = [(name, options) for name in UNCERTAINTIES for options in OPTIONS.get(name, [{}])]
CLASSES = 5


def rows(seed: int, scale: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(32, CLASSES + 1, generator=generator) * scale


def uncertainties(name: str, outputs: torch.Tensor, **options: float) -> torch.Tensor:
    defaults = {**{key: value for key, value in SCORES[name].options.items() if value is not None}, **options}
    return UNCERTAINTIES[name].function(outputs, CLASSES, **defaults)


def test_there_is_one_for_every_score_that_needs_the_student_alone():
    assert set(UNCERTAINTIES) == {score.name for score in SCORES.values() if score.needs in ("classes", "reservation")}


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: str(value))
@given(seed=st.integers(0, 2**16), scale=st.sampled_from([0.01, 0.3, 1.0, 5.0, 30.0]))
def test_it_is_the_distance_of_the_librarys_score_from_full_confidence(name, options, seed, scale):
    outputs = rows(seed, scale)
    values = uncertainties(name, outputs, **options)
    assert values.dtype == torch.float32
    wanted = UNCERTAINTIES[name].maximum - confidence(name, Predictions(outputs, abstains=True), **options)
    room = UNCERTAINTIES[name].floor * max(1.0, float(outputs.abs().max()))
    assert ((values.double() - wanted).abs() <= 2e-5 * wanted.abs() + room).all()


@pytest.mark.parametrize("name", UNCERTAINTIES)
def test_equal_logits_are_finite(name):
    options = OPTIONS.get(name, [{}])[-1]
    values = uncertainties(name, torch.zeros(2, CLASSES + 1), **options)
    wanted = UNCERTAINTIES[name].maximum - confidence(
        name, Predictions(torch.zeros(2, CLASSES + 1), abstains=True), **options
    )
    assert values.tolist() == pytest.approx(wanted.tolist(), abs=1e-6)


@pytest.mark.parametrize("ahead", [5.0, 20.0, 40.0, 60.0])
def test_it_keeps_its_digits_where_the_confidence_is_one(ahead):
    """By hand: one class so far ahead of four equal ones."""
    outputs = torch.tensor([[ahead, 0.0, 0.0, 0.0, 0.0, 0.0]])
    odds = math.exp(-ahead)
    others = 4 * odds / (1 + 4 * odds)
    assert uncertainties("softmax_response", outputs).item() == pytest.approx(others, rel=1e-5)
    assert uncertainties("margin", outputs).item() == pytest.approx(others + odds / (1 + 4 * odds), rel=1e-5)
    entropy = np.log1p(4 * odds) + 4 * odds * ahead / (1 + 4 * odds)
    assert uncertainties("negative_entropy", outputs).item() == pytest.approx(entropy, rel=1e-5)


@pytest.mark.parametrize("p", [20.0, 60.0])
def test_a_large_power_overflows_nothing(p):
    outputs = rows(0, 1e3)
    values = uncertainties("max_logit_p_norm", outputs, p=p)
    wanted = -confidence("max_logit_p_norm", Predictions(outputs, abstains=True), p=p)
    assert values.tolist() == pytest.approx(wanted.tolist(), rel=1e-4)


@pytest.mark.parametrize("name", ["softmax_response", "margin"])
def test_a_threshold_near_one_still_parts_the_sure_from_the_surer(name):
    """Both confidences are 1 in float32; the limit lies between them."""
    outputs = torch.tensor([[20.0, *[0.0] * CLASSES], [22.0, *[0.0] * CLASSES]])
    low, high = confidence(name, Predictions(outputs, abstains=True)).tolist()
    assert np.float32(low) == np.float32(high) == 1.0
    limit = UNCERTAINTIES[name].limit((low + high) / 2)
    assert (uncertainties(name, outputs) <= torch.tensor(limit)).tolist() == [False, True]


@pytest.mark.parametrize("name", ["softmax_response", "margin"])
def test_a_threshold_of_one_is_met_by_what_float64_calls_one(name):
    outputs = torch.tensor([[40.0, *[0.0] * CLASSES]])
    assert confidence(name, Predictions(outputs, abstains=True)).item() == 1.0
    assert uncertainties(name, outputs).item() <= UNCERTAINTIES[name].limit(1.0)
