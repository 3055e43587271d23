"""Optimizers that torch does not have."""

from preceptor.training.optimizers.deepkd import DeepKD as DeepKD
from preceptor.training.optimizers.dot import DOT as DOT
from preceptor.training.optimizers.separate import SeparateMomentum as SeparateMomentum
