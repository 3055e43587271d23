from dataclasses import replace

import pytest
import torch

from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.registry import build_component
from preceptor.selections import EL2N, Correctness, Random, TeacherLoss
from tests.conformance.selection_references import SELECTIONS
from tests.selections.samples import as_arrays, made_selection_data


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize("unlabeled", [False, True])
def test_scores_agree_with_their_derivation(name: str, unlabeled: bool) -> None:
    for has_bias, seed in ((False, 0), (True, 5)):
        selection_data = made_selection_data(
            classes=4, dimensions=3, has_bias=has_bias, checkpoints=3, unlabeled=unlabeled, seed=seed
        )
        component = build_component("selection", name)
        component.fit(selection_data)
        actual = component.scores[~component.scores.isnan()].double()
        expected = torch.tensor(SELECTIONS[name](as_arrays(selection_data)), dtype=torch.float64)
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


def of_logits(logits: list[list[float]], label: list[int], seed: int = 0) -> SelectionData:
    n = len(label)
    teacher = TeacherSnapshot(1.0, ModelOutputs(torch.tensor(logits)), None)
    return SelectionData(torch.arange(n), torch.tensor(label), None, (teacher,), has_bias=False, size=n, seed=seed)


CERTAIN = of_logits([[200.0, 0.0], [200.0, 0.0], [0.0, 0.0]], [0, 1, 1])


def test_el2n_runs_from_0_to_the_root_of_2() -> None:
    torch.testing.assert_close(EL2N().score(CERTAIN), torch.tensor([0.0, 2**0.5, 0.5**0.5], dtype=torch.float64))


def test_the_teachers_loss_stays_finite_where_it_is_certain() -> None:
    expected = [0.0, -200.0, -torch.tensor(2.0).log()]
    torch.testing.assert_close(TeacherLoss().score(CERTAIN), torch.tensor(expected, dtype=torch.float64))


def test_el2n_teaches_first_what_the_loss_teaches_last() -> None:
    hard, easy = EL2N(keep=1 / 3), TeacherLoss(keep=2 / 3)
    for component in (hard, easy):
        component.fit(CERTAIN)
    assert hard.weight.tolist() == [0, 1, 0]
    assert easy.weight.tolist() == [1, 0, 1]


def test_a_tie_of_classes_is_won_by_the_first() -> None:
    assert Correctness().score(CERTAIN).tolist() == [1, 0, 0]


def test_correctness_teaches_what_the_teacher_gets_right_first() -> None:
    component = Correctness(keep=0.5)
    component.fit(of_logits([[1.0, 0.0]] * 4, [1, 0, 1, 0]))
    assert component.weight.tolist() == [0, 1, 0, 1]


def test_chance_depends_on_the_seed_and_the_number_of_samples_alone() -> None:
    selection_data = made_selection_data()
    other = replace(made_selection_data(seed=3, classes=5), index=selection_data.index, seed=0)
    drawn = Random()
    first = drawn.score(selection_data)
    assert torch.equal(first, drawn.score(other))
    assert not torch.equal(first, drawn.score(replace(selection_data, seed=1)))
    assert sorted(first.tolist()) == list(range(30))


def test_chance_teaches_as_many_as_any_other_score_and_every_sample_alike() -> None:
    times_selected = torch.zeros(10)
    for seed in range(400):
        component = Random(keep=0.3)
        component.fit(of_logits([[0.0, 1.0]] * 10, [0] * 10, seed))
        assert component.weight.sum() == 3
        times_selected += component.weight
    assert ((times_selected / 400 - 0.3).abs() < 4 * (0.3 * 0.7 / 400) ** 0.5).all()


def test_chance_the_other_way_round_teaches_the_others() -> None:
    selection_data = made_selection_data()
    high, low = Random(keep=0.5), Random(keep=0.5, ascending=True)
    for component in (high, low):
        component.fit(selection_data)
    assert ((high.weight + low.weight)[selection_data.index] == 1).all()
