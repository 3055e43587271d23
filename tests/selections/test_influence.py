"""Influence against leave-one-out retraining: the true change of the held-out loss without each sample."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from preceptor import InputError
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.selections import Influence, influence_scores
from tests.conformance.selection_references import influence_scores as derived_influence_scores
from tests.selections.samples import as_arrays, made_selection_data

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
CLASSES, DIMENSIONS, DECAY = 3, 4, 0.01
SEEDS = range(6)


def probabilities(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs: Array = powers / powers.sum(axis=1, keepdims=True)
    return probs


def trained(inputs: Array, label: Labels) -> Array:
    """Multinomial logistic regression, mean loss plus DECAY / 2 |W|^2, by Newton's method to machine precision."""
    weights = np.zeros((CLASSES, inputs.shape[1]))
    one_hot = np.eye(CLASSES)[label]
    for _ in range(100):
        p = probabilities(inputs @ weights.T)
        slope = (p - one_hot).T @ inputs / len(inputs) + DECAY * weights
        if abs(slope).max() < 1e-13:
            return weights
        spread = np.einsum("nc,cd->ncd", p, np.eye(CLASSES)) - np.einsum("nc,nd->ncd", p, p)
        hessian = np.einsum("ncd,ni,nj->cidj", spread, inputs, inputs).reshape(weights.size, -1) / len(inputs)
        step = np.linalg.solve(hessian + DECAY * np.eye(weights.size), slope.ravel())
        weights = weights - step.reshape(weights.shape)
    raise AssertionError("Newton's method did not arrive")


def loss(weights: Array, inputs: Array, label: Labels) -> float:
    return float(-np.log(probabilities(inputs @ weights.T)[np.arange(len(label)), label]).mean())


