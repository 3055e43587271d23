"""Students of recipes and the call of the training loop, for everything in this folder that trains."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from preceptor.data import CropFlip, ImageSet, Normalization
from preceptor.loss import DistillationLoss
from preceptor.models import seeded_model
from preceptor.recipes import recipe
from preceptor.training import EpochRecord, Student, TrainingConfig, fit


def new_student(
    recipe_name: str, architecture: str, *, channels: int, classes: int, seed: int, name: str | None = None
) -> Student:
    """A student with fresh weights and the loss of a recipe; with an output more if the recipe abstains."""
    loss = DistillationLoss(**recipe(recipe_name))
    network = seeded_model(architecture, channels=channels, classes=classes + loss.abstains, seed=seed)
    return Student(name or recipe_name, network, loss)


def epochs(
    students: Sequence[Student],
    train: ImageSet,
    index: Tensor,
    augmentation: CropFlip,
    normalization: Normalization,
    config: TrainingConfig,
    **options: Any,
) -> Iterator[list[EpochRecord]]:
    """Train students together, in place, an epoch at a time: the only call of the training loop in this folder.

    Args:
        students: each with its own loss.
        train: images and labels, on the device.
        index: of the images to train on.
        augmentation, normalization: of the images.
        config: how to train.
        options: ``teacher``, ``seed``, ``precision``, ``compile``, ``watcher``, ``start`` and ``keep`` of the loop.
    """
    return fit(list(students), train, index, augmentation, normalization, config, **options)
