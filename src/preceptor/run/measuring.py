"""What a run measures: its student on held-out and test images, and the lines of an epoch in ``metrics.jsonl``."""

from collections.abc import Sequence
from dataclasses import asdict

from torch import Tensor, nn

from preceptor.context import UNLABELED
from preceptor.data import ImageSet
from preceptor.metrics import Metrics, evaluate
from preceptor.metrics.logits import network_logits
from preceptor.models import save_checkpoint
from preceptor.models.checkpoints import kept_epochs
from preceptor.models.features import ImageModel
from preceptor.run.open_run import OpenRun
from preceptor.run.set_up import RunContext
from preceptor.training import (
    Callback,
    EpochRecord,
    Trainer,
)
from preceptor.training.checkpoint import STUDENT
from preceptor.training.distributed import rank


class MetricsFiles(Callback):
    """Appends a line an epoch to each ``metrics.jsonl``, and keeps the checkpoints of networks that a run asks for."""

    def __init__(self, runs: Sequence[OpenRun]) -> None:
        self._runs = runs

    def on_epoch_end(self, trainer: Trainer, records: list[EpochRecord]) -> None:
        """Write the records of the epoch, each with the accuracy on the held-out images."""
        if rank() > 0:
            return
        for run, record, student in zip(self._runs, records, trainer.students, strict=True):
            trained, context = student.trained_network, run.context
            assert isinstance(trained, ImageModel), "as _build_trainer made it"
            if record.epoch in kept_epochs(run.config.training.epochs, run.config.keep_checkpoints):
                assert context.student.card is not None, "refused beforehand"
                save_checkpoint(
                    run.folder.path,
                    trained.network,
                    context.student.card,
                    epoch=record.epoch,
                    learning_rate=record.learning_rate,
                )
            held_out = measure(context, trained.network, context.train, context.held_out)
            entry = {"event": "epoch", **asdict(record), "student": STUDENT}
            if held_out is not None:
                entry["validation_accuracy"] = held_out.accuracy
            run.folder.append(entry)


def measure(context: RunContext, network: nn.Module, images: ImageSet, index: Tensor | None) -> Metrics | None:
    """Metrics on a split, or on some of it; None when there are no labeled images to measure on."""
    chosen = images if index is None else images.take(index.to(images.images.device))
    labels = chosen.labels.cpu()
    if not bool((labels != UNLABELED).any()):
        return None
    on_device = chosen.images.to(context.train.images.device)
    logits = network_logits(network, context.student.normalization, on_device)
    return evaluate(logits, labels, context.student.abstains)
