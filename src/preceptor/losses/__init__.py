"""Losses: distances of the student's logits from the teacher's corrected output."""

from preceptor.context import z_score as z_score
from preceptor.losses.correlation import CMKD as CMKD
from preceptor.losses.correlation import Pearson as Pearson
from preceptor.losses.correlation import Spearman as Spearman
from preceptor.losses.correlation import difficulty as difficulty
from preceptor.losses.correlation import pearson as pearson
from preceptor.losses.correlation import pearson_loss as pearson_loss
from preceptor.losses.correlation import spearman_loss as spearman_loss
from preceptor.losses.dkd import DKD as DKD
from preceptor.losses.dkd import non_target_divergence as non_target_divergence
from preceptor.losses.dkd import target_class_divergence as target_class_divergence
from preceptor.losses.intra_class import IntraClass as IntraClass
from preceptor.losses.intra_class import intra_class_loss as intra_class_loss
from preceptor.losses.kl import KL as KL
from preceptor.losses.kl import kl_divergence as kl_divergence
from preceptor.losses.rld import RLD as RLD
from preceptor.losses.rld import confidence_divergence as confidence_divergence
from preceptor.losses.rld import masked_divergence as masked_divergence
from preceptor.losses.slam import SLaM as SLaM
from preceptor.losses.slam import mixed_log_probs as mixed_log_probs
from preceptor.losses.soft_rank import permutahedron_soft_rank as permutahedron_soft_rank
from preceptor.losses.soft_rank import window_soft_rank as window_soft_rank
from preceptor.losses.squared_error import SquaredErrorLogits as SquaredErrorLogits
from preceptor.losses.squared_error import SquaredErrorProbs as SquaredErrorProbs
from preceptor.losses.squared_error import squared_error_logits as squared_error_logits
from preceptor.losses.squared_error import squared_error_probs as squared_error_probs
