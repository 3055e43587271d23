"""Moments of a network's training, kept beside it as students of their own."""

from pathlib import Path

from torch import nn

from preceptor.errors import InputError
from preceptor.models.store import CARD_FILE, ModelCard, read_card, save_student

FOLDER = "checkpoints"


def kept_epochs(epochs: int, checkpoints: int) -> set[int]:
    """So many epochs, counted from 1 and evenly spaced, of which the last is the last of training."""
    return {max(1, round(epochs * number / checkpoints)) for number in range(1, checkpoints + 1)}


def save_checkpoint(run: Path, model: nn.Module, card: ModelCard, *, epoch: int, learning_rate: float) -> None:
    """Keep a network as it is after an epoch, under the folder of its run.

    Raises:
        MachineError: the folder cannot be written.
    """
    notes = {**card.notes, "epoch": str(epoch), "learning_rate": repr(learning_rate)}
    save_student(run / FOLDER / f"epoch-{epoch:05d}", model, card.model_copy(update={"notes": notes}))


def load_checkpoints(run: Path) -> list[tuple[float, Path]]:
    """The learning rate and the folder of each checkpoint of a run, oldest first; empty when it kept none.

    Raises:
        InputError: a checkpoint that does not say its learning rate.
    """
    found = []
    for folder in sorted((run / FOLDER).glob("epoch-*")):
        notes = read_card(folder / CARD_FILE).notes
        try:
            found.append((float(notes["learning_rate"]), folder))
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{folder / CARD_FILE}: does not say its learning rate: train the teacher again"
            ) from error
    return found
