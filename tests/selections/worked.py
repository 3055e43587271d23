"""The worked numbers of influence and of the choice by score."""

import torch
from scipy.stats import spearmanr

from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.selections import influence_scores, keep_mask
from preceptor.selections.last_layer import LastLayer, gauss_newton, gradient_products, held_out_gradient
from tests.worked import Vector, checks, doubles, same


def of_two_classes(x: list[float], weight: float) -> ModelOutputs:
    """A logistic regression's samples: class 0 has the logit 0."""
    features = doubles(x).unsqueeze(1)
    return ModelOutputs(torch.cat([0 * features, weight * features], dim=1), features)


@checks("ds.influence_1d_logistic")
def influence_of_a_logistic_regression(vector: Vector) -> None:
    """Two classes have two weights for the one of a logistic regression, and only their difference counts.

    Along that difference the curvature of the softmax and the product of two gradients are both twice those of the
    one weight, so that twice its penalty gives the same influence.
    """
    train, held_out = (of_two_classes(vector[x], vector["w_hat"]) for x in ("x", "x_val"))
    label, held_out_label = torch.tensor(vector["y"]), torch.tensor(vector["y_val"])
    n = len(label)
    selection_data = SelectionData(
        torch.arange(n), label, held_out_label, (TeacherSnapshot(1.0, train, held_out),), has_bias=False, size=n
    )
    for exact_up_to, steps in ((4096, 0), (0, 0), (0, 20)):  # one feature: the Kronecker factors are exact
        actual = influence_scores(selection_data, 2 * vector["l2"], exact_up_to, steps)
        same(-actual, vector["I_up_loss"])
        same(actual / n, vector["predicted_val_loss_change_on_removal"])
    left_out = doubles(vector["leave_one_out_true"])
    assert torch.equal(actual.sign(), left_out.sign())
    same(spearmanr(actual.round(decimals=9), left_out).statistic, 1.0)  # two samples that mirror each other tie in both
    of_the_one_weight(vector, selection_data)


def of_the_one_weight(vector: Vector, selection_data: SelectionData) -> None:
    """The gradients of the second class's weight are those of the regression's one weight, and so is the curvature."""
    layer, second = (
        LastLayer(selection_data.teacher.train, selection_data.label, selection_data.has_bias),
        doubles([[0.0], [1.0]]),
    )
    same(gradient_products(layer, second), vector["grad_train"])
    same(held_out_gradient(selection_data, selection_data.teacher)[1], [vector["grad_val"]])
    same(gauss_newton(layer)[1, 1] + vector["l2"], vector["hessian"])


@checks("ds.select_stable")
def choice_by_score(vector: Vector) -> None:
    scores = doubles(vector["scores"])
    assert vector["higher_is_distilled"]
    assert keep_mask(scores, vector["ratio"]).tolist() == vector["mask"]
    assert keep_mask(scores, vector["ratio"], ascending=True).tolist() == vector["mask_lower"]
    assert sum(vector["mask"]) == vector["k"]
