"""Distill, train and evaluate in Python."""

from preceptor.api.evaluation import evaluate, outputs
from preceptor.api.training import Trained, distill, train

__all__ = ["Trained", "distill", "evaluate", "outputs", "train"]
