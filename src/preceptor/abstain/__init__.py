"""Abstention: losses of a student that may keep its stake instead of betting on a class."""

from preceptor.abstain.gambler import (
    Gambler,
    SoftGambler,
    gambler_loss,
    optimal_bets,
    reservation,
    soft_gambler_loss,
)

__all__ = ["Gambler", "SoftGambler", "gambler_loss", "optimal_bets", "reservation", "soft_gambler_loss"]
