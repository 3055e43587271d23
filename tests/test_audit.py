"""The tap: how far a correction went, and which temperatures it was said at, of the samples that were asked about."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor

from preceptor import CWSM, KL, CrossEntropy, DistillationLoss, Fixed, LabelRevision, LossTerm, ProbabilityShift
from preceptor.audit import Audit
from preceptor.context import BatchContext
from preceptor.selections import Random
from tests.examples import EVERYTHING, LABEL, STUDENT, TEACHER
from tests.strategies import Taught, taught


def made(samples: int = 4, **given: Any) -> Audit:
    """An audit of samples that are all asked about and left as they are, but for what is given."""
    nowhere = torch.zeros(samples, dtype=torch.bool)
    said = torch.full((samples, 3), 1 / 3).log()
    as_it_is: dict[str, Any] = {
        "queried": ~nowhere,
        "teacher_class": torch.zeros(samples, dtype=torch.int64),
        "wrong": nowhere,
        "corrected": nowhere,
        "temperature": 1.0,
        "minimum_temperature": None,
        "weight": torch.ones(samples),
        "teacher_log_probs": said,
        "target": said,
    }
    return Audit(**{**as_it_is, **given})


@dataclass(frozen=True)
class Raised:
    """Temperatures as they are wanted, none below the minimum."""

    wanted: tuple[float, ...]
    minimum: float

    def __call__(self, context: BatchContext) -> Tensor:
        return torch.tensor(self.wanted).clamp(min=self.minimum)


def asking(*positions: int) -> Random:
    """A selection that asks about these of four samples alone."""
    select = Random(keep=len(positions) / 4)
    select.set_scores(torch.arange(4), torch.tensor([float(i in positions) for i in range(4)]), 4)
    return select


def audited(**seats: Any) -> Audit:
    student = STUDENT.clone().requires_grad_()
    audit: Audit | None = DistillationLoss(loss=KL(), **seats)(student, TEACHER, LABEL, index=torch.arange(4)).audit
    assert audit is not None
    return audit


def most_any_event_gained(before: Tensor, after: Tensor) -> Tensor:
    """Total variation as it is defined: the largest difference in probability of any set of classes."""
    events = torch.tensor(list(product([0.0, 1.0], repeat=before.shape[1])), dtype=before.dtype)
    return ((after - before) @ events.T).amax(dim=1)


@given(taught())
def test_change_is_the_total_variation_distance(batch: Taught) -> None:
    said, target = batch.outputs().logits, batch.student.log_softmax(dim=1)
    change = made(len(said), teacher_log_probs=said, target=target).change
    torch.testing.assert_close(change, most_any_event_gained(said.exp(), target.exp()))
    assert torch.equal(change, made(len(said), teacher_log_probs=target, target=said).change)
    assert (change <= 1 + 1e-12).all()


def test_change_goes_from_nothing_to_everything() -> None:
    said = torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]]).log()
    target = torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.0, 1.0]]).log()
    assert made(3, teacher_log_probs=said, target=target).change.tolist() == [0.0, 0.25, 1.0]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_swap_moves_what_the_top_class_had_over_the_true_one(temperature: float) -> None:
    change = audited(correction=ProbabilityShift(), temperature=Fixed(temperature)).change
    said = (TEACHER / temperature).softmax(dim=1)
    torch.testing.assert_close(change, torch.tensor([0, said[1, 0] - said[1, 1], 0, 0]))


def test_a_label_in_place_of_the_word_moves_all_that_was_elsewhere() -> None:
    change = audited(correction=LabelRevision(eta=0, apply_to="all")).change
    elsewhere = 1 - TEACHER.softmax(dim=1)[range(3), LABEL[:3]]
    torch.testing.assert_close(change, torch.cat([elsewhere, torch.zeros(1)]))  # the last has no label


def test_where_nobody_asks_nothing_changes() -> None:
    change = audited(correction=LabelRevision(eta=0, apply_to="all"), selection=asking(0)).change
    assert (change > 0).tolist() == [True, False, False, False]


@pytest.mark.parametrize("nothing", [float("nan"), float("inf"), 1e30])
def test_mean_temperature_is_over_the_samples_asked_about(nothing: float) -> None:
    asked = torch.tensor([True, False, True, True])
    audit = made(queried=asked, temperature=torch.tensor([1.0, nothing, 2.0, 6.0]))
    assert audit.mean_temperature == 3.0
    assert audit.mean_temperature.dim() == 0


@pytest.mark.parametrize("temperature", [2.5, torch.tensor([2.5] * 4)], ids=["one number", "one a sample"])
def test_one_temperature_is_its_own_mean(temperature: float | Tensor) -> None:
    assert made(temperature=temperature).mean_temperature == 2.5
    some = torch.tensor([False, True, False, False])
    assert made(temperature=temperature, queried=some).mean_temperature == 2.5


def test_weights_do_not_weigh_the_mean() -> None:
    audit = made(temperature=torch.tensor([1.0, 1.0, 1.0, 5.0]), weight=torch.tensor([0.0, 0.5, 1.0, 3.0]))
    assert audit.mean_temperature == 2.0


@pytest.mark.parametrize("temperature", [4.0, torch.full((4,), 4.0)], ids=["one number", "one a sample"])
def test_the_mean_of_nobody_is_zero(temperature: float | Tensor) -> None:
    assert made(queried=torch.zeros(4, dtype=torch.bool), temperature=temperature).mean_temperature == 0.0


def test_a_chain_tells_the_mean_of_those_it_asked_about() -> None:
    temperature = Raised((2.0, 30.0, 70.0, 5.0), 1.0)
    assert audited(temperature=temperature, selection=asking(0, 3)).mean_temperature == 3.5
    assert audited(temperature=temperature).mean_temperature == 26.75
    assert audited(temperature=Fixed(3.0), selection=asking(1)).mean_temperature == 3.0
    assert audited(temperature=CWSM(), selection=asking()).mean_temperature == 0.0


@pytest.mark.parametrize("lowest", [1.0, 1.1])  # 1.1 is another number in float32
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clamped_are_the_temperatures_at_the_lowest_among_those_asked_about(lowest: float, dtype: torch.dtype) -> None:
    temperature = torch.tensor([-5.0, 0.3, 1.2, 4.0], dtype=dtype).clamp(min=lowest)
    audit = made(temperature=temperature, minimum_temperature=lowest, weight=torch.ones(4, dtype=dtype))
    assert audit.clamped.tolist() == [True, True, False, False]
    asked = torch.tensor([False, True, True, False])
    audit = made(temperature=temperature, minimum_temperature=lowest, weight=torch.ones(4, dtype=dtype), queried=asked)
    assert audit.clamped.tolist() == [False, True, False, False]


@pytest.mark.parametrize("temperature", [1e-6, torch.full((4,), 1e-6)], ids=["one number", "one a sample"])
def test_without_a_lowest_nothing_is_clamped(temperature: float | Tensor) -> None:
    clamped = made(temperature=temperature, minimum_temperature=None).clamped
    assert clamped.dtype == torch.bool
    assert clamped.tolist() == [False] * 4


def test_a_chain_tells_which_temperatures_were_clamped() -> None:
    wanted = (0.2, 0.4, 3.0, -1.0)
    assert audited(temperature=Raised(wanted, 1.1)).clamped.tolist() == [True, True, False, True]
    some = audited(temperature=Raised(wanted, 1.1), selection=asking(0, 2))
    assert some.clamped.tolist() == [True, False, False, False]
    assert some.minimum_temperature == 1.1


def test_a_stage_with_no_lowest_temperature_clamps_none() -> None:
    audit = audited(temperature=Fixed(0.5))
    assert audit.minimum_temperature is None
    assert not audit.clamped.any()


def test_what_is_tapped_carries_no_gradient() -> None:
    audit = audited(temperature=CWSM(), correction=LabelRevision())
    assert isinstance(audit.temperature, Tensor)
    for value in (
        audit.temperature,
        audit.mean_temperature,
        audit.change,
        audit.teacher_log_probs,
        audit.target,
        audit.weight,
    ):
        assert not value.requires_grad


def test_losses_go_by_name_and_labels_alone_leave_nothing_to_tap() -> None:
    terms = DistillationLoss(**EVERYTHING)(STUDENT, TEACHER, LABEL)
    assert {name: terms[name] for name in terms.losses} == terms.losses
    torch.testing.assert_close(terms["ce"] + terms["kl"] + terms["far"], terms.total)
    with pytest.raises(KeyError, match="lk"):
        terms["lk"]
    assert DistillationLoss(terms={"ce": LossTerm(CrossEntropy())})(STUDENT, None, LABEL).audit is None
