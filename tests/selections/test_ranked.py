from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from preceptor import BatchContext, InputError
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.registry import build_component, components
from preceptor.selections import EL2N, Correctness, Influence, Random, RankedSelection, TeacherLoss, keep_mask
from tests.selections.samples import made_selection_data, reordered, without

RANKED = [info.name for info in components("selection") if issubclass(info.cls, RankedSelection)]
halves = st.integers(-6, 6).map(lambda steps: steps / 2)


def fitted(name: str, selection_data: SelectionData, **options: Any) -> RankedSelection:
    component: RankedSelection = build_component("selection", name, options)
    component.fit(selection_data)
    return component


def everywhere(component: RankedSelection) -> Tensor:
    return component.weight_at(torch.arange(len(component.weight)))


def context_at(index: Tensor | None, dtype: torch.dtype = torch.float32) -> BatchContext:
    samples = 1 if index is None else len(index)
    logits, label = torch.zeros(samples, 3, dtype=dtype), torch.zeros(samples, dtype=torch.int64)
    return BatchContext(logits, logits, label, label, index)


@given(st.lists(halves, min_size=1, max_size=12), st.floats(0, 1), st.booleans())
def test_the_best_are_kept_and_of_equals_the_first(values: list[float], keep: float, ascending: bool) -> None:
    mask = keep_mask(torch.tensor(values), keep, ascending).tolist()
    sign = 1 if ascending else -1
    best_first = sorted(range(len(values)), key=lambda i: (sign * values[i], i))
    expected = int(keep * len(values) + 0.5)
    assert [i for i in range(len(values)) if mask[i]] == sorted(best_first[:expected])


@given(st.lists(halves, min_size=1, max_size=12, unique=True), st.integers(0, 12))
def test_without_ties_both_directions_divide_the_samples(values: list[float], count: int) -> None:
    keep = min(count / len(values), 1)
    high, low = keep_mask(torch.tensor(values), keep), keep_mask(torch.tensor(values), 1 - keep, ascending=True)
    assert (high ^ low).all()


@pytest.mark.parametrize("name", RANKED)
def test_so_many_of_the_labeled_samples_are_taught_and_all_of_the_others(name: str) -> None:
    selection_data = made_selection_data(unlabeled=True)
    labeled = selection_data.label >= 0
    for keep in (0.0, 0.31, 1.0):
        component = fitted(name, selection_data, keep=keep)
        weight = component.weight_at(selection_data.index)
        assert weight[labeled].sum() == int(keep * int(labeled.sum()) + 0.5)
        assert (weight[~labeled] == 1).all()
        assert torch.equal(component.scores[selection_data.index].isnan(), ~labeled)


@pytest.mark.parametrize("name", RANKED)
def test_higher_scores_are_taught_or_lower_ones(name: str) -> None:
    selection_data = made_selection_data()
    for ascending in (False, True):
        component = fitted(name, selection_data, keep=0.5, ascending=ascending)
        selected = component.weight_at(selection_data.index) == 1
        score = component.scores[selection_data.index]
        better, worse = (score[~selected], score[selected]) if ascending else (score[selected], score[~selected])
        assert better.min() >= worse.max()


@pytest.mark.parametrize("name", RANKED)
def test_the_order_of_the_selection_data_means_nothing(name: str) -> None:
    selection_data = made_selection_data(unlabeled=True)
    order = torch.randperm(len(selection_data.index), generator=torch.Generator().manual_seed(1))
    first, second = fitted(name, selection_data), fitted(name, reordered(selection_data, order))
    assert torch.equal(everywhere(first), everywhere(second))
    assert torch.equal(first.scores.nan_to_num(-9), second.scores.nan_to_num(-9))


@pytest.mark.parametrize("name", RANKED)
def test_the_same_selection_data_gives_the_same_bits_and_is_not_changed(name: str) -> None:
    selection_data = made_selection_data(unlabeled=True, checkpoints=2)
    component = fitted(name, selection_data)
    again = fitted(name, made_selection_data(unlabeled=True, checkpoints=2))
    assert torch.equal(everywhere(component), everywhere(again))
    before = everywhere(component).clone()
    component.fit(selection_data)
    assert torch.equal(everywhere(component), before)


@pytest.mark.parametrize("name", RANKED)
def test_held_out_samples_without_a_label_say_nothing(name: str) -> None:
    selection_data = made_selection_data()
    assert selection_data.held_out_label is not None
    more = replace(selection_data, held_out_label=torch.cat([selection_data.held_out_label, torch.tensor([-1])]))
    [checkpoint] = selection_data.checkpoints
    held_out = checkpoint.held_out
    assert held_out is not None
    assert held_out.features is not None
    longer = ModelOutputs(*(torch.cat([part, part[:1]]) for part in (held_out.logits, held_out.features)))
    more = replace(more, checkpoints=(replace(checkpoint, held_out=longer),))
    assert torch.equal(everywhere(fitted(name, more)), everywhere(fitted(name, selection_data)))


def test_fitting_again_replaces() -> None:
    component = fitted("el2n", made_selection_data(seed=1))
    later = made_selection_data(n=40, seed=2)
    component.fit(later)
    assert torch.equal(everywhere(component), everywhere(fitted("el2n", later)))