@cache
def problem(seed: int, n: int = 90) -> tuple[SelectionData, Array]:
    """A trained regression, a tenth of its labels flipped; what leaving each sample out does to the held-out loss."""
    numbers = np.random.default_rng(seed)
    label = numbers.integers(CLASSES, size=n + 300)
    centers = 1.2 * numbers.normal(size=(CLASSES, DIMENSIONS))
    features = centers[label] + numbers.normal(size=(n + 300, DIMENSIONS))
    inputs = np.concatenate([features, np.ones((n + 300, 1))], axis=1)
    label[: n // 10] = (label[: n // 10] + 1) % CLASSES
    weights = trained(inputs[:n], label[:n])
    before = loss(weights, inputs[n:], label[n:])
    change = []
    for i in range(n):
        others = np.delete(np.arange(n), i)
        change.append(loss(trained(inputs[others], label[others]), inputs[n:], label[n:]) - before)
    logits, given = torch.from_numpy(inputs @ weights.T), torch.from_numpy(features)
    teacher = TeacherSnapshot(1.0, ModelOutputs(logits[:n], given[:n]), ModelOutputs(logits[n:], given[n:]))
    labels = torch.from_numpy(label)
    return SelectionData(torch.arange(n), labels[:n], labels[n:], (teacher,), has_bias=True, size=n), np.array(change)


def agreement(seed: int, exact_up_to: int, steps: int = 20) -> float:
    """Spearman's correlation of the predicted changes of the held-out loss with the true ones."""
    selection_data, change = problem(seed)
    predicted = influence_scores(selection_data, DECAY, exact_up_to, steps).numpy() / len(change)
    return float(spearmanr(predicted, change).statistic)


def test_it_foretells_what_leaving_a_sample_out_does() -> None:
    assert min(agreement(seed, exact_up_to=4096) for seed in SEEDS) >= 0.95


def test_so_does_the_refined_kronecker_inverse() -> None:
    assert min(agreement(seed, exact_up_to=0) for seed in SEEDS) >= 0.95


def test_so_does_the_kronecker_inverse_alone_though_less_well() -> None:
    actual = [agreement(seed, exact_up_to=0, steps=0) for seed in SEEDS]
    assert np.median(actual) >= 0.9
    assert min(actual) >= 0.75


@pytest.mark.parametrize("seed", SEEDS)
def test_it_foretells_by_how_much(seed: int) -> None:
    selection_data, change = problem(seed)
    predicted = influence_scores(selection_data, DECAY).numpy() / len(change)
    # Without one sample the others count a little more against the decay, by the same amount whichever is left out.
    slope = np.polyfit(predicted - predicted.mean(), change - change.mean(), 1)[0]
    assert slope == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("seed", SEEDS)
def test_flipped_labels_score_lowest(seed: int) -> None:
    selection_data, _ = problem(seed)
    component = Influence(keep=0.7, damping=DECAY)
    component.fit(selection_data)
    assert component.weight[:9].mean() < 0.4 < 0.7 < component.weight[9:].mean()


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.filterwarnings("ignore:influence. after")
@pytest.mark.parametrize(("exact_up_to", "steps"), [(4096, 20), (0, 0), (0, 1), (0, 3), (0, 20)])
def test_every_way_to_invert_agrees_with_its_derivation(has_bias: bool, exact_up_to: int, steps: int) -> None:
    selection_data = made_selection_data(classes=4, dimensions=3, has_bias=has_bias)
    selection_data = replace(selection_data, index=torch.arange(30), size=30)
    actual = influence_scores(selection_data, 0.01, exact_up_to, steps)
    expected = derived_influence_scores(as_arrays(selection_data), 0.01, exact_up_to, steps)
    np.testing.assert_allclose(actual, expected, rtol=1e-8)


def test_the_switch_is_at_classes_times_dimensions_with_the_bias() -> None:
    selection_data = made_selection_data(classes=4, dimensions=3)
    exact, kronecker = (influence_scores(selection_data, exact_up_to=up_to, steps=0) for up_to in (10**6, 0))
    assert not torch.allclose(exact, kronecker)
    assert torch.equal(influence_scores(selection_data, exact_up_to=16, steps=0), exact)
    assert torch.equal(influence_scores(selection_data, exact_up_to=15, steps=0), kronecker)


@pytest.mark.parametrize("seed", range(3))
def test_the_default_steps_rank_as_the_exact_inverse_where_kronecker_factors_alone_are_rough(seed: int) -> None:
    selection_data = made_selection_data(n=300, held_out=100, classes=8, dimensions=40, seed=seed)
    exact = influence_scores(selection_data)
    rough, refined = (
        influence_scores(selection_data, exact_up_to=0, steps=0),
        influence_scores(selection_data, exact_up_to=0),
    )
    assert spearmanr(exact, rough).statistic < 0.7
    assert spearmanr(exact, refined).statistic >= 0.99


def test_renumbered_classes_change_nothing() -> None:
    selection_data = made_selection_data(classes=4, dimensions=3)
    [teacher] = selection_data.checkpoints
    order = torch.tensor([2, 0, 3, 1])
    new_number = order.argsort()
    assert teacher.held_out is not None
    assert selection_data.held_out_label is not None
    renumbered = replace(
        selection_data,
        label=new_number[selection_data.label],
        held_out_label=new_number[selection_data.held_out_label],
        checkpoints=(
            replace(
                teacher,
                train=replace(teacher.train, logits=teacher.train.logits[:, order]),
                held_out=replace(teacher.held_out, logits=teacher.held_out.logits[:, order]),
            ),
        ),
    )
    for exact_up_to, steps in ((4096, 0), (0, 0), (0, 3)):
        actual, expected = (influence_scores(given, 0.01, exact_up_to, steps) for given in (renumbered, selection_data))
        torch.testing.assert_close(actual, expected)


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match=r"influence: damping = 0.0: expected a finite number above 0"):
        Influence(damping=0.0)
    with pytest.raises(InputError, match=r"influence: exact_up_to = -1"):
        Influence(exact_up_to=-1)
    with pytest.raises(InputError, match=r"influence: steps = -1: expected 0 \(the Kronecker-factored inverse alone\)"):
        Influence(steps=-1)


def test_the_component_hands_its_options_on() -> None:
    selection_data = made_selection_data(classes=4, dimensions=3)
    component = Influence(damping=0.1, exact_up_to=15, steps=2)
    assert torch.equal(component.score(selection_data), influence_scores(selection_data, 0.1, exact_up_to=0, steps=2))
    assert not torch.equal(
        component.score(selection_data), influence_scores(selection_data, 0.1, exact_up_to=0, steps=1)
    )
