"""Selections: which samples are distilled."""

from preceptor.selections.conformal_weight import ConformalWeight as ConformalWeight
from preceptor.selections.drop_wrong import DropWrong as DropWrong
from preceptor.selections.ea import EA as EA
from preceptor.selections.first_order import GradientCosine as GradientCosine
from preceptor.selections.first_order import TracIn as TracIn
from preceptor.selections.influence import Influence as Influence
from preceptor.selections.influence import influence_scores as influence_scores
from preceptor.selections.near_miss import NearMiss as NearMiss
from preceptor.selections.proxies import EL2N as EL2N
from preceptor.selections.proxies import Correctness as Correctness
from preceptor.selections.proxies import Random as Random
from preceptor.selections.proxies import TeacherLoss as TeacherLoss
from preceptor.selections.ranked import RankedSelection as RankedSelection
from preceptor.selections.ranked import keep_mask as keep_mask
from preceptor.selections.trust import Trust as Trust
from preceptor.selections.trust import TrustWeight as TrustWeight
from preceptor.selections.wsld import WSLD as WSLD
from preceptor.selections.wsld import soft_label_weight as soft_label_weight
