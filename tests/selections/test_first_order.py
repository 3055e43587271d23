from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from preceptor.context import SelectionData
from preceptor.selections import GradientCosine, TracIn
from tests.selections.samples import made_selection_data


def held_out_loss_after_a_step_on(i: int, selection_data: SelectionData, size: float) -> float:
    """One step of gradient descent on the last layer, on one sample alone, taken by automatic differentiation."""
    train, held_out, label = (
        selection_data.teacher.train,
        selection_data.teacher.held_out,
        selection_data.held_out_label,
    )
    assert train.features is not None
    assert held_out is not None
    assert held_out.features is not None
    change = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    F.cross_entropy(train.logits[i] + change @ train.features[i], selection_data.label[i]).backward()
    assert change.grad is not None
    logits = held_out.logits - size * held_out.features @ change.grad.mT
    return float(F.cross_entropy(logits, label))  # type: ignore[arg-type]


def test_tracin_foretells_what_a_step_does_to_the_held_out_loss() -> None:
    selection_data = made_selection_data(n=8, has_bias=False)
    [teacher] = selection_data.checkpoints
    size = 1e-6
    scores = TracIn().score(replace(selection_data, checkpoints=(replace(teacher, learning_rate=size),)))
    for i, score in enumerate(scores.tolist()):
        fallen = held_out_loss_after_a_step_on(i, selection_data, 0.0) - held_out_loss_after_a_step_on(
            i, selection_data, size
        )
        assert score == pytest.approx(fallen, rel=1e-3, abs=1e-11)


def test_checkpoints_add_up_by_their_learning_rates() -> None:
    selection_data = made_selection_data(checkpoints=3)
    alone = [TracIn().score(replace(selection_data, checkpoints=(each,))) for each in selection_data.checkpoints]
    torch.testing.assert_close(TracIn().score(selection_data), sum(alone[1:], alone[0]))
    faster = replace(
        selection_data, checkpoints=tuple(replace(each, learning_rate=1.0) for each in selection_data.checkpoints)
    )
    rates = [each.learning_rate for each in selection_data.checkpoints]
    weighted = sum(score / rate for score, rate in zip(alone, rates, strict=True))
    torch.testing.assert_close(TracIn().score(faster), weighted)


def test_the_cosine_is_at_most_1_and_forgets_how_long_gradients_are() -> None:
    selection_data = made_selection_data(has_bias=False)
    cosine = GradientCosine().score(selection_data)
    assert (cosine.abs() <= 1 + 1e-12).all()
    [teacher] = selection_data.checkpoints
    assert teacher.train.features is not None
    stretch = torch.linspace(0.1, 9, 30, dtype=torch.float64).unsqueeze(1)
    stretched = replace(teacher.train, features=teacher.train.features * stretch)
    torch.testing.assert_close(
        GradientCosine().score(replace(selection_data, checkpoints=(replace(teacher, train=stretched),))), cosine
    )


def test_a_sample_like_the_held_out_one_points_its_way_and_one_without_a_gradient_nowhere() -> None:
    selection_data = made_selection_data(n=3, held_out=1)
    [teacher] = selection_data.checkpoints
    held_out, label = teacher.held_out, selection_data.held_out_label
    assert held_out is not None
    assert label is not None
    assert held_out.features is not None
    logits, features = held_out.logits.repeat(3, 1), held_out.features.repeat(3, 1)
    logits[1] = F.one_hot(label[0], 3) * 1000.0
    train = replace(teacher.train, logits=logits, features=features)
    same = replace(selection_data, label=label.repeat(3), checkpoints=(replace(teacher, train=train),))
    torch.testing.assert_close(GradientCosine().score(same), torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))
