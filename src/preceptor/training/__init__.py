"""Training: the trainer and its configuration, data, callbacks and guard."""

from preceptor.training.batches import Batch as Batch
from preceptor.training.batches import TrainingData as TrainingData
from preceptor.training.batches import plan_epoch as plan_epoch
from preceptor.training.batches import steps_in_epoch as steps_in_epoch
from preceptor.training.callbacks import Callback as Callback
from preceptor.training.callbacks import EpochRecords as EpochRecords
from preceptor.training.callbacks import IncompatibleCheckpoint as IncompatibleCheckpoint
from preceptor.training.callbacks import StudentFailed as StudentFailed
from preceptor.training.callbacks import TrainState as TrainState
from preceptor.training.compile import Compile as Compile
from preceptor.training.config import PRESETS as PRESETS
from preceptor.training.config import TrainingConfig as TrainingConfig
from preceptor.training.failure import FailureReport as FailureReport
from preceptor.training.failure import NotFinite as NotFinite
from preceptor.training.failure import OnNonfinite as OnNonfinite
from preceptor.training.guard import NonFiniteGuard as NonFiniteGuard
from preceptor.training.metrics import EpochRecord as EpochRecord
from preceptor.training.precision import Precision as Precision
from preceptor.training.precision import resolve_precision as resolve_precision
from preceptor.training.step import Step as Step
from preceptor.training.student import Student as Student
from preceptor.training.trainer import Trainer as Trainer
