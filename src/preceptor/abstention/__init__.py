"""Abstention: losses of a student with an extra output, the reservation, for abstaining."""

from preceptor.abstention.gambler import (
    Gambler,
    SoftGambler,
    gambler_loss,
    optimal_bets,
    reservation,
    soft_gambler_loss,
)
from preceptor.abstention.self_adaptive import SelfAdaptive, self_adaptive_loss

__all__ = [
    "Gambler",
    "SelfAdaptive",
    "SoftGambler",
    "gambler_loss",
    "optimal_bets",
    "reservation",
    "self_adaptive_loss",
    "soft_gambler_loss",
]
