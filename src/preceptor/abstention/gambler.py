"""Gambler losses: a student with one extra output, the last, whose probability is the reservation it abstains with.

With ``q = softmax(z)`` over m classes and the reservation, a bet on the true class pays ``o q_y + q_{m+1}``: the payoff
``o`` times the bet, plus the reservation. Liu et al., "Deep Gamblers: Learning to Abstain with Portfolio
Theory", 2019, arXiv:1907.00208. Losses are in the form of their code, ``-ln(q_y + q_{m+1} / o)``; the form of their
README, ``-ln(o q_y + q_{m+1})``, is lower by the constant ``ln o``.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional as F

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, BatchOutputs, Classes, PerSample, Temperatures, at_class, column
from preceptor.errors import InputError
from preceptor.registry import register, registered_name


def gambler_loss(logits: BatchOutputs, label: Classes, payoff: float) -> PerSample:
    """``-ln(q_y + q_{m+1} / o)`` per sample; at least 0 for a payoff of at least 1.

    The payoff is above 0. From m on a reservation never pays, up to 1 it always does.
    """
    log_probs = logits.log_softmax(dim=1)
    return -torch.logaddexp(at_class(log_probs, label), log_probs[:, -1] - _log(payoff))


def soft_gambler_loss(
    logits: BatchOutputs, target_log_probs: BatchClasses, temperature: Temperatures, payoff: float
) -> PerSample:
    """``-T^2 sum_i p_i ln(q_i + q_{m+1} / o)`` per sample, with ``q = softmax(z / T)`` over the m + 1 outputs.

    The target p over the m classes is the distribution of the outcome; a log-probability of -inf means probability 0.
    The doubling rate of Liu et al. with soft targets as the outcome: a reconstruction.
    """
    log_probs = (logits / column(temperature)).log_softmax(dim=1)
    log_gain = torch.logaddexp(log_probs[:, :-1], log_probs[:, -1:] - _log(payoff))
    return -(temperature**2) * (target_log_probs.exp() * log_gain).sum(dim=1)


def optimal_bets(probs: BatchClasses, payoff: float) -> tuple[BatchClasses, PerSample]:
    """The optimal bets and reservation when the distribution of the outcome is known.

    They minimize the (soft) gambler loss at temperature 1: ``b_i = max(p_i - b_0 / o, 0)``, where ``b_0`` is the least
    of ``(1 - sum of the k largest p) / (1 - k / o)`` over every k below o. The reservation is 1 if and only if
    ``max p <= 1 / o``, and 0 for a payoff above m. At ``o = m`` several choices are optimal; this one has the largest
    reservation. Bets and reservation sum to 1, as do the rows of ``probs``.

    The Karush-Kuhn-Tucker conditions of the problem in Liu et al., arXiv:1907.00208; derived by this project.
    """
    classes = probs.shape[1]
    most = math.ceil(min(_positive(payoff), classes + 1)) - 1  # the largest k below o
    smallest = F.pad(probs.sort(dim=1).values.cumsum(dim=1)[:, :-1], (1, 0))
    rest = F.pad(smallest, (0, 1), value=1.0)[:, classes - most :]  # 1 - sum of the k largest, k = most, ..., 0
    k = torch.arange(most, -1, -1, dtype=probs.dtype, device=probs.device)
    reserved = (rest / (1 - k / payoff)).amin(dim=1)
    return (probs - reserved.unsqueeze(1) / payoff).clamp(min=0), reserved


def reservation(logits: BatchOutputs) -> PerSample:
    """``q_{m+1}``, the probability of the extra output, 0 to 1: how strongly the student abstains."""
    return logits.softmax(dim=1)[:, -1]


@dataclass(frozen=True)
class _Betting:
    """A bet on the true class pays ``payoff``: above 1, or abstaining always pays; below the number of classes."""

    payoff: float = 2.2
    wants_reservation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 < self.payoff < math.inf:
            raise InputError(
                f"{registered_name(self)}: payoff = {self.payoff}: expected a number above 1 and below the number of "
                "classes; up to 1 abstaining always pays"
            )

    def check_classes(self, classes: int) -> None:
        """Refuse a payoff with which a reservation never pays.

        Raises:
            InputError: the payoff is not below the number of classes.
        """
        if self.payoff >= classes:
            raise InputError(
                f"{registered_name(self)}: payoff = {self.payoff} with {classes} classes: expected a payoff below the "
                "number of classes; from there on abstaining never pays"
            )


@register("label_loss", "gambler", paper="Liu et al., 2019, arXiv:1907.00208 (Deep Gamblers)")
@dataclass(frozen=True)
class Gambler(_Betting):
    """Gambler loss with the label: the student bets on a class or abstains.

    It needs a student with one output more than there are classes. Used from the start of training it can end in a
    reservation of 1 everywhere: limit it with ``since`` (Liu et al. train on cross-entropy first where the payoff is
    low).

    Args:
        payoff: what a bet on the true class pays, above 1 and below the number of classes. A class is worth a bet
            from a probability of 1 / payoff on; the lower the payoff, the more the student abstains. Default 2.2 (that
            of Liu et al.'s code).

    Raises:
        InputError: the payoff is not above 1, or, in the call, not below the number of classes.
    """

    def __call__(self, student_logits: BatchOutputs, label: Classes) -> PerSample:
        self.check_classes(student_logits.shape[1] - 1)
        return gambler_loss(student_logits, label, self.payoff)


@register(
    "loss",
    "soft_gambler",
    paper="Xu, Pu, Zhao, ICPR 2020, doi:10.1109/ICPR48806.2021.9412696; reconstruction: how they join the gambler's "
    "loss to the teacher's output is not known",
)
@dataclass(frozen=True)
class SoftGambler(_Betting):
    """Gambler loss with the corrected soft targets as the distribution of the outcome, times T squared.

    It needs a student with one output more than there are classes. With a one-hot target at temperature 1 it is
    Deep Gamblers' loss. Where the target's largest probability is at most 1 / payoff, a reservation of 1 is optimal
    (:func:`optimal_bets`): a temperature that softens the target makes the student abstain everywhere. Use temperature
    1, or a payoff above 1 / median(max p).

    Args:
        payoff: as for :class:`Gambler`. Default 2.2 (Liu et al.'s; Xu et al.'s value is not known).

    Raises:
        InputError: the payoff is not above 1, or, in the call, not below the number of classes.
    """

    target_space: ClassVar[TargetSpace] = "log_probs"
    zero_at_teacher: ClassVar[bool] = False

    def __call__(
        self, student_logits: BatchOutputs, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        self.check_classes(student_logits.shape[1] - 1)
        return soft_gambler_loss(student_logits, target, temperature, self.payoff)


def _positive(payoff: float) -> float:
    if not payoff > 0:
        raise InputError(f"payoff = {payoff}: expected a number above 0")
    return payoff


def _log(payoff: float) -> float:
    return math.log(_positive(payoff))
