"""Losses between intermediate features of student and teacher."""

from preceptor.feature_losses.attention import Attention
from preceptor.feature_losses.contrastive import Contrastive
from preceptor.feature_losses.hint import Hint
from preceptor.feature_losses.pkt import ProbabilisticTransfer
from preceptor.feature_losses.relational import Relational
from preceptor.feature_losses.similarity import Similarity

__all__ = ["Attention", "Contrastive", "Hint", "ProbabilisticTransfer", "Relational", "Similarity"]
