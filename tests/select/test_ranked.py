from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from preceptor import InputError, Lesson
from preceptor.catalogue import build_stage, find_stage, stages
from preceptor.evidence import Checkpoint, Evidence, Outputs
from preceptor.select import EL2N, Correctness, Influence, Random, RankedSelection, TeacherLoss, keep_mask
from tests.select.samples import made_evidence, reordered, without

RANKED = [info.name for info in stages("select") if issubclass(info.cls, RankedSelection)]
halves = st.integers(-6, 6).map(lambda steps: steps / 2)


def fitted(name: str, evidence: Evidence, **options: Any) -> RankedSelection:
    stage: RankedSelection = build_stage("select", name, options)
    stage.fit(evidence)
    return stage


def everywhere(stage: RankedSelection) -> Tensor:
    return stage.weight_at(torch.arange(len(stage.weight)))


def lesson_at(index: Tensor | None, dtype: torch.dtype = torch.float32) -> Lesson:
    samples = 1 if index is None else len(index)
    logits, label = torch.zeros(samples, 3, dtype=dtype), torch.zeros(samples, dtype=torch.int64)
    return Lesson(logits, logits, label, label, index)


@given(st.lists(halves, min_size=1, max_size=12), st.floats(0, 1), st.booleans())
def test_the_best_are_kept_and_of_equals_the_first(values: list[float], keep: float, lowest: bool) -> None:
    mask = keep_mask(torch.tensor(values), keep, lowest).tolist()
    sign = 1 if lowest else -1
    best_first = sorted(range(len(values)), key=lambda i: (sign * values[i], i))
    expected = int(keep * len(values) + 0.5)
    assert [i for i in range(len(values)) if mask[i]] == sorted(best_first[:expected])


@given(st.lists(halves, min_size=1, max_size=12, unique=True), st.integers(0, 12))
def test_without_ties_both_directions_divide_the_samples(values: list[float], kept: int) -> None:
    keep = min(kept / len(values), 1)
    high, low = keep_mask(torch.tensor(values), keep), keep_mask(torch.tensor(values), 1 - keep, lowest=True)
    assert (high ^ low).all()


@pytest.mark.parametrize("name", RANKED)
def test_so_many_of_the_labelled_samples_are_taught_and_all_of_the_others(name: str) -> None:
    evidence = made_evidence(unlabelled=True)
    labelled = evidence.label >= 0
    for keep in (0.0, 0.31, 1.0):
        stage = fitted(name, evidence, keep=keep)
        weight = stage.weight_at(evidence.index)
        assert weight[labelled].sum() == int(keep * int(labelled.sum()) + 0.5)
        assert (weight[~labelled] == 1).all()
        assert torch.equal(stage.scores[evidence.index].isnan(), ~labelled)


@pytest.mark.parametrize("name", RANKED)
def test_higher_scores_are_taught_or_lower_ones(name: str) -> None:
    evidence = made_evidence()
    for lowest in (False, True):
        stage = fitted(name, evidence, keep=0.5, lowest=lowest)
        taught = stage.weight_at(evidence.index) == 1
        score = stage.scores[evidence.index]
        better, worse = (score[~taught], score[taught]) if lowest else (score[taught], score[~taught])
        assert better.min() >= worse.max()


@pytest.mark.parametrize("name", RANKED)
def test_the_order_of_the_evidence_means_nothing(name: str) -> None:
    evidence = made_evidence(unlabelled=True)
    order = torch.randperm(len(evidence.index), generator=torch.Generator().manual_seed(1))
    first, second = fitted(name, evidence), fitted(name, reordered(evidence, order))
    assert torch.equal(everywhere(first), everywhere(second))
    assert torch.equal(first.scores.nan_to_num(-9), second.scores.nan_to_num(-9))


@pytest.mark.parametrize("name", RANKED)
def test_the_same_evidence_gives_the_same_bits_and_is_not_changed(name: str) -> None:
    evidence = made_evidence(unlabelled=True, checkpoints=2)
    stage = fitted(name, evidence)
    again = fitted(name, made_evidence(unlabelled=True, checkpoints=2))
    assert torch.equal(everywhere(stage), everywhere(again))
    before = everywhere(stage).clone()
    stage.fit(evidence)
    assert torch.equal(everywhere(stage), before)


@pytest.mark.parametrize("name", RANKED)
def test_held_out_samples_without_a_label_say_nothing(name: str) -> None:
    evidence = made_evidence()
    assert evidence.held_out_label is not None
    more = replace(evidence, held_out_label=torch.cat([evidence.held_out_label, torch.tensor([-1])]))
    [checkpoint] = evidence.checkpoints
    held_out = checkpoint.held_out
    assert held_out is not None
    assert held_out.features is not None
    longer = Outputs(*(torch.cat([part, part[:1]]) for part in (held_out.logits, held_out.features)))
    more = replace(more, checkpoints=(replace(checkpoint, held_out=longer),))
    assert torch.equal(everywhere(fitted(name, more)), everywhere(fitted(name, evidence)))


def test_fitting_again_replaces() -> None:
    stage = fitted("el2n", made_evidence(seed=1))
    later = made_evidence(n=40, seed=2)
    stage.fit(later)
    assert torch.equal(everywhere(stage), everywhere(fitted("el2n", later)))


