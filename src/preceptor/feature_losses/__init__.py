"""Losses between intermediate features of student and teacher."""

from preceptor.feature_losses.attention import Attention
from preceptor.feature_losses.contrastive import Contrastive
from preceptor.feature_losses.hint import Hint
from preceptor.feature_losses.itrd import InformationTheoretic
from preceptor.feature_losses.pkt import ProbabilisticTransfer
from preceptor.feature_losses.relational import Relational
from preceptor.feature_losses.review import Review
from preceptor.feature_losses.similarity import Similarity
from preceptor.feature_losses.simkd import SimKD
from preceptor.feature_losses.vid import VariationalInformation

__all__ = [
    "Attention",
    "Contrastive",
    "Hint",
    "InformationTheoretic",
    "ProbabilisticTransfer",
    "Relational",
    "Review",
    "SimKD",
    "Similarity",
    "VariationalInformation",
]
