"""Abstention: losses of a student with an extra output, the reservation, for abstaining."""

from preceptor.abstention.gambler import Gambler as Gambler
from preceptor.abstention.gambler import SoftGambler as SoftGambler
from preceptor.abstention.gambler import gambler_loss as gambler_loss
from preceptor.abstention.gambler import optimal_bets as optimal_bets
from preceptor.abstention.gambler import reservation as reservation
from preceptor.abstention.gambler import soft_gambler_loss as soft_gambler_loss
from preceptor.abstention.self_adaptive import SelfAdaptive as SelfAdaptive
from preceptor.abstention.self_adaptive import self_adaptive_loss as self_adaptive_loss
