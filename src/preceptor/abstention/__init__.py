"""Abstention: losses of a student that may keep its stake instead of betting on a class."""

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
