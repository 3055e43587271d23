"""The gambler's losses: what they are, what they become at their limits, and that they stay finite."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.nn import functional as F

from preceptor import DistillationLoss, InputError, ProbabilityShift, recipe
from preceptor.abstention import Gambler, SoftGambler, gambler_loss, reservation, soft_gambler_loss
from preceptor.losses import kl_divergence
from tests.strategies import temperatures

payoffs = st.floats(1, 20)


@dataclass(frozen=True)
class Gamble:
    """A student's outputs, the reservation last, with labels and the outcome's distribution."""

    logits: Tensor
    label: Tensor
    outcome: Tensor

    @property
    def probs(self) -> Tensor:
        return self.logits.softmax(dim=1)

    @property
    def certain(self) -> Tensor:
        """The label as log-probabilities of the outcome."""
        return torch.full_like(self.outcome, -math.inf).scatter(1, self.label.unsqueeze(1), 0.0)


@st.composite
def gambles(draw: st.DrawFn) -> Gamble:
    samples, classes = draw(st.tuples(st.integers(1, 5), st.integers(2, 6)))
    steps = st.integers(-20, 20)
    outputs = torch.from_numpy(draw(arrays(np.int64, (samples, classes + 1), elements=steps)) / 2)
    outcome = torch.from_numpy(draw(arrays(np.int64, (samples, classes), elements=steps)) / 2).log_softmax(dim=1)
    label = draw(st.lists(st.integers(0, classes - 1), min_size=samples, max_size=samples))
    return Gamble(outputs, torch.tensor(label), outcome)


def gradient(loss: Tensor, logits: Tensor) -> Tensor:
    [actual] = torch.autograd.grad(loss.sum(), logits)
    return actual


@given(gambles(), payoffs)
def test_it_is_never_negative(gamble: Gamble, payoff: float) -> None:
    assert (gambler_loss(gamble.logits, gamble.label, payoff) >= -1e-12).all()
    assert (soft_gambler_loss(gamble.logits, gamble.outcome, 2.0, payoff) >= -1e-12).all()


@given(gambles(), payoffs)
def test_it_is_ln_o_when_everything_is_kept_back(gamble: Gamble, payoff: float) -> None:
    logits = gamble.logits.clone()
    logits[:, -1] = 1e3
    expected = torch.full_like(logits[:, 0], math.log(payoff))
    torch.testing.assert_close(gambler_loss(logits, gamble.label, payoff), expected)
    torch.testing.assert_close(soft_gambler_loss(logits, gamble.outcome, 2.0, payoff), 4 * expected)


@given(gambles(), payoffs, st.floats(0.05, 0.95))
def test_it_falls_when_the_label_loss_or_the_reservation_gains(gamble: Gamble, payoff: float, share: float) -> None:
    other = (gamble.label + 1) % (gamble.logits.shape[1] - 1)
    rows = torch.arange(len(other))
    before = gambler_loss(gamble.logits, gamble.label, payoff)
    for winner in (gamble.label, torch.full_like(other, -1)):
        probs = gamble.probs
        moved = share * probs[rows, other]
        probs[rows, other] -= moved
        probs[rows, winner] += moved
        after = gambler_loss(probs.log(), gamble.label, payoff)
        noticeable = moved > 1e-9
        assert (after <= before + 1e-12).all()
        assert (after < before)[noticeable].all()


@given(gambles(), payoffs)
def test_its_gradient_is_the_closed_form_and_sums_to_zero(gamble: Gamble, payoff: float) -> None:
    logits = gamble.logits.requires_grad_()
    q = gamble.probs.detach()
    gain = q[:, :-1] + q[:, -1:] / payoff
    for outcome, loss in (
        (gamble.certain, gambler_loss(logits, gamble.label, payoff)),
        (gamble.outcome, soft_gambler_loss(logits, gamble.outcome, 1.0, payoff)),
    ):
        bets = outcome.exp() * q[:, :-1] / gain
        reserved = (outcome.exp() / gain).sum(dim=1, keepdim=True) * q[:, -1:] / payoff
        actual = gradient(loss, logits)
        torch.testing.assert_close(actual, q - torch.cat([bets, reserved], dim=1))
        torch.testing.assert_close(actual.sum(dim=1), torch.zeros(len(q), dtype=torch.float64), atol=1e-12, rtol=0)


@given(gambles(), payoffs, st.floats(-50, 50))
def test_a_constant_added_to_every_output_changes_nothing(gamble: Gamble, payoff: float, constant: float) -> None:
    moved = gamble.logits + constant
    hard, soft = gambler_loss(gamble.logits, gamble.label, payoff), soft_gambler_loss
    torch.testing.assert_close(gambler_loss(moved, gamble.label, payoff), hard, atol=1e-9, rtol=1e-9)
    expected = soft(gamble.logits, gamble.outcome, 4.0, payoff)
    torch.testing.assert_close(soft(moved, gamble.outcome, 4.0, payoff), expected, atol=1e-9, rtol=1e-9)


@given(gambles(), temperatures, st.sampled_from([1e30, math.inf]))
def test_without_end_the_payoff_leaves_cross_entropy(gamble: Gamble, temperature: float, payoff: float) -> None:
    hard = F.cross_entropy(gamble.logits, gamble.label, reduction="none")
    torch.testing.assert_close(gambler_loss(gamble.logits, gamble.label, payoff), hard)
    log_q = temperature**2 * (gamble.logits / temperature).log_softmax(dim=1)[:, :-1]
    actual = soft_gambler_loss(gamble.logits, gamble.outcome, temperature, payoff)
    torch.testing.assert_close(actual, -(gamble.outcome.exp() * log_q).sum(dim=1))


@given(gambles())
def test_at_payoff_one_the_label_loss_and_the_reservation_are_the_same(gamble: Gamble) -> None:
    rows, exchanged = torch.arange(len(gamble.label)), gamble.logits.clone()
    exchanged[rows, gamble.label] = gamble.logits[:, -1]
    exchanged[:, -1] = gamble.logits[rows, gamble.label]
    expected = gambler_loss(gamble.logits, gamble.label, 1.0)
    torch.testing.assert_close(gambler_loss(exchanged, gamble.label, 1.0), expected)


@given(st.floats(0.01, 0.99), payoffs)
def test_at_payoff_one_no_split_between_them_costs_anything(share: float, payoff: float) -> None:
    split = torch.tensor([[share, 0.0, 1 - share]], dtype=torch.float64).log()
    label = torch.tensor([0])
    assert float(gambler_loss(split, label, 1.0)) == pytest.approx(0, abs=1e-12)
    assert float(gambler_loss(split, label, payoff + 0.1)) > 1e-4  # above one, keeping back what would win costs


@given(gambles(), payoffs)
def test_a_certain_outcome_is_the_hard_loss(gamble: Gamble, payoff: float) -> None:
    logits = gamble.logits.requires_grad_()
    hard = gambler_loss(logits, gamble.label, payoff)
    soft = soft_gambler_loss(logits, gamble.certain, 1.0, payoff)
    torch.testing.assert_close(soft, hard)
    torch.testing.assert_close(gradient(soft, logits), gradient(hard, logits))


@given(gambles(), payoffs)
def test_it_is_the_expectation_of_the_hard_loss(gamble: Gamble, payoff: float) -> None:
    each = [
        gambler_loss(gamble.logits, torch.full_like(gamble.label, label), payoff)
        for label in range(gamble.outcome.shape[1])
    ]
    expected = (gamble.outcome.exp() * torch.stack(each, dim=1)).sum(dim=1)
    torch.testing.assert_close(soft_gambler_loss(gamble.logits, gamble.outcome, 1.0, payoff), expected)


@given(gambles(), payoffs, temperatures)
def test_a_student_that_keeps_nothing_back_distils(gamble: Gamble, payoff: float, temperature: float) -> None:
    logits = gamble.logits.clone()
    logits[:, -1] = -1e4
    entropy = -(gamble.outcome.exp() * gamble.outcome).sum(dim=1)
    expected = temperature**2 * (kl_divergence(logits[:, :-1], gamble.outcome, temperature) + entropy)
    torch.testing.assert_close(soft_gambler_loss(logits, gamble.outcome, temperature, payoff), expected)


@given(gambles(), payoffs)
def test_each_sample_has_its_own_temperature(gamble: Gamble, payoff: float) -> None:
    temperature = torch.linspace(1, 8, len(gamble.label), dtype=torch.float64)
    actual = soft_gambler_loss(gamble.logits, gamble.outcome, temperature, payoff)
    for row, degree in enumerate(temperature.tolist()):
        one = slice(row, row + 1)
        alone = soft_gambler_loss(gamble.logits[one], gamble.outcome[one], degree, payoff)
        torch.testing.assert_close(actual[one], alone)


@given(gambles(), payoffs)
def test_gradients_agree_with_finite_differences(gamble: Gamble, payoff: float) -> None:
    logits = (gamble.logits / 4).requires_grad_()
    temperature = torch.linspace(0.5, 4, len(gamble.label), dtype=torch.float64)
    torch.autograd.gradcheck(lambda z: gambler_loss(z, gamble.label, payoff), (logits,))
    torch.autograd.gradcheck(lambda z: soft_gambler_loss(z, gamble.outcome, temperature, payoff), (logits,))


EXTREME = torch.tensor([0.0, 1e4, -1e4])


def test_it_does_not_underflow() -> None:
    logits = torch.cartesian_prod(*[EXTREME] * 4).requires_grad_()
    for target in ([0.0, -math.inf, -math.inf], [-1e4, 0.0, -1e30], [math.log(0.5), math.log(0.5), -math.inf]):
        log_probs = torch.tensor(target).expand(len(logits), -1)
        for temperature in (0.5, 1.0, 20.0):
            loss = soft_gambler_loss(logits, log_probs, temperature, 2.2)
            assert loss.isfinite().all()
            assert gradient(loss, logits).isfinite().all()
    for label in range(3):
        loss = gambler_loss(logits, torch.full((len(logits),), label), 2.2)
        assert loss.isfinite().all()
        assert gradient(loss, logits).isfinite().all()


def test_a_hopeless_bet_costs_what_the_logits_say_and_still_teaches() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0, 0.0]], requires_grad=True)
    loss = gambler_loss(logits, torch.tensor([1]), 2.0)
    torch.testing.assert_close(loss, torch.tensor([1e4 + math.log(2)]))
    torch.testing.assert_close(gradient(loss, logits), torch.tensor([[1.0, 0.0, 0.0, -1.0]]))


@given(gambles())
def test_the_reservation_is_what_no_class_gets(gamble: Gamble) -> None:
    torch.testing.assert_close(reservation(gamble.logits), 1 - gamble.probs[:, :-1].sum(dim=1))


@pytest.mark.parametrize("component", [Gambler, SoftGambler])
@pytest.mark.parametrize("payoff", [1.0, 0.0, -2.2, math.inf, math.nan])
def test_a_payoff_that_never_pays_is_refused(component: type[Gambler | SoftGambler], payoff: float) -> None:
    with pytest.raises(InputError, match=r"gambler: payoff = .*: expected a number above 1"):
        component(payoff)


@pytest.mark.parametrize("payoff", [3.0, 3.5])
def test_a_payoff_that_always_pays_is_refused_when_the_classes_are_known(payoff: float) -> None:
    logits, label, target = torch.zeros(2, 4), torch.tensor([0, 2]), torch.zeros(2, 3).log_softmax(dim=1)
    for component, arguments in ((Gambler(payoff), (label,)), (SoftGambler(payoff), (target, 1.0, label))):
        with pytest.raises(InputError, match=r"gambler: payoff = 3\.\d with 3 classes: expected a payoff below"):
            component(logits, *arguments)


@pytest.mark.parametrize("payoff", [0.0, -1.0, math.nan])
def test_the_functions_take_every_payoff_above_zero(payoff: float) -> None:
    logits, label = torch.zeros(1, 4), torch.tensor([0])
    with pytest.raises(InputError, match=r"payoff = .*: expected a number above 0"):
        gambler_loss(logits, label, payoff)
    assert gambler_loss(logits, label, 0.5).isfinite().all()


CLASSES = 4


def context() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student = 2 * torch.randn(6, CLASSES + 1, generator=generator, dtype=torch.float64)
    teacher = 3 * torch.randn(6, CLASSES, generator=generator, dtype=torch.float64)
    label = teacher.argmax(dim=1)
    label[0], label[1] = (label[0] + 1) % CLASSES, -1  # wrong, and unlabeled
    return student.requires_grad_(), teacher, label


@pytest.mark.parametrize("name", ["precise-abstain-a", "precise-abstain-b"])
def test_a_third_of_training_teaches_the_classes_alone(name: str) -> None:
    student, teacher, label = context()
    loss = DistillationLoss(**recipe(name))
    assert loss.abstains
    for progress in (0.0, 0.33):
        terms = loss(student, teacher, label, progress=progress)
        actual = gradient(terms.total, student)
        assert float(terms["gamble"]) == 0
        assert (actual[:, -1] == 0).all()
        labeled = torch.where(label < 0, -100, label)
        ce = F.cross_entropy(student[:, :-1], labeled, reduction="sum") / len(label)
        torch.testing.assert_close(terms["ce"] / loss.terms["ce"].weight, ce)
    for progress in (0.34, 1.0):
        terms = loss(student, teacher, label, progress=progress)
        assert float(terms["ce"]) == 0
        assert gradient(terms["gamble"], student)[:, -1].abs().max() > 0


def test_variant_a_gambles_on_the_adjusted_teacher() -> None:
    student, teacher, label = context()
    terms = DistillationLoss(**recipe("precise-abstain-a"))(student, teacher, label, progress=0.5)
    assert terms.audit is not None
    assert terms.audit.corrected.tolist() == [True] + 5 * [False]
    torch.testing.assert_close(terms.total, soft_gambler_loss(student, terms.audit.target, 1.0, 2.2).mean())


def test_variant_b_distils_into_the_classes_and_gambles_on_the_label() -> None:
    student, teacher, label = context()
    terms = DistillationLoss(**recipe("precise-abstain-b"))(student, teacher, label, progress=0.5)
    adjusted = DistillationLoss(**recipe("ka-ps"))(student[:, :-1], teacher, label).total
    torch.testing.assert_close(terms["kl"], 0.5 * adjusted)
    assert (gradient(terms["kl"], student)[:, -1] == 0).all()
    terms = DistillationLoss(**recipe("precise-abstain-b"))(student, teacher, label, progress=0.5)
    hard = torch.where(label < 0, 0, gambler_loss(student, label.clamp(min=0), 2.2))
    torch.testing.assert_close(terms["gamble"], 0.5 * hard.mean())
    torch.testing.assert_close(terms.total, terms["kl"] + terms["gamble"])


def test_a_gambler_without_a_teacher_learns_from_labels() -> None:
    student, _, label = context()
    terms = DistillationLoss(label_loss=Gambler())(student, None, label)
    hard = torch.where(label < 0, 0, gambler_loss(student, label.clamp(min=0), 2.2))
    torch.testing.assert_close(terms.total, hard.mean())


def test_a_teacher_put_right_is_a_certain_outcome_at_temperature_near_zero() -> None:
    student, teacher, label = context()
    known = label >= 0
    loss = DistillationLoss(correction=ProbabilityShift(), loss=SoftGambler())
    actual = loss(student[known], 1e4 * teacher[known], label[known]).total
    torch.testing.assert_close(actual, gambler_loss(student[known], label[known], 2.2).mean())
