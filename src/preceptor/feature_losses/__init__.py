"""Losses between intermediate features of student and teacher."""

from preceptor.feature_losses.attention import Attention
from preceptor.feature_losses.hint import Hint

__all__ = ["Attention", "Hint"]
