"""A network after some epochs of its training, saved beside it as students of their own."""

from pathlib import Path

from torch import nn

from preceptor.errors import InputError
from preceptor.models.store import CARD_FILE, ModelCard, read_card, save_student

FOLDER = "checkpoints"


def kept_epochs(epochs: int, checkpoints: int) -> set[int]:
    """Epochs, counted from 1, after which a checkpoint is saved: evenly spaced, the last of training among them."""
    return {max(1, round(epochs * number / checkpoints)) for number in range(1, checkpoints + 1)}


def save_checkpoint(run: Path, model: nn.Module, card: ModelCard, *, epoch: int, learning_rate: float) -> None:
    """Save a network as it is after an epoch, under the folder of its run.

    Raises:
        MachineError: the folder cannot be written.
    """
    notes = {**card.notes, "epoch": str(epoch), "learning_rate": repr(learning_rate)}
    save_student(run / FOLDER / f"epoch-{epoch:05d}", model, card.model_copy(update={"notes": notes}))


def load_checkpoints(run: Path) -> list[tuple[float, Path]]:
    """The learning rate and the folder of each checkpoint of a run, oldest first; empty without any.

    Raises:
        InputError: a checkpoint that does not state its learning rate.
    """
    checkpoints = []
    for folder in sorted((run / FOLDER).glob("epoch-*")):
        notes = read_card(folder / CARD_FILE).notes
        try:
            checkpoints.append((float(notes["learning_rate"]), folder))
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{folder / CARD_FILE}: does not state its learning rate; train the teacher again"
            ) from error
    return checkpoints