@pytest.mark.parametrize("name", RANKED)
def test_scores_that_are_read_back_give_the_same_choice(name: str) -> None:
    evidence = made_evidence(unlabelled=True)
    stage, other = fitted(name, evidence), build_stage("select", name)
    other.adopt(evidence.index, stage.scores[evidence.index], evidence.size)
    assert torch.equal(everywhere(other), everywhere(stage))
    assert other.fitted


def test_ties_go_to_the_smaller_position_whatever_the_order() -> None:
    stage = EL2N(keep=0.5)
    stage.adopt(torch.tensor([5, 1, 3, 0]), torch.zeros(4), 6)
    assert everywhere(stage).tolist() == [1, 1, 0, 0, 0, 0]


def test_a_position_that_was_never_met_is_not_taught() -> None:
    stage = EL2N(keep=1.0)
    stage.adopt(torch.tensor([0, 2]), torch.tensor([0.5, torch.nan]), 4)
    assert everywhere(stage).tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_lesson_is_looked_up_by_position(dtype: torch.dtype) -> None:
    stage = EL2N(keep=0.5)
    stage.adopt(torch.arange(4), torch.tensor([0.1, 0.9, 0.2, 0.8]), 4)
    weights = stage(lesson_at(torch.tensor([3, 0, 1, 1]), dtype))
    assert weights.tolist() == [1, 0, 1, 1]
    assert weights.dtype == dtype


def test_a_checkpoint_fits_a_selection_that_was_not_and_unfits_one_that_was() -> None:
    evidence = made_evidence(unlabelled=True)
    settled, resumed = fitted("influence", evidence), Influence()
    blank = resumed.state_dict()
    resumed.load_state_dict(settled.state_dict())
    assert torch.equal(everywhere(resumed), everywhere(settled))
    assert torch.equal(resumed.scores.nan_to_num(-9), settled.scores.nan_to_num(-9))
    settled.load_state_dict(blank)
    assert not settled.fitted


def test_it_follows_the_type_and_device_of_its_module() -> None:
    stage = fitted("el2n", made_evidence()).double()
    assert stage.weight_at(torch.arange(3)).dtype == torch.float64
    assert stage.to("meta").weight_at(torch.arange(3, device="meta")).device.type == "meta"


def test_before_it_is_fitted_it_says_what_to_do() -> None:
    assert not EL2N().fitted
    for ask in (lambda: EL2N().weight_at(torch.arange(2)), lambda: EL2N()(lesson_at(torch.arange(2)))):
        with pytest.raises(InputError, match=r"^el2n: not fitted yet: call fit\(evidence\)"):
            ask()


def test_a_lesson_without_positions_is_refused() -> None:
    with pytest.raises(InputError, match=r"^el2n: .* give index="):
        fitted("el2n", made_evidence())(lesson_at(None))


@pytest.mark.parametrize("keep", [-0.1, 1.1, float("nan")])
def test_a_share_is_from_0_to_1(keep: float) -> None:
    with pytest.raises(InputError, match=r"^random: keep = .* from 0 to 1"):
        Random(keep=keep)


@pytest.mark.parametrize("name", RANKED)
def test_missing_evidence_is_named(name: str) -> None:
    stage, cls = build_stage("select", name), find_stage("select", name).cls
    for lacking, needed, words in (
        (without(made_evidence(), held_out=True), cls.needs_held_out, "held out from training"),
        (without(made_evidence(), features=True), cls.needs_features, "last linear layer"),
        (replace(made_evidence(), held_out_label=torch.full((12,), -1)), cls.needs_held_out, "held out from training"),
    ):
        if needed:
            with pytest.raises(InputError, match=rf"^{name}: needs .*{words}"):
                stage.fit(lacking)
        else:
            stage.fit(lacking)
            assert stage.fitted


def test_samples_without_any_label_cannot_be_ranked() -> None:
    evidence = made_evidence()
    with pytest.raises(InputError, match=r"^correctness: no training sample has a label"):
        Correctness().fit(replace(evidence, label=torch.full_like(evidence.label, -1)))


def test_a_score_that_is_not_finite_names_its_sample() -> None:
    logits = torch.zeros(3, 2)
    logits[1, 0] = torch.nan
    teacher = Checkpoint(1.0, Outputs(logits), None)
    evidence = Evidence(torch.tensor([7, 4, 5]), torch.zeros(3).long(), None, (teacher,), has_bias=False, size=9)
    with pytest.raises(InputError, match=r"^teacher_loss: the score of training sample 4 is not finite"):
        TeacherLoss().fit(evidence)


@pytest.mark.parametrize(
    ("index", "score", "words"),
    [
        ([0, 1, 2], [0.0, 1.0], "one score a position"),
        ([0, 4], [0.0, 1.0], "position 4 in a training set of 4"),
        ([-1, 2], [0.0, 1.0], "position -1 in a training set of 4"),
        ([2, 2], [0.0, 1.0], "position 2 is given twice"),
        ([1, 2], [0.0, float("inf")], "sample 2 is infinite"),
    ],
)
def test_ready_scores_are_checked(index: list[int], score: list[float], words: str) -> None:
    with pytest.raises(InputError, match=rf"^el2n: .*{words}"):
        EL2N().adopt(torch.tensor(index), torch.tensor(score), 4)
