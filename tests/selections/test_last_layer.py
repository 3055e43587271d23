from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from preceptor import InputError
from preceptor.context import ModelOutputs, SelectionData
from preceptor.selections import last_layer
from preceptor.selections.last_layer import (
    LastLayer,
    curvature_product,
    gauss_newton,
    gradient_norms,
    gradient_products,
    held_out_gradient,
    kronecker_inverse,
    mean_gradient,
    solve_exact,
    solve_kronecker,
)
from tests.conformance.selection_references import curvature
from tests.selections.samples import as_arrays, made_selection_data, without

Solve = Callable[[LastLayer, Tensor, float], Tensor]
SOLVERS: list[Solve] = [solve_exact, solve_kronecker, partial(solve_kronecker, steps=20)]


def layer_of(selection_data: SelectionData) -> LastLayer:
    return LastLayer(selection_data.teacher.train, selection_data.label, selection_data.has_bias)


def of_four_classes(seed: int = 0) -> SelectionData:
    return made_selection_data(40, classes=4, dimensions=3, seed=seed)


def per_sample_gradients(selection_data: SelectionData) -> Tensor:
    """By automatic differentiation, [n, classes, dimensions]."""
    train = selection_data.teacher.train
    assert train.features is not None
    inputs = torch.cat([train.features, torch.ones(len(train.features), 1)], dim=1)
    rows = []
    for i, label in enumerate(selection_data.label):
        weights = torch.zeros(4, 4, dtype=torch.float64, requires_grad=True)
        F.cross_entropy(train.logits[i] + weights @ inputs[i], label).backward()
        assert weights.grad is not None
        rows.append(weights.grad)
    return torch.stack(rows)


def test_gradients_are_those_of_automatic_differentiation() -> None:
    selection_data = of_four_classes()
    samples, rows = layer_of(selection_data), per_sample_gradients(selection_data)
    direction = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(mean_gradient(samples), rows.mean(dim=0))
    torch.testing.assert_close(gradient_products(samples, direction), (rows * direction).sum(dim=(1, 2)))
    torch.testing.assert_close(gradient_norms(samples), rows.flatten(1).norm(dim=1))


def test_the_curvature_is_the_dense_sum_over_samples() -> None:
    selection_data = of_four_classes()
    actual = gauss_newton(layer_of(selection_data))
    np.testing.assert_allclose(actual, curvature(as_arrays(selection_data)), atol=1e-13)
    assert torch.equal(actual, actual.mT)


def test_the_curvature_is_the_hessian_of_the_loss() -> None:
    selection_data = made_selection_data(n=6, has_bias=False)
    train = selection_data.teacher.train
    features = train.features
    assert features is not None

    def loss(change: Tensor) -> Tensor:
        return F.cross_entropy(train.logits + features @ change.mT, selection_data.label)

    hessian = torch.autograd.functional.hessian(loss, torch.zeros(3, 2, dtype=torch.float64))
    torch.testing.assert_close(gauss_newton(layer_of(selection_data)), hessian.reshape(6, 6))


def test_the_exact_solution_is_that_of_the_dense_system() -> None:
    selection_data = of_four_classes()
    target = held_out_gradient(selection_data, selection_data.teacher)
    damped = curvature(as_arrays(selection_data)) + 0.01 * np.eye(16)
    expected = np.linalg.solve(damped, target.numpy().ravel()).reshape(4, 4)
    np.testing.assert_allclose(solve_exact(layer_of(selection_data), target, 0.01), expected, rtol=1e-9)


def test_a_product_with_the_curvature_needs_no_matrix() -> None:
    samples = layer_of(of_four_classes())
    direction = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = (gauss_newton(samples) @ direction.flatten()).view(4, 4)
    torch.testing.assert_close(curvature_product(samples, direction), expected)


def rough_problem() -> tuple[LastLayer, Tensor]:
    """328 weights, for which the Kronecker-factored inverse alone is far off."""
    selection_data = made_selection_data(n=300, held_out=100, classes=8, dimensions=40)
    return layer_of(selection_data), held_out_gradient(selection_data, selection_data.teacher)


