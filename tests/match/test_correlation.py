import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy, pearsonr, spearmanr
from torch import Tensor

from preceptor import CMKD, Chain, InputError, Pearson, Spearman
from preceptor.match import difficulty, pearson, pearson_loss, spearman_loss, z_score

seeds = st.integers(0, 10_000)


def logits(seed: int, samples: int = 4, classes: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, samples, classes, generator=generator, dtype=torch.float64) * 2
    return first, second


@given(seeds)
def test_pearson_and_hard_spearman_are_scipys(seed: int) -> None:
    student, teacher = logits(seed)
    values, ranks = pearson(student, teacher), 1 - spearman_loss(student, teacher, strength=1e-7)
    for row in range(len(student)):
        assert float(values[row]) == pytest.approx(pearsonr(student[row], teacher[row]).statistic, abs=1e-6)
        assert float(ranks[row]) == pytest.approx(spearmanr(student[row], teacher[row]).statistic, abs=1e-6)


@given(seeds, st.floats(0.1, 10), st.floats(-5, 5))
def test_affine_maps_of_either_row_change_nothing(seed: int, factor: float, constant: float) -> None:
    student, teacher = logits(seed)
    for loss in (lambda z, t: pearson_loss(z, t, 4.0), lambda z, t: pearson_loss(z, t, on="z"), spearman_loss):
        expected = loss(student, teacher)
        torch.testing.assert_close(loss(student * factor + constant, teacher), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(loss(student, teacher * factor + constant), expected, atol=1e-5, rtol=0)
        assert ((expected >= -1e-9) & (expected <= 2 + 1e-9)).all()


@given(seeds)
def test_a_negative_factor_turns_the_sign(seed: int) -> None:
    student, teacher = logits(seed)
    torch.testing.assert_close(pearson_loss(-student, teacher, on="z"), 2 - pearson_loss(student, teacher, on="z"))


@pytest.mark.parametrize("stage", [Pearson(), Pearson("z"), Spearman(), Spearman("permutahedron"), CMKD()])
def test_a_students_gradient_sums_to_zero_in_every_row(stage: Any) -> None:
    student, teacher = logits(1)
    student.requires_grad_()
    stage(student, teacher, 4.0, torch.zeros(4, dtype=torch.long)).sum().backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad.sum(dim=1), torch.zeros(4, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("stage", [Pearson(), Pearson("z"), Spearman(), Spearman("permutahedron"), CMKD()])
@pytest.mark.parametrize("constant", ["student", "teacher", "both"])
def test_constant_rows_give_no_nan(stage: Any, constant: str) -> None:
    student, teacher = logits(2)
    if constant != "teacher":
        student[0] = 3.0
    if constant != "student":
        teacher[0] = -1.0
    student.requires_grad_()
    loss = stage(student, teacher, 4.0, torch.zeros(4, dtype=torch.long))
    loss.sum().backward()
    assert student.grad is not None
    assert loss.isfinite().all()
    assert student.grad.isfinite().all()
    assert student.grad[0].abs().max() == 0


@given(seeds)
def test_difficulty_is_the_entropy_as_a_share_of_its_greatest(seed: int) -> None:
    _, teacher = logits(seed)
    expected = entropy(teacher.softmax(dim=1).numpy(), axis=1, base=8)
    np.testing.assert_allclose(difficulty(teacher).numpy(), expected, atol=1e-12)
    assert float(difficulty(torch.zeros(1, 5))) == pytest.approx(1)
    assert float(difficulty(torch.tensor([[1e4, 0.0, 0.0]]))) == 0


def test_the_two_directions_share_out_the_weight() -> None:
    _, teacher = logits(3)
    weights = [CMKD(weighting).rank_weight(teacher) for weighting in ("ranks_when_hard", "values_when_hard", "static")]
    torch.testing.assert_close(weights[0] + weights[1], torch.ones(4, dtype=torch.float64))
    assert weights[2].tolist() == [0.5] * 4
    assert weights[0].argmax() == difficulty(teacher).argmax()


@pytest.mark.parametrize(
    ("stage", "classes", "expected"),
    [
        (Spearman("permutahedron", 1.0), 10, True),
        (Spearman("permutahedron", 0.1), 10, False),
        (Spearman("permutahedron", 0.1), 100, True),
        (Spearman("window", 6.0), 10, True),
        (CMKD(rank="window", strength=0.5), 10, False),
        (CMKD(), 1000, False),
    ],
)
def test_a_rank_so_soft_that_it_is_pearson_is_warned_of(stage: Any, classes: int, expected: bool) -> None:
    student, teacher = logits(4, classes=classes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stage(student, teacher, 1.0, torch.zeros(4, dtype=torch.long))
    assert bool(caught) == expected
    if expected and stage.rank == "permutahedron":
        loss = spearman_loss(student, teacher, stage.rank, stage.strength)
        torch.testing.assert_close(loss, pearson_loss(student, teacher, on="z"), atol=0.02, rtol=0)


def test_the_correlations_take_corrections_and_abstaining_heads() -> None:
    student, teacher = logits(5)
    wider = torch.cat([student, torch.ones(4, 1, dtype=torch.float64)], dim=1)
    label = torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(
        Chain(match=CMKD())(wider, teacher, label).total, Chain(match=CMKD())(student, teacher, label).total
    )


@pytest.mark.parametrize("stage", [Spearman, CMKD])
@pytest.mark.parametrize("strength", [0.0, -1.0, float("inf"), float("nan")])
def test_a_strength_that_is_none_is_refused(stage: Any, strength: float) -> None:
    with pytest.raises(InputError, match=r"strength = .*must be above 0"):
        stage(strength=strength)


def test_z_scores() -> None:
    found = z_score(torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0]]))
    assert found.std(dim=1).tolist() == [pytest.approx(1, abs=1e-6), 0]
