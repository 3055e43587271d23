"""Students of recipes, and the trainer, for everything in this folder that trains."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from preceptor.data import CropFlip, ImageSet, Normalization
from preceptor.loss import DistillationLoss
from preceptor.models import seeded_model
from preceptor.models.features import ImageModel
from preceptor.teachers.base import Teacher
from preceptor.training import Callback, EpochRecord, EpochRecords, Student, Trainer, TrainingConfig, TrainingData


def new_student(
    recipe_name: str, architecture: str, *, channels: int, classes: int, seed: int, name: str | None = None
) -> Student:
    """A student with fresh weights and the loss of a recipe; with an output more if the recipe abstains."""
    loss = DistillationLoss.from_recipe(recipe_name)
    network = seeded_model(architecture, channels=channels, classes=classes + loss.abstains, seed=seed)
    return Student(name or recipe_name, network, loss)


def trainer_of(
    students: Sequence[Student],
    images: ImageSet,
    index: Tensor,
    augmentation: CropFlip,
    normalization: Normalization,
    config: TrainingConfig,
    *,
    callbacks: Sequence[Callback] = (),
    teacher: Teacher | None = None,
    **options: Any,
) -> Trainer:
    """A trainer of students on images.

    Args:
        students: their networks take normalized images.
        images: images and labels, on the device.
        index: of the images to train on.
        augmentation, normalization: of the images.
        config: how to train.
        callbacks: of the trainer.
        teacher: None for students of labels alone.
        options: ``seed``, ``precision`` and ``compile`` of the trainer.
    """
    wrapped = [Student(one.name, ImageModel(one.network, normalization), one.loss) for one in students]
    data = TrainingData.of_images(images, index, augmentation)
    return Trainer(wrapped, teacher, data, config, callbacks, **options)


def train(*arguments: Any, callbacks: Sequence[Callback] = (), **options: Any) -> list[list[EpochRecord]]:
    """Train students together, in place, as :func:`trainer_of` would; the records of each epoch."""
    records = EpochRecords()
    trainer_of(*arguments, callbacks=[records, *callbacks], **options).fit()
    return records.epochs
