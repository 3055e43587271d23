import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, recall_score, top_k_accuracy_score

from preceptor.errors import InputError
from preceptor.metrics import aurc, brier_score, evaluate, negative_log_likelihood
from preceptor.metrics.accuracy import per_class_accuracy, topk_correct
from preceptor.metrics.scores import softmax_response


def some_logits(n=200, classes=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    label = torch.cat([torch.arange(classes), torch.randint(classes, (n - classes,), generator=generator)])
    return logits, label


def probabilities(logits):
    shifted = np.exp(logits.numpy() - logits.numpy().max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 5, 6, 8])
def test_agrees_with_scikit_learn(classes):
    logits, label = some_logits(classes=classes)
    metrics, truth, shares = evaluate(logits, label), label.numpy(), probabilities(logits)
    prediction = shares.argmax(axis=1)
    assert metrics.n == 200
    assert metrics.accuracy == pytest.approx(accuracy_score(truth, prediction))
    assert metrics.nll == pytest.approx(log_loss(truth, shares))
    assert metrics.per_class_accuracy == pytest.approx(recall_score(truth, prediction, average=None))
    assert metrics.mean_confidence == pytest.approx(shares.max(axis=1).mean())
    if classes > 5:
        assert metrics.top5_accuracy == pytest.approx(top_k_accuracy_score(truth, shares, k=5))
    else:
        assert metrics.top5_accuracy is None


@pytest.mark.parametrize("classes", [2, 5])
def test_the_brier_score_agrees_with_scikit_learn(classes):
    logits, label = some_logits(classes=classes)
    expected = brier_score_loss(label.numpy(), probabilities(logits), scale_by_half=False)
    assert brier_score(logits, label).mean() == pytest.approx(expected)


def test_the_brier_score_is_0_for_the_truth_2_for_the_opposite_and_unknown_without_a_label():
    found = brier_score(torch.tensor([[1e4, 0.0], [0.0, 1e4], [0.0, 0.0]]), torch.tensor([0, 0, -1]))
    assert found[:2].tolist() == [0, 2]
    assert found[2].isnan()


@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_top_k_agrees_with_scikit_learn(k):
    logits, label = some_logits()
    expected = top_k_accuracy_score(label.numpy(), logits.numpy(), k=k, normalize=False)
    assert topk_correct(logits, label, k).sum() == expected


few_values = arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(2, 6)), elements=st.sampled_from([-1, 0, 2]))


@given(values=few_values, k=st.integers(1, 7), data=st.data())
def test_ties_go_to_the_smaller_index(values, k, data):
    n, classes = values.shape
    label = data.draw(arrays(np.int64, n, elements=st.integers(-1, classes - 1)))
    best = [sorted(range(classes), key=lambda c: (-row[c], c))[:k] for row in values.tolist()]
    expected = [own in top for own, top in zip(label.tolist(), best, strict=True)]
    assert topk_correct(torch.tensor(values), torch.tensor(label), k).tolist() == expected


def test_a_tie_is_predicted_as_the_first_class():
    assert evaluate(torch.zeros(3, 4), torch.tensor([0, 1, 3])).accuracy == pytest.approx(1 / 3)


@given(
    values=arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(3, 9)), elements=st.floats(-9, 9, width=32)),
    favor=st.sampled_from([0.0, 20.0]),
    data=st.data(),
)
def test_to_abstain_is_never_predicted(values, favor, data):
    outputs = torch.tensor(values)
    outputs[:, -1] += favor  # it may be the largest output of every sample
    classes = outputs.shape[1] - 1
    label = torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), min_size=len(values), max_size=len(values))))
    metrics, without = evaluate(outputs, label, abstains=True), evaluate(outputs[:, :-1], label)
    assert replace(metrics, selective=metrics.selective[:1]) == without
    assert metrics.accuracy == accuracy_score(label, values[:, :-1].argmax(axis=1))
    assert len(metrics.per_class_accuracy) == classes
    with pytest.raises(InputError, match=f"label {classes} is out of range"):
        evaluate(outputs, torch.full_like(label, classes), abstains=True)


