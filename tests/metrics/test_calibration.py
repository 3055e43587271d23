import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from preceptor.errors import InputError
from preceptor.metrics import calibration_error, reliability
from preceptor.metrics.calibration import Probabilities, merged
from preceptor.metrics.scores import softmax_response
from tests.metrics.samples import answered, classwise_error, equal_width_groups, error_of, honest, softmax

BINNINGS = ["equal_width", "equal_mass"]


def some(n=300, seed=0, levels=None):
    generator = np.random.default_rng(seed)
    confidence = generator.random(n)
    if levels:
        confidence = np.floor(confidence * levels) / levels
    return confidence, generator.random(n) < confidence**2


def tensors(confidence, right):
    return torch.tensor(confidence), torch.tensor(right)


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("levels", [None, 10, 3])
def test_bins_of_equal_width_agree_with_a_loop(bins, levels):
    confidence, right = some(levels=levels)
    expected = error_of(confidence, right, equal_width_groups(confidence, bins))
    assert calibration_error(*tensors(confidence, right), bins) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_bins_of_equal_mass_agree_with_a_split_of_the_sorted(bins):
    confidence, right = some(n=300)
    groups = np.array_split(np.argsort(confidence), bins)
    found = calibration_error(*tensors(confidence, right), bins, "equal_mass")
    assert found == pytest.approx(error_of(confidence, right, groups), abs=1e-12)


@pytest.mark.parametrize(("binning", "theirs"), [("equal_width", "uniform"), ("equal_mass", "quantile")])
def test_the_diagram_is_scikit_learns(binning, theirs):
    confidence, right = some(n=3000)
    diagram = reliability(*tensors(confidence, right), 10, binning)
    accuracy, mean_confidence = calibration_curve(right, confidence, n_bins=10, strategy=theirs)
    np.testing.assert_allclose(diagram.accuracy, accuracy, atol=4e-3)  # quantiles fall between samples
    np.testing.assert_allclose(diagram.confidence, mean_confidence, atol=4e-3)
    assert sum(diagram.samples) == pytest.approx(3000)


@pytest.mark.parametrize("binning", BINNINGS)
@given(
    samples=st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30),
    bins=st.integers(1, 8),
    seed=st.integers(0, 9),
)
def test_the_error_is_that_of_the_diagram_and_blind_to_the_order_of_samples(binning, samples, bins, seed):
    confidence, right = torch.tensor(samples).double().div(torch.tensor([6.0, 1.0])).unbind(dim=1)
    shuffle = torch.randperm(len(right), generator=torch.Generator().manual_seed(seed))
    error = calibration_error(confidence, right.bool(), bins, binning)
    assert error == pytest.approx(calibration_error(confidence[shuffle], right[shuffle].bool(), bins, binning))
    diagram = reliability(confidence, right.bool(), bins, binning)
    from_diagram = sum(
        size * abs(accuracy - claimed)
        for size, claimed, accuracy in zip(diagram.samples, diagram.confidence, diagram.accuracy, strict=True)
        if claimed is not None
    )
    assert error == pytest.approx(from_diagram / len(samples), abs=1e-9)
    assert 0 <= error <= 1


def test_the_tied_of_equal_mass_are_shared_out():
    """Three equal confidences in two bins: each gets one and a half of them, and half of each error."""
    diagram = reliability(torch.full((3,), 0.5).double(), torch.tensor([True, True, False]), 2, "equal_mass")
    assert diagram.samples == [1.5, 1.5]
    assert diagram.accuracy == pytest.approx([2 / 3, 2 / 3])


@pytest.mark.parametrize("binning", BINNINGS)
def test_the_honest_are_calibrated_and_the_bold_are_not(binning):
    logits, labels = honest(20_000, 4, seed=0)
    right = logits.argmax(dim=1) == labels
    assert calibration_error(softmax_response(logits), right, binning=binning) < 0.015
    assert calibration_error(softmax_response(3 * logits), right, binning=binning) > 0.05
    assert Probabilities.of(logits, labels).classwise_ece < 0.015
    assert Probabilities.of(3 * logits, labels).classwise_ece > 0.03


def test_certainty_that_is_right_is_calibrated_and_an_edge_belongs_below():
    assert calibration_error(torch.ones(5), torch.ones(5).bool()) == 0
    diagram = reliability(torch.tensor([0.0, 0.2, 0.4, 1.0], dtype=torch.float64), torch.ones(4).bool(), 5)
    assert diagram.samples == [2, 1, 0, 0, 1]
    assert diagram.accuracy[2] is diagram.confidence[2] is None


@pytest.mark.parametrize("classes", [2, 5])
def test_the_class_wise_error_agrees_with_a_loop(classes):
    logits, labels = answered(300, classes)
    expected = classwise_error(softmax(logits), labels)
    assert Probabilities.of(logits, labels).classwise_ece == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("decimals", [None, 0])  # few levels of confidence, of which draws lack some
def test_the_errors_of_draws_are_those_of_their_samples(decimals):
    logits, labels = answered(60, 4)
    logits = logits if decimals is None else logits.round(decimals=decimals)
    shares, right = softmax(logits), logits.argmax(dim=1) == labels
    index = torch.randint(60, (5, 60), generator=torch.Generator().manual_seed(0))
    drawn = Probabilities.of(logits, labels).errors(index, right)
    confidence = softmax_response(logits)
    for row, one in enumerate(index):
        own = confidence[one], right[one]
        assert drawn["ece"][row] == pytest.approx(calibration_error(*own), abs=1e-12)
        assert drawn["adaptive_ece"][row] == pytest.approx(calibration_error(*own, binning="equal_mass"), abs=1e-12)
        expected = classwise_error(shares[one.numpy()], labels[one])
        assert drawn["classwise_ece"][row] == pytest.approx(expected, abs=1e-12)


ONE = torch.tensor([0.5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(0), ONE[:0].bool()), "no sample"),
        ((ONE, torch.ones(2).bool()), r"shapes \[1\] and \[2\]"),
        ((torch.tensor([0.5, 1.5]), torch.ones(2).bool()), "sample 1: confidence is 1.5; expected a probability"),
        ((torch.tensor([float("nan")]), ONE.bool()), "sample 0: its confidence is NaN"),
        ((ONE, ONE.bool(), 0), "bins is 0; expected a whole number at least 1"),
        ((ONE, ONE.bool(), 5, "equal"), "unknown binning 'equal'"),
    ],
)
def test_what_cannot_be_binned_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        calibration_error(*arguments)


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 99))
def test_small_bins_join_their_neighbors(samples, least, seed):
    logits, labels = answered(samples + 5, 5, seed)
    sure, right = softmax_response(logits), logits.argmax(dim=1) == labels
    whole, joined = reliability(sure, right), merged(reliability(sure, right), least)
    assert all(size >= least for size in joined.samples) or len(joined.samples) == 1
    for name, each in (("confidence", sure), ("accuracy", right)):
        sums = [size * value for size, value in zip(joined.samples, getattr(joined, name), strict=True)]
        assert sum(sums) == pytest.approx(float(each.double().sum()))
    assert sum(joined.samples) == sum(whole.samples)
    assert joined.confidence == sorted(joined.confidence)
    if least == 1:
        kept = [size for size in whole.samples if size]
        assert joined.samples == kept