def test_enough_steps_lead_to_the_exact_solution() -> None:
    samples, target = rough_problem()
    actual, expected = solve_kronecker(samples, target, 5e-4, steps=1000), solve_exact(samples, target, 5e-4)
    unsolved = curvature_product(samples, actual) + 5e-4 * actual - target
    assert unsolved.norm() <= 1.01e-6 * target.norm()
    assert (actual - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.filterwarnings("ignore:influence. after")
def test_every_step_comes_closer_to_the_exact_solution_in_the_norm_of_the_curvature() -> None:
    samples, target = rough_problem()
    exact = solve_exact(samples, target, 5e-4)

    def energy(steps: int) -> float:
        away = solve_kronecker(samples, target, 5e-4, steps) - exact
        return float((away * (curvature_product(samples, away) + 5e-4 * away)).sum())

    actual = [energy(steps) for steps in range(12)]
    assert all(after < before for before, after in pairwise(actual))
    assert actual[-1] < 0.05 * actual[0]


@pytest.mark.filterwarnings("ignore:influence. after")
def test_no_steps_leave_the_kronecker_factored_inverse_alone() -> None:
    samples, target = rough_problem()
    expected = kronecker_inverse(samples, 0.01)(target)
    assert torch.equal(solve_kronecker(samples, target, 0.01, steps=0), expected)
    assert not torch.allclose(solve_kronecker(samples, target, 0.01, steps=1), expected)


def test_steps_end_as_soon_as_little_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, target = layer_of(of_four_classes()), mean_gradient(layer_of(of_four_classes(seed=1)))
    products: list[Tensor] = []

    def counted(samples: LastLayer, direction: Tensor) -> Tensor:
        products.append(direction)
        return curvature_product(samples, direction)

    monkeypatch.setattr(last_layer, "curvature_product", counted)
    actual = solve_kronecker(samples, target, 0.01, steps=10**9)
    needed = len(products) - 1
    assert 3 < needed <= 16  # in exact arithmetic no more steps than weights
    assert torch.equal(solve_kronecker(samples, target, 0.01, steps=needed), actual)
    assert not torch.equal(solve_kronecker(samples, target, 0.01, steps=needed - 1), actual)


def test_nothing_to_solve_for_is_solved_by_nothing() -> None:
    samples = layer_of(of_four_classes())
    assert torch.equal(solve_kronecker(samples, samples.zeros(4, 4), 0.01, steps=5), samples.zeros(4, 4))


def test_kronecker_factors_are_exact_where_all_samples_share_their_probabilities() -> None:
    selection_data = of_four_classes()
    train = selection_data.teacher.train
    samples = LastLayer(
        ModelOutputs(train.logits[:1].expand(40, 4), train.features), selection_data.label, has_bias=True
    )
    target = held_out_gradient(selection_data, selection_data.teacher)
    torch.testing.assert_close(solve_kronecker(samples, target, 1e-3), solve_exact(samples, target, 1e-3))


def test_much_damping_leaves_the_direction_as_it_is() -> None:
    selection_data = of_four_classes()
    target = held_out_gradient(selection_data, selection_data.teacher)
    for solve in SOLVERS:
        torch.testing.assert_close(1e9 * solve(layer_of(selection_data), target, 1e9), target, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("solve", SOLVERS)
def test_it_makes_no_difference_how_many_samples_are_taken_at_a_time(
    solve: Solve, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, target = layer_of(of_four_classes()), mean_gradient(layer_of(of_four_classes(seed=1)))
    expected = solve(samples, target, 0.01), gradient_products(samples, target), gradient_norms(samples)
    monkeypatch.setattr(last_layer, "CHUNK", 7)
    actual = solve(samples, target, 0.01), gradient_products(samples, target), gradient_norms(samples)
    torch.testing.assert_close(actual, expected)


def test_single_precision_costs_no_more_than_the_precision_of_the_selection_data() -> None:
    selection_data = of_four_classes()
    train = selection_data.teacher.train
    assert train.features is not None
    single = LastLayer(ModelOutputs(train.logits.float(), train.features.float()), selection_data.label, has_bias=True)
    target = held_out_gradient(selection_data, selection_data.teacher)
    for solve in SOLVERS:
        actual, expected = solve(single, target, 1e-3), solve(layer_of(selection_data), target, 1e-3)
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("solve", [solve_exact, partial(solve_kronecker, steps=20)])
def test_a_curvature_that_cannot_be_inverted_asks_for_more_damping(solve: Solve) -> None:
    selection_data = made_selection_data(n=2, dimensions=4)
    with pytest.raises(InputError, match=r"damping = 1e-300: too small"):
        solve(layer_of(selection_data), torch.ones(3, 5, dtype=torch.float64), 1e-300)


def test_the_error_names_what_the_layer_needs() -> None:
    selection_data = made_selection_data()
    with pytest.raises(InputError, match="collect the selection data with features"):
        layer_of(without(selection_data, features=True))
    with pytest.raises(InputError, match=r"label -1 with 3 classes: leave out unlabeled samples"):
        layer_of(made_selection_data(unlabeled=True))
    with pytest.raises(InputError, match="there are none"):
        LastLayer(ModelOutputs(torch.zeros(0, 3), torch.zeros(0, 2)), torch.zeros(0).long(), has_bias=False)
    with pytest.raises(InputError, match="never the test set"):
        held_out_gradient(selection_data, without(selection_data, held_out=True).teacher)


def test_too_few_steps_are_warned_of_and_enough_are_not(recwarn: pytest.WarningsRecorder) -> None:
    selection_data = made_selection_data(200, classes=6, dimensions=12, seed=0)
    train = selection_data.teacher.train
    assert train.features is not None
    scaled = ModelOutputs(train.logits, train.features * torch.logspace(-2, 2, 12, dtype=train.features.dtype))
    samples = LastLayer(scaled, selection_data.label, selection_data.has_bias)
    target = mean_gradient(samples)
    solve_kronecker(samples, target, 1e-3, steps=2_000)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"after 1 steps the residual is .* raise selection.steps"):
        solve_kronecker(samples, target, 1e-9, steps=1)
