"""Images, teachers and small trainings for the entries that need no data set."""

from collections.abc import Sequence
from typing import Any

import torch

from preceptor.data import CropFlip, ImageSet, Normalization
from preceptor.loss import DistillationLoss
from preceptor.models import seeded_model
from preceptor.recipes import recipe
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher
from preceptor.training import EpochRecord, Student, TrainingConfig, fit

CLASSES = 10
NORMALIZE = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
RULE = CropFlip(padding=4, flip=True)

Taught = tuple[list[Student], list[list[EpochRecord]]]
"""Pupils as a training left them, and its records by epoch."""


def made_up(images: int, device: torch.device, classes: int = CLASSES) -> ImageSet:
    """Noise with a label each: as good as photographs for seeing that numbers agree and how fast they come."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.randint(classes, (images,), generator=generator)
    return ImageSet(pixels.to(device), labels.to(device))


def untrained(
    device: torch.device, architecture: str = "resnet8", classes: int = CLASSES, seed: int = 99
) -> NetworkTeacher:
    """A teacher that knows nothing."""
    return NetworkTeacher(seeded_model(architecture, channels=3, classes=classes, seed=seed), NORMALIZE, device)


def pupil(name: str, architecture: str = "resnet8", classes: int = CLASSES) -> Student:
    """The student of a recipe, the same one every time."""
    loss = DistillationLoss(**recipe(name))
    return Student(name, seeded_model(architecture, channels=3, classes=classes + loss.abstains, seed=0), loss)


def images_of(steps: int) -> int:
    """How many images make so many full batches and a smaller one."""
    return 32 * steps + 5


def taught(
    names: Sequence[str],
    device: torch.device,
    /,
    *,
    steps: int = 8,
    epochs: int = 2,
    train: ImageSet | None = None,
    teacher: Teacher | None = None,
    **options: Any,
) -> Taught:
    """Pupils after a short training, in fp32 and uncompiled unless told otherwise; and its records by epoch.

    Args:
        names: of the recipes.
        device: of the images and the teacher.
        steps: full batches an epoch; a smaller one follows.
        epochs: of the training.
        train: images and labels; None is made-up ones.
        teacher: None is an untrained one.
        options: of ``fit``.
    """
    pupils = [pupil(name) for name in names]
    training = TrainingConfig(epochs=epochs, batch_size=32, learning_rate=0.01)
    records = fit(
        pupils,
        made_up(images_of(steps), device) if train is None else train,
        torch.arange(images_of(steps)),
        RULE,
        NORMALIZE,
        training,
        teacher=untrained(device) if teacher is None else teacher,
        **{"precision": "fp32", "compile": "never", **options},
    )
    return pupils, list(records)
