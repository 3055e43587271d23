"""Selections: which samples the teacher teaches."""

from preceptor.select.drop_wrong import DropWrong
from preceptor.select.first_order import GradientCosine, TracIn
from preceptor.select.influence import Influence, influence_scores
from preceptor.select.proxies import EL2N, Correctness, Random, TeacherLoss
from preceptor.select.ranked import RankedSelection, keep_mask

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
