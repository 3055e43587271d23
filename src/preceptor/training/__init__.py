"""Training: the trainer and its configuration, data, callbacks and guard."""

from preceptor.training.batches import Batch, TrainingData, plan_epoch, steps_in_epoch
from preceptor.training.callbacks import Callback, EpochRecords, IncompatibleCheckpoint, TrainState
from preceptor.training.compile import Compile
from preceptor.training.config import PRESETS, TrainingConfig
from preceptor.training.failure import FailureReport, NotFinite, OnNonfinite
from preceptor.training.guard import NonFiniteGuard
from preceptor.training.metrics import EpochRecord
from preceptor.training.precision import Precision, resolve_precision
from preceptor.training.student import Step, Student
from preceptor.training.trainer import Trainer

__all__ = [
    "PRESETS",
    "Batch",
    "Callback",
    "Compile",
    "EpochRecord",
    "EpochRecords",
    "FailureReport",
    "IncompatibleCheckpoint",
    "NonFiniteGuard",
    "NotFinite",
    "OnNonfinite",
    "Precision",
    "Step",
    "Student",
    "TrainState",
    "Trainer",
    "TrainingConfig",
    "TrainingData",
    "plan_epoch",
    "resolve_precision",
    "steps_in_epoch",
]
