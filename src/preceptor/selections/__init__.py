"""Selections: which samples are distilled."""

from preceptor.selections.drop_wrong import DropWrong
from preceptor.selections.first_order import GradientCosine, TracIn
from preceptor.selections.influence import Influence, influence_scores
from preceptor.selections.proxies import EL2N, Correctness, Random, TeacherLoss
from preceptor.selections.ranked import RankedSelection, keep_mask

__all__ = [
    "EL2N",
    "Correctness",
    "DropWrong",
    "GradientCosine",
    "Influence",
    "Random",
    "RankedSelection",
    "TeacherLoss",
    "TracIn",
    "influence_scores",
    "keep_mask",
]