@pytest.mark.parametrize("name", RANKED)
def test_scores_that_are_read_back_give_the_same_choice(name: str) -> None:
    selection_data = made_selection_data(unlabeled=True)
    component, other = fitted(name, selection_data), build_component("selection", name)
    other.set_scores(selection_data.index, component.scores[selection_data.index], selection_data.size)
    assert torch.equal(everywhere(other), everywhere(component))
    assert other.fitted


def test_ties_go_to_the_smaller_index_whatever_the_order() -> None:
    component = EL2N(keep=0.5)
    component.set_scores(torch.tensor([5, 1, 3, 0]), torch.zeros(4), 6)
    assert everywhere(component).tolist() == [1, 1, 0, 0, 0, 0]


def test_a_index_that_was_never_met_is_not_taught() -> None:
    component = EL2N(keep=1.0)
    component.set_scores(torch.tensor([0, 2]), torch.tensor([0.5, torch.nan]), 4)
    assert everywhere(component).tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_context_is_looked_up_by_index(dtype: torch.dtype) -> None:
    component = EL2N(keep=0.5)
    component.set_scores(torch.arange(4), torch.tensor([0.1, 0.9, 0.2, 0.8]), 4)
    weights = component(context_at(torch.tensor([3, 0, 1, 1]), dtype))
    assert weights.tolist() == [1, 0, 1, 1]
    assert weights.dtype == dtype


def test_a_checkpoint_fits_a_selection_that_was_not_and_unfits_one_that_was() -> None:
    selection_data = made_selection_data(unlabeled=True)
    fitted_one, resumed = fitted("influence", selection_data), Influence()
    blank = resumed.state_dict()
    resumed.load_state_dict(fitted_one.state_dict())
    assert torch.equal(everywhere(resumed), everywhere(fitted_one))
    assert torch.equal(resumed.scores.nan_to_num(-9), fitted_one.scores.nan_to_num(-9))
    fitted_one.load_state_dict(blank)
    assert not fitted_one.fitted


def test_it_follows_the_type_and_device_of_its_module() -> None:
    component = fitted("el2n", made_selection_data()).double()
    assert component.weight_at(torch.arange(3)).dtype == torch.float64
    assert component.to("meta").weight_at(torch.arange(3, device="meta")).device.type == "meta"


def test_before_it_is_fitted_it_says_what_to_do() -> None:
    assert not EL2N().fitted
    for call in (lambda: EL2N().weight_at(torch.arange(2)), lambda: EL2N()(context_at(torch.arange(2)))):
        with pytest.raises(InputError, match=r"^el2n: not fitted yet: call fit\(selection_data\)"):
            call()


def test_a_context_without_indices_is_refused() -> None:
    with pytest.raises(InputError, match=r"^el2n: .* give index="):
        fitted("el2n", made_selection_data())(context_at(None))


@pytest.mark.parametrize("keep", [-0.1, 1.1, float("nan")])
def test_a_share_is_from_0_to_1(keep: float) -> None:
    with pytest.raises(InputError, match=r"^random: keep = .*: expected a share of the labeled samples, 0 to 1"):
        Random(keep=keep)


@pytest.mark.parametrize("name", RANKED)
def test_missing_selection_data_is_named(name: str) -> None:
    component = build_component("selection", name)
    for lacking, needed, message in (
        (without(made_selection_data(), held_out=True), component.needs_held_out, "held out from training"),
        (without(made_selection_data(), features=True), component.needs_features, "last linear layer"),
        (
            replace(made_selection_data(), held_out_label=torch.full((12,), -1)),
            component.needs_held_out,
            "held out from training",
        ),
    ):
        if needed:
            with pytest.raises(InputError, match=rf"^{name}: needs .*{message}"):
                component.fit(lacking)
        else:
            component.fit(lacking)
            assert component.fitted


def test_samples_without_any_label_cannot_be_ranked() -> None:
    selection_data = made_selection_data()
    with pytest.raises(InputError, match=r"^correctness: no training sample has a label"):
        Correctness().fit(replace(selection_data, label=torch.full_like(selection_data.label, -1)))


def test_a_score_that_is_not_finite_names_its_sample() -> None:
    logits = torch.zeros(3, 2)
    logits[1, 0] = torch.nan
    teacher = TeacherSnapshot(1.0, ModelOutputs(logits), None)
    selection_data = SelectionData(
        torch.tensor([7, 4, 5]), torch.zeros(3).long(), None, (teacher,), has_bias=False, size=9
    )
    with pytest.raises(InputError, match=r"^teacher_loss: the score of training sample 4 is not finite"):
        TeacherLoss().fit(selection_data)


@pytest.mark.parametrize(
    ("index", "score", "message"),
    [
        ([0, 1, 2], [0.0, 1.0], "one score per index"),
        ([0, 4], [0.0, 1.0], "index 4 in a training set of 4"),
        ([-1, 2], [0.0, 1.0], "index -1 in a training set of 4"),
        ([2, 2], [0.0, 1.0], "index 2 is given twice"),
        ([1, 2], [0.0, float("inf")], "sample 2 is infinite"),
    ],
)
def test_ready_scores_are_checked(index: list[int], score: list[float], message: str) -> None:
    with pytest.raises(InputError, match=rf"^el2n: .*{message}"):
        EL2N().set_scores(torch.tensor(index), torch.tensor(score), 4)
