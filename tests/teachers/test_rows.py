import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from preceptor.errors import InputError
from preceptor.teachers.rows import as_logits, check_output_kind, check_rows

LOGITS = arrays(np.float64, (3, 4), elements=st.floats(-60, 60))


def refused(rows, output_kind="logits"):
    with pytest.raises(InputError) as caught:
        check_rows(np.asarray(rows), output_kind, lambda row: f"file: row {row}")
    return str(caught.value)


@given(LOGITS)
def test_logits_of_probabilities_give_the_probabilities_back(values):
    probabilities = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    check_rows(probabilities, "probabilities", str)
    back = as_logits(probabilities, "probabilities").softmax(dim=1)
    np.testing.assert_allclose(back.numpy(), probabilities, rtol=2e-5, atol=1e-37)


def test_logits_stay_as_they_are_in_memory_of_their_own():
    rows = np.array([[1.5, -2.0], [0.0, 80000.0]])
    logits = as_logits(rows, "logits")
    assert logits.dtype == torch.float32
    assert logits.tolist() == rows.tolist()
    shared = np.zeros((1, 2), dtype=np.float32)
    as_logits(shared, "logits").fill_(7)
    assert shared.sum() == 0


@pytest.mark.parametrize("smallest", [0.0, 1e-300])
def test_a_probability_of_nothing_has_a_finite_logit(smallest):
    logits = as_logits(np.array([[1.0, smallest]]), "probabilities")
    assert logits.isfinite().all()
    assert logits[0, 0] == 0
    assert logits[0, 1] < -87


def test_probabilities_in_half_precision_of_many_classes_pass():
    logits = np.random.default_rng(0).normal(size=(20, 1000)) * 3
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    check_rows(probabilities.astype(np.float16), "probabilities", str)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("output_kind", ["logits", "probabilities"])
def test_a_value_without_end_is_refused(value, output_kind):
    message = refused([[0.5, 0.5], [0.2, value]], output_kind)
    assert message.startswith("file: row 1: ")
    assert "for class 1" in message
    assert "finite" in message


def test_a_negative_probability_is_refused():
    assert refused([[0.5, 0.5], [1.1, -0.1]], "probabilities").startswith("file: row 1: -0.1 for class 1")
    check_rows(np.array([[1.1, -0.1]]), "logits", str)


@pytest.mark.parametrize(("last", "fits"), [(0.3009, True), (0.3011, False), (0.2991, True), (0.2989, False)])
def test_probabilities_sum_to_one_within_a_thousandth(last, fits):
    rows = np.array([[0.5, 0.5], [0.7, last]])
    if fits:
        check_rows(rows, "probabilities", str)
    else:
        assert refused(rows, "probabilities").startswith(f"file: row 1: sums to {0.7 + last:.6g}: ")


def test_an_unknown_kind_of_output_is_named():
    with pytest.raises(InputError, match=r"unknown kind of output 'logit': did you mean 'logits'\?"):
        check_output_kind("logit")