@pytest.mark.parametrize("abstains", [False, True])
def test_the_error_at_full_coverage_is_one_minus_accuracy_by_every_score(abstains):
    logits, label = some_logits()
    metrics = evaluate(logits, label % (8 - abstains), abstains)
    assert [each.score for each in metrics.selective] == ["softmax response", "reservation"][: 1 + abstains]
    for each in metrics.selective:
        assert each.error_at_coverage["100"] == pytest.approx(1 - metrics.accuracy)


def test_the_two_scores_of_an_abstaining_student_are_of_its_classes_and_of_its_last_output():
    logits, label = some_logits(classes=5)
    outputs = torch.cat([logits, 3 * torch.randn(200, 1, generator=torch.Generator().manual_seed(1))], dim=1)
    wrong = logits.argmax(dim=1) != label
    by_response, by_reservation = evaluate(outputs, label, abstains=True).selective
    assert by_response.aurc == aurc(softmax_response(logits), wrong)
    assert by_reservation.aurc == aurc(-outputs.softmax(dim=1)[:, -1], wrong)
    assert by_response.aurc != by_reservation.aurc


def test_unlabeled_samples_change_nothing():
    logits, label = some_logits()
    keep = torch.arange(len(label)) % 3 > 0
    assert evaluate(logits, label.where(keep, -1)) == evaluate(logits[keep], label[keep])


def test_unlabeled_samples_in_the_per_sample_functions():
    logits, label = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([-1, 0])
    assert topk_correct(logits, label, 2).tolist() == [False, True]
    assert negative_log_likelihood(logits, label).tolist() == pytest.approx([0, math.log1p(math.exp(-1))])
    assert per_class_accuracy(torch.tensor([1, 0]), label, 2)[0] == 1


def test_an_absent_class_has_no_accuracy():
    logits = torch.eye(4)[[0, 0, 3]]
    label = torch.tensor([0, 3, 3])
    assert evaluate(logits, label).per_class_accuracy == [1.0, None, None, 0.5]
    assert per_class_accuracy(logits.argmax(1), label, 4).isnan().tolist() == [False, True, True, False]


@given(st.permutations(range(12)))
def test_the_order_of_samples_does_not_matter(order):
    logits, label = some_logits(n=12, classes=6)
    shuffled, original = evaluate(logits[order], label[order]), evaluate(logits, label)
    assert shuffled.accuracy == original.accuracy
    assert shuffled.nll == pytest.approx(original.nll)
    assert shuffled.per_class_accuracy == original.per_class_accuracy


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_precision_of_the_logits_is_kept_or_raised(dtype):
    logits, label = some_logits()
    rounded = logits.to(dtype)
    assert negative_log_likelihood(rounded, label).dtype == torch.float32
    assert evaluate(rounded, label).nll == pytest.approx(log_loss(label, probabilities(rounded.double())), rel=1e-5)


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]])
    metrics = evaluate(logits, torch.tensor([0, 0]))
    assert metrics.nll == pytest.approx(1e4)
    assert metrics.mean_confidence == 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_labels_of_any_integer_type(dtype):
    logits, label = some_logits()
    assert evaluate(logits, label.to(dtype)) == evaluate(logits, label)


def test_metrics_are_ready_for_json():
    logits, _ = some_logits(n=8, classes=4)
    plain = asdict(evaluate(logits, torch.tensor([0, 0, 1, 1, 2, 2, 2, -1])))
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


@pytest.mark.parametrize("astray", [-2, 4, 100])
def test_a_label_out_of_range_is_named(astray):
    with pytest.raises(InputError, match=f"sample 2: label {astray} is out of range; expected 0 to 3, or -1"):
        evaluate(torch.zeros(4, 4), torch.tensor([0, -1, astray, 99]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_not_finite_is_named(value):
    logits = torch.zeros(4, 3)
    logits[2, 1] = value
    with pytest.raises(InputError, match="sample 2: its logits are not all finite"):
        evaluate(logits, torch.zeros(4, dtype=torch.int64))


def test_as_many_labels_as_logits():
    with pytest.raises(InputError, match="3 labels for 4 rows of logits"):
        evaluate(torch.zeros(4, 3), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("n", [0, 2])
def test_without_labels_there_is_nothing_to_measure(n):
    with pytest.raises(InputError, match=f"no labeled sample among {n}"):
        evaluate(torch.zeros(n, 3), torch.full((n,), -1))
