import numpy as np
import pytest
import torch
from scipy.stats import entropy, spearmanr
from sklearn.metrics import accuracy_score

from preceptor.metrics.agreement import (
    Outcomes,
    copied_error,
    divergence_from_teacher,
    outcomes,
    rank_correlation,
    same_answer,
)
from tests.metrics.samples import answered, softmax

STUDENT, LABELS = answered(50, 5)
TEACHER, _ = answered(50, 5, seed=1)


def test_each_agrees_with_scipy_and_scikit_learn():
    own, theirs = STUDENT.numpy().argmax(axis=1), TEACHER.numpy().argmax(axis=1)
    assert same_answer(STUDENT, TEACHER).double().mean() == pytest.approx(accuracy_score(theirs, own))
    expected = entropy(softmax(TEACHER), softmax(STUDENT), axis=1)
    np.testing.assert_allclose(divergence_from_teacher(STUDENT, TEACHER), expected)
    rows = zip(STUDENT.numpy(), TEACHER.numpy(), strict=True)
    np.testing.assert_allclose(rank_correlation(STUDENT, TEACHER), [spearmanr(*row).statistic for row in rows])


def test_tied_logits_share_their_rank():
    student, teacher = torch.tensor([[1.0, 1.0, 0.0, 2.0]]), torch.tensor([[3.0, 1.0, 1.0, 1.0]])
    expected = spearmanr(student[0], teacher[0]).statistic
    assert rank_correlation(student, teacher)[0] == pytest.approx(expected)


def test_a_correlation_needs_ranks_and_three_of_them():
    constant = torch.zeros(2, 4)
    assert rank_correlation(STUDENT[:2, :4], constant).isnan().all()
    assert rank_correlation(STUDENT[:, :2], TEACHER[:, :2]).isnan().all()


def test_a_student_agrees_with_itself():
    assert same_answer(STUDENT, STUDENT).all()
    assert divergence_from_teacher(STUDENT, STUDENT).abs().max() < 1e-12
    assert rank_correlation(STUDENT, STUDENT).tolist() == pytest.approx([1] * 50)
    wrong = STUDENT.argmax(dim=1) != LABELS
    repeated = copied_error(STUDENT, STUDENT, LABELS)
    assert repeated[wrong].eq(1).all()
    assert repeated[~wrong].isnan().all()


def test_an_error_is_copied_where_the_same_wrong_class_is_predicted():
    teacher = torch.eye(3)[[0, 0, 0, 1]]
    student = torch.eye(3)[[0, 1, 2, 1]]
    found = copied_error(student, teacher, torch.tensor([1, 1, 1, -1]))
    assert found[:3].tolist() == [1, 0, 0]
    assert found[3].isnan()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_any_precision_will_do(dtype):
    student, teacher = STUDENT.to(dtype), TEACHER.to(dtype)
    for measure in (divergence_from_teacher, rank_correlation):
        torch.testing.assert_close(measure(student, teacher), measure(student.double(), teacher.double()))


def test_every_labeled_sample_has_one_outcome():
    (student, labels), (teacher, _) = answered(900, 5, signal=1), answered(900, 5, seed=1)
    labels[::9] = -1
    counts = dict.fromkeys(Outcomes.__dataclass_fields__, 0)
    ours, of_teacher = student.argmax(dim=1), teacher.argmax(dim=1)
    for own, theirs, label in zip(ours.tolist(), of_teacher.tolist(), labels.tolist(), strict=True):
        if label < 0:
            continue
        if own == label:
            counts["both_right" if theirs == label else "mended"] += 1
        elif own == theirs:
            counts["copied"] += 1
        else:
            counts["own" if theirs == label else "wrong_otherwise"] += 1
    assert outcomes(ours, of_teacher, labels) == Outcomes(**counts)
    assert min(counts.values()) > 0
