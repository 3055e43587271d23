"""Training: the protocol, the batches, and the loop that teaches a class of students from one pass."""

from preceptor.training.batches import Batch, epoch_batches, steps_in_epoch
from preceptor.training.failure import NotFinite, OnNonfinite
from preceptor.training.loop import fit
from preceptor.training.means import Compile, Precision
from preceptor.training.protocol import PROTOCOLS, Protocol
from preceptor.training.seat import Pupil
from preceptor.training.tally import EpochRecord, Tally
from preceptor.training.watcher import Silent, Watcher

__all__ = [
    "PROTOCOLS",
    "Batch",
    "Compile",
    "EpochRecord",
    "NotFinite",
    "OnNonfinite",
    "Precision",
    "Protocol",
    "Pupil",
    "Silent",
    "Tally",
    "Watcher",
    "epoch_batches",
    "fit",
    "steps_in_epoch",
]
