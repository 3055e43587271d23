import warnings
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy, pearsonr, spearmanr
from torch import Tensor

from preceptor import CMKD, DistillationLoss, InputError, Pearson, Spearman
from preceptor.losses import (
    difficulty,
    pearson,
    pearson_loss,
    permutahedron_soft_rank,
    spearman_loss,
    window_soft_rank,
    z_score,
)
from preceptor.losses.correlation import On, Rank, Weighting

seeds = st.integers(0, 10_000)
COMPONENTS: list[Any] = [
    *(Pearson(on) for on in get_args(On)),
    *(Spearman(rank) for rank in get_args(Rank)),
    *(CMKD(weighting, rank="permutahedron", strength=0.1) for weighting in get_args(Weighting)),
    CMKD(),
]
NO_LABEL = torch.zeros(4, dtype=torch.long)


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


@pytest.mark.parametrize("component", [Pearson(), Pearson("z"), Spearman(), Spearman("permutahedron")], ids=repr)
@given(seed=seeds, factor=st.floats(0.1, 10), constant=st.floats(-5, 5))
def test_affine_maps_of_either_row_change_nothing(component: Any, seed: int, factor: float, constant: float) -> None:
    student, teacher = logits(seed)
    expected = component(student, teacher, 4.0, NO_LABEL)
    mapped = student * factor + constant, teacher * factor + constant
    torch.testing.assert_close(component(mapped[0], teacher, 4.0, NO_LABEL), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(component(student, mapped[1], 4.0, NO_LABEL), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("component", COMPONENTS, ids=repr)
@given(seed=seeds, factor=st.sampled_from([-50.0, -1.0, 0.01, 1.0]))
def test_losses_are_from_0_to_2(component: Any, seed: int, factor: float) -> None:
    student, teacher = logits(seed)
    weight = getattr(component, "beta", 1.0)  # CMKD's loss is a mean of two, times 2
    for other in (student, factor * teacher):
        loss = component(other, teacher, 4.0, NO_LABEL) / weight
        assert ((loss >= -1e-9) & (loss <= 2 + 1e-9)).all()


@pytest.mark.parametrize("component", COMPONENTS, ids=repr)
@given(seed=seeds, temperature=st.sampled_from([1.0, 4.0]))
def test_a_student_that_is_the_teacher_has_neither_loss_nor_gradient(
    component: Any, seed: int, temperature: float
) -> None:
    _, teacher = logits(seed)
    student = teacher.clone().requires_grad_()
    loss = component(student, teacher, temperature, NO_LABEL)
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.zeros_like(loss), atol=1e-6, rtol=0)
    torch.testing.assert_close(student.grad, torch.zeros_like(teacher), atol=1e-6, rtol=0)


@given(seeds, st.floats(-10, -0.1))
def test_a_negative_factor_turns_the_sign(seed: int, factor: float) -> None:
    student, teacher = logits(seed)
    turned = 2 - pearson_loss(student, teacher, on="z")
    torch.testing.assert_close(pearson_loss(factor * student, teacher, on="z"), turned, atol=1e-6, rtol=0)
    torch.testing.assert_close(pearson_loss(student, factor * teacher, on="z"), turned, atol=1e-6, rtol=0)


@given(seeds)
def test_z_scores_change_nothing_for_values_and_hard_ranks(seed: int) -> None:
    student, teacher = logits(seed)
    torch.testing.assert_close(1 - pearson_loss(student, teacher, on="z"), pearson(student, teacher))
    for soft_rank, rank in ((window_soft_rank, "window"), (permutahedron_soft_rank, "permutahedron")):
        hard = pearson(soft_rank(student, 1e-7), soft_rank(teacher, 1e-7))
        torch.testing.assert_close(1 - spearman_loss(student, teacher, rank, 1e-7), hard)  # type: ignore[arg-type]


@pytest.mark.parametrize("rank", get_args(Rank))
@given(seed=seeds)
def test_as_the_strength_vanishes_any_increasing_map_changes_nothing(rank: Any, seed: int) -> None:
    student, teacher = logits(seed)
    expected = spearman_loss(student, teacher, rank, 1e-7)
    for increasing in (torch.exp, torch.atan, lambda z: z**3 + z):
        torch.testing.assert_close(spearman_loss(increasing(student), teacher, rank, 1e-7), expected)
        torch.testing.assert_close(spearman_loss(student, increasing(teacher), rank, 1e-7), expected)


@pytest.mark.parametrize("rank", get_args(Rank))
@pytest.mark.parametrize("classes", [10, 100])
def test_at_the_default_strength_ranks_are_nearly_hard_and_still_teach(rank: Any, classes: int) -> None:
    student, teacher = logits(6, samples=20, classes=classes)
    student.requires_grad_()
    soft = spearman_loss(student, teacher, rank)
    [gradient] = torch.autograd.grad(soft.sum(), student)
    hard = spearman_loss(student.detach(), teacher, rank, 1e-7)
    assert float((soft - hard).detach().mean().abs()) < 0.01
    assert ((gradient != 0).double().mean(dim=1) > 0.2).all()


@pytest.mark.parametrize("component", COMPONENTS, ids=repr)
def test_a_students_gradient_sums_to_zero_in_every_row(component: Any) -> None:
    student, teacher = logits(1)
    student.requires_grad_()
    component(student, teacher, 4.0, torch.zeros(4, dtype=torch.long)).sum().backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad.sum(dim=1), torch.zeros(4, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("component", COMPONENTS, ids=repr)
@pytest.mark.parametrize("constant", ["student", "teacher", "both"])
def test_constant_rows_give_no_nan(component: Any, constant: str) -> None:
    student, teacher = logits(2)
    if constant != "teacher":
        student[0] = 3.0
    if constant != "student":
        teacher[0] = -1.0
    student.requires_grad_()
    loss = component(student, teacher, 4.0, NO_LABEL)
    loss.sum().backward()
    assert student.grad is not None
    assert loss.isfinite().all()
    assert student.grad.isfinite().all()
    if component != Pearson("plain_prob"):  # a softmax of equal logits is constant but for rounding
        assert student.grad[0].abs().max() == 0


@pytest.mark.parametrize("spread", [0.0, 1e-9, 1e-6, 1e-4])
def test_a_student_of_nearly_constant_logits_gets_a_bounded_gradient(spread: float) -> None:
    """The norm of centered probabilities has a floor of 1e-4, and the softmax of 10 classes at T = 4 divides by 40."""
    generator = torch.Generator().manual_seed(0)
    student = (spread * torch.randn(8, 10, generator=generator)).requires_grad_()
    pearson_loss(student, 5 * torch.randn(8, 10, generator=generator), 4.0, "plain_prob").sum().backward()
    assert student.grad is not None
    assert 0 < student.grad.abs().max() < 1e4 / 40


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


@given(seeds, st.sampled_from(get_args(Weighting)), st.sampled_from([0.01, 1.0, 100.0]))
def test_the_weights_of_values_and_ranks_are_shares_of_one(seed: int, weighting: Any, sharpness: float) -> None:
    student, teacher = logits(seed)
    teacher = teacher * sharpness
    values, ranks = (CMKD(weighting, *scale)(student, teacher, 4.0, NO_LABEL) for scale in ((1.0, 0.0), (0.0, 1.0)))
    share = CMKD(weighting).rank_weight(teacher)
    assert ((share >= 0) & (share <= 1 + 1e-12)).all()
    torch.testing.assert_close(values, (1 - share) * pearson_loss(student, teacher, 4.0))
    torch.testing.assert_close(ranks, share * spearman_loss(student, teacher))


@pytest.mark.parametrize(
    ("component", "classes", "expected"),
    [
        (Spearman("permutahedron", 1.0), 10, True),
        (Spearman("permutahedron", 0.1), 10, False),
        (Spearman("permutahedron", 0.1), 100, True),
        (Spearman("window", 6.0), 10, True),
        (CMKD(rank="window", strength=0.5), 10, False),
        (CMKD(), 1000, False),
    ],
)
def test_a_rank_so_soft_that_it_is_pearson_is_warned_of(component: Any, classes: int, expected: bool) -> None:
    student, teacher = logits(4, classes=classes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        component(student, teacher, 1.0, NO_LABEL)
    assert bool(caught) == expected
    if expected and component.rank == "permutahedron":
        loss = spearman_loss(student, teacher, component.rank, component.strength)
        torch.testing.assert_close(loss, pearson_loss(student, teacher, on="z"), atol=0.02, rtol=0)


def test_the_correlations_take_corrections_and_abstaining_heads() -> None:
    student, teacher = logits(5)
    wider = torch.cat([student, torch.ones(4, 1, dtype=torch.float64)], dim=1)
    label = torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(
        DistillationLoss(loss=CMKD())(wider, teacher, label).total,
        DistillationLoss(loss=CMKD())(student, teacher, label).total,
    )


@pytest.mark.parametrize("component", [Spearman, CMKD])
@pytest.mark.parametrize("strength", [0.0, -1.0, float("inf"), float("nan")])
def test_a_strength_that_is_none_is_refused(component: Any, strength: float) -> None:
    with pytest.raises(InputError, match=r"strength = .*: expected a finite number above 0"):
        component(strength=strength)


def test_z_scores() -> None:
    actual = z_score(torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0]]))
    assert actual.std(dim=1).tolist() == [pytest.approx(1, abs=1e-6), 0]
