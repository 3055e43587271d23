"""The audit: how far a correction went, and the temperatures of the queried samples."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor

from preceptor import CWSM, KL, CrossEntropy, DistillationLoss, Fixed, LabelRevision, LossTerm, ProbabilityShift
from preceptor.context import BatchContext
from preceptor.loss_output import Audit
from preceptor.selections import Random
from tests.examples import EVERYTHING, LABEL, STUDENT, TEACHER
from tests.strategies import LogitBatch, logit_batches


def made(samples: int = 4, **given: Any) -> Audit:
    """An audit of samples that are all queried and uncorrected, but for the given fields."""
    nowhere = torch.zeros(samples, dtype=torch.bool)
    log_probs = torch.full((samples, 3), 1 / 3).log()
    as_it_is: dict[str, Any] = {
        "queried": ~nowhere,
        "teacher_class": torch.zeros(samples, dtype=torch.int64),
        "wrong": nowhere,
        "corrected": nowhere,
        "temperature": 1.0,
        "minimum_temperature": None,
        "weight": torch.ones(samples),
        "teacher_log_probs": log_probs,
        "target": log_probs,
    }
    return Audit(**{**as_it_is, **given})


@dataclass(frozen=True)
class Raised:
    """These temperatures, raised to the minimum."""

    wanted: tuple[float, ...]
    minimum: float

    def __call__(self, context: BatchContext) -> Tensor:
        return torch.tensor(self.wanted).clamp(min=self.minimum)


def querying(*index: int) -> Random:
    """A selection of these of four samples, on which alone the teacher is queried."""
    select = Random(keep=len(index) / 4)
    select.set_scores(torch.arange(4), torch.tensor([float(i in index) for i in range(4)]), 4)
    return select


def audited(**slots: Any) -> Audit:
    student = STUDENT.clone().requires_grad_()
    audit: Audit | None = DistillationLoss(loss=KL(), **slots)(student, TEACHER, LABEL, index=torch.arange(4)).audit
    assert audit is not None
    return audit


def most_any_event_gained(before: Tensor, after: Tensor) -> Tensor:
    """Total variation as it is defined: the largest difference in probability of any set of classes."""
    events = torch.tensor(list(product([0.0, 1.0], repeat=before.shape[1])), dtype=before.dtype)
    return ((after - before) @ events.T).amax(dim=1)


@given(logit_batches())
def test_change_is_the_total_variation_distance(batch: LogitBatch) -> None:
    log_probs, target = batch.outputs().logits, batch.student.log_softmax(dim=1)
    change = made(len(log_probs), teacher_log_probs=log_probs, target=target).change
    torch.testing.assert_close(change, most_any_event_gained(log_probs.exp(), target.exp()))
    assert torch.equal(change, made(len(log_probs), teacher_log_probs=target, target=log_probs).change)
    assert (change <= 1 + 1e-12).all()


def test_change_goes_from_nothing_to_everything() -> None:
    log_probs = torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]]).log()
    target = torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.0, 1.0]]).log()
    assert made(3, teacher_log_probs=log_probs, target=target).change.tolist() == [0.0, 0.25, 1.0]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_swap_moves_the_difference_between_top_class_and_label(temperature: float) -> None:
    change = audited(correction=ProbabilityShift(), temperature=Fixed(temperature)).change
    log_probs = (TEACHER / temperature).softmax(dim=1)
    torch.testing.assert_close(change, torch.tensor([0, log_probs[1, 0] - log_probs[1, 1], 0, 0]))


def test_a_label_as_the_target_moves_the_probability_of_all_other_classes() -> None:
    change = audited(correction=LabelRevision(eta=0, apply_to="all")).change
    elsewhere = 1 - TEACHER.softmax(dim=1)[range(3), LABEL[:3]]
    torch.testing.assert_close(change, torch.cat([elsewhere, torch.zeros(1)]))  # the last has no label


def test_samples_without_a_query_do_not_change() -> None:
    change = audited(correction=LabelRevision(eta=0, apply_to="all"), selection=querying(0)).change
    assert (change > 0).tolist() == [True, False, False, False]


@pytest.mark.parametrize("nothing", [float("nan"), float("inf"), 1e30])
def test_mean_temperature_is_over_the_queried_samples(nothing: float) -> None:
    queried = torch.tensor([True, False, True, True])
    audit = made(queried=queried, temperature=torch.tensor([1.0, nothing, 2.0, 6.0]))
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
def test_the_mean_of_no_sample_is_zero(temperature: float | Tensor) -> None:
    assert made(queried=torch.zeros(4, dtype=torch.bool), temperature=temperature).mean_temperature == 0.0


def test_the_audit_of_a_loss_has_the_mean_of_the_queried_samples() -> None:
    temperature = Raised((2.0, 30.0, 70.0, 5.0), 1.0)
    assert audited(temperature=temperature, selection=querying(0, 3)).mean_temperature == 3.5
    assert audited(temperature=temperature).mean_temperature == 26.75
    assert audited(temperature=Fixed(3.0), selection=querying(1)).mean_temperature == 3.0
    assert audited(temperature=CWSM(), selection=querying()).mean_temperature == 0.0


@pytest.mark.parametrize("minimum", [1.0, 1.1])  # 1.1 is another number in float32
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_queried_samples_at_the_minimum_are_clamped(minimum: float, dtype: torch.dtype) -> None:
    temperature = torch.tensor([-5.0, 0.3, 1.2, 4.0], dtype=dtype).clamp(min=minimum)
    audit = made(temperature=temperature, minimum_temperature=minimum, weight=torch.ones(4, dtype=dtype))
    assert audit.clamped.tolist() == [True, True, False, False]
    queried = torch.tensor([False, True, True, False])
    audit = made(
        temperature=temperature, minimum_temperature=minimum, weight=torch.ones(4, dtype=dtype), queried=queried
    )
    assert audit.clamped.tolist() == [False, True, False, False]


@pytest.mark.parametrize("temperature", [1e-6, torch.full((4,), 1e-6)], ids=["one number", "one a sample"])
def test_without_a_minimum_nothing_is_clamped(temperature: float | Tensor) -> None:
    clamped = made(temperature=temperature, minimum_temperature=None).clamped
    assert clamped.dtype == torch.bool
    assert clamped.tolist() == [False] * 4


def test_the_audit_of_a_loss_shows_clamped_temperatures() -> None:
    wanted = (0.2, 0.4, 3.0, -1.0)
    assert audited(temperature=Raised(wanted, 1.1)).clamped.tolist() == [True, True, False, True]
    some = audited(temperature=Raised(wanted, 1.1), selection=querying(0, 2))
    assert some.clamped.tolist() == [True, False, False, False]
    assert some.minimum_temperature == 1.1


def test_a_component_without_a_minimum_clamps_nothing() -> None:
    audit = audited(temperature=Fixed(0.5))
    assert audit.minimum_temperature is None
    assert not audit.clamped.any()


def test_the_audit_carries_no_gradient() -> None:
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


def test_losses_go_by_name_and_labels_alone_have_no_audit() -> None:
    terms = DistillationLoss(**EVERYTHING)(STUDENT, TEACHER, LABEL)
    assert {name: terms[name] for name in terms.losses} == terms.losses
    torch.testing.assert_close(terms["ce"] + terms["kl"] + terms["far"], terms.total)
    with pytest.raises(KeyError, match="lk"):
        terms["lk"]
    assert DistillationLoss(terms={"ce": LossTerm(CrossEntropy())})(STUDENT, None, LABEL).audit is None
