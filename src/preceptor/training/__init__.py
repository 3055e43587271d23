"""Training: the protocol, the batches, and the loop that teaches a class of students from one pass."""

from preceptor.training.batches import Batch, epoch_batches, steps_in_epoch
from preceptor.training.callbacks import Callback, Silent
from preceptor.training.compile import Compile, Precision
from preceptor.training.config import PRESETS, TrainingConfig
from preceptor.training.epoch_metrics import EpochMetrics, EpochRecord
from preceptor.training.failure import NotFinite, OnNonfinite
from preceptor.training.student import Student
from preceptor.training.trainer import fit

__all__ = [
    "PRESETS",
    "Batch",
    "Callback",
    "Compile",
    "EpochMetrics",
    "EpochRecord",
    "NotFinite",
    "OnNonfinite",
    "Precision",
    "Silent",
    "Student",
    "TrainingConfig",
    "epoch_batches",
    "fit",
    "steps_in_epoch",
]
