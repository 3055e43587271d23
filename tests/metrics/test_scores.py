import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logsumexp
from scipy.stats import entropy as scipy_entropy

from preceptor.errors import InputError
from preceptor.metrics import scores
from tests.metrics.samples import answered, softmax

LOGITS, _ = answered(40, 5)
TEACHER, _ = answered(40, 5, seed=1)


def two_largest(row):
    return sorted(softmax(row), reverse=True)[:2]


BY_ROW = {
    "softmax_response": (scores.softmax_response, lambda row: softmax(row).max()),
    "max_logit": (scores.max_logit, max),
    "margin": (scores.margin, lambda row: two_largest(row)[0] - two_largest(row)[1]),
    "negative_entropy": (scores.negative_entropy, lambda row: -scipy_entropy(softmax(row))),
    "energy": (scores.energy, logsumexp),
    "energy at 3": (lambda logits: scores.energy(logits, 3.0), lambda row: 3 * np.log(np.exp(row / 3).sum())),
    "reservation": (scores.reservation_confidence, lambda row: -softmax(row)[-1]),
    "p-norm of 1": (
        lambda logits: scores.max_logit_p_norm(logits, 1),
        lambda row: (row.max() - row.mean()) / np.abs(row - row.mean()).sum(),
    ),
    "p-norm of 4": (
        lambda logits: scores.max_logit_p_norm(logits, 4),
        lambda row: (row.max() - row.mean()) / ((row - row.mean()) ** 4).sum() ** 0.25,
    ),
    "p-norm of 0": (lambda logits: scores.max_logit_p_norm(logits, 0), lambda row: row.max() - row.mean()),
}
SHIFT_INVARIANT = set(BY_ROW) - {"max_logit", "energy", "energy at 3"}


@pytest.mark.parametrize("name", BY_ROW)
def test_each_score_agrees_with_its_equation_row_by_row(name):
    score, reference = BY_ROW[name]
    np.testing.assert_allclose(score(LOGITS), [reference(row) for row in LOGITS.numpy()], rtol=1e-12)


def test_the_scores_that_ask_the_teacher_agree_with_their_equations():
    own, theirs = softmax(LOGITS), softmax(TEACHER)
    np.testing.assert_allclose(scores.teacher_probability(LOGITS, TEACHER), theirs[range(40), own.argmax(axis=1)])
    np.testing.assert_allclose(scores.negative_teacher_kl(LOGITS, TEACHER), -scipy_entropy(theirs, own, axis=1))


@pytest.mark.parametrize("name", sorted(set(BY_ROW) - {"reservation"}))
@given(
    row=arrays(np.float64, 5, elements=st.integers(-40, 40).map(lambda half: half / 2)),
    more=st.sampled_from([0.5, 8.0]),
)
def test_to_raise_the_largest_logit_never_lowers_confidence(name, row, more):
    raised = row.copy()
    raised[row.argmax()] += more
    before, after = BY_ROW[name][0](torch.tensor(np.stack([row, raised])))
    assert after >= before - 1e-12


@pytest.mark.parametrize("name", sorted(SHIFT_INVARIANT))
def test_a_constant_added_to_all_logits_changes_nothing(name):
    score, _ = BY_ROW[name]
    torch.testing.assert_close(score(LOGITS + 7), score(LOGITS))


@pytest.mark.parametrize("p", [1, 2, 6.5])
def test_a_p_norm_is_blind_to_scale_and_the_softmax_response_is_not(p):
    torch.testing.assert_close(scores.max_logit_p_norm(9 * LOGITS, p), scores.max_logit_p_norm(LOGITS, p))
    assert not torch.allclose(scores.softmax_response(9 * LOGITS), scores.softmax_response(LOGITS))


def test_equal_logits_have_no_direction():
    assert scores.max_logit_p_norm(torch.full((2, 4), 3.0), 4).tolist() == [0, 0]


@pytest.mark.parametrize("name", BY_ROW)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_scores_are_in_double_and_finite_for_large_logits(name, dtype):
    score, _ = BY_ROW[name]
    found = score(torch.tensor([[1e4, -1e4, 0.0], [-1e4, -1e4, 1e4]]).to(dtype))
    assert found.dtype == torch.float64
    assert found.isfinite().all()


def test_certain_networks_leave_a_divergence_finite():
    certain = torch.tensor([[1e4, -1e4, 0.0]])
    assert scores.negative_teacher_kl(certain, certain.flip(1)).isfinite().all()


def test_very_sure_samples_do_not_tie():
    logits = torch.tensor([[20.0, 0.0], [25.0, 0.0]])
    assert logits.softmax(dim=1).amax(dim=1).unique().numel() == 1
    assert scores.softmax_response(logits)[0] < scores.softmax_response(logits)[1]


def test_one_class_leaves_no_doubt():
    only = torch.zeros(2, 1)
    assert scores.margin(only).tolist() == scores.softmax_response(only).tolist() == [1, 1]
    assert scores.negative_entropy(only).tolist() == [0, 0]


@pytest.mark.parametrize("temperature", [0, -1.0, math.inf, math.nan])
def test_an_energy_needs_a_temperature(temperature):
    with pytest.raises(InputError, match="expected a number at least 1e-06"):
        scores.energy(LOGITS, temperature)


@pytest.mark.parametrize("p", [-1, math.nan])
def test_a_norm_needs_its_p(p):
    with pytest.raises(InputError, match="expected a number at least 0"):
        scores.max_logit_p_norm(LOGITS, p)
