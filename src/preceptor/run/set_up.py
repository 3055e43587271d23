"""Everything a run needs, loaded, checked against each other, and put on its device."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preceptor.data import CropFlip, Dataset, ImageSet, check_dataset, hold_out, load_dataset, subset
from preceptor.data.labels import read_labels
from preceptor.errors import InputError, first_line
from preceptor.loss import DistillationLoss
from preceptor.metrics.logits import network_logits
from preceptor.models import ModelCard, seeded_model
from preceptor.recipes import build_recipe_parts
from preceptor.run.cards import size_in_words, student_card
from preceptor.run.config import RunConfig
from preceptor.run.teachers import LoadedTeacher, check_teacher, load_teacher
from preceptor.teachers import TeacherCheck
from preceptor.teachers.network import Answers


@dataclass(frozen=True)
class RunContext:
    """Everything a run needs.

    Attributes:
        dataset: as loaded, on the CPU, with the labels it is trained on.
        rule: of the views that are shown.
        train: the training images and labels on the device, those of an own validation set behind them.
        positions: which of them are trained on.
        held_out: which of them are only measured.
        teacher: None when the recipe needs none.
        answers: what it answered about the images as they are; None without one, and where its cache holds none of them
            as it is.
        student: with its first weights.
        card: how to use it once it is trained.
        chain: what teaches it.
    """

    dataset: Dataset
    rule: CropFlip
    train: ImageSet
    positions: Tensor
    held_out: Tensor
    teacher: LoadedTeacher | None
    answers: Answers | None
    student: nn.Module
    card: ModelCard
    loss: DistillationLoss

    @property
    def teacher_check(self) -> TeacherCheck | None:
        """What the look at the teacher found."""
        return None if self.answers is None else self.answers.check

    def close(self) -> None:
        """Let go of the teacher's cache, everything written."""
        if self.teacher is not None:
            self.teacher.close()


def prepare(config: RunConfig, device: torch.device) -> RunContext:
    """Load and check everything; nothing is written but to the cache, and to that once all else is found in order.

    Raises:
        InputError: anything wrong with the recipe, the data, the student, the teacher or its cache.
        MachineError: a package that a teacher needs is missing, or the cache cannot be written.
    """
    loss = DistillationLoss(**build_recipe_parts(config.recipe))
    if loss.uses_teacher and not config.teachers and config.cache is None:
        raise InputError(
            "the recipe needs a teacher: give --teacher RUN_FOLDER (preceptor train makes one), or --cache DIR"
        )
    dataset = training_data(config)
    loss.check_classes(dataset.classes)
    positions, held_out = split(config, dataset)
    card = student_card(config.student, config.data, dataset, abstains=loss.abstains)
    student = seeded_model(config.student, channels=dataset.channels, classes=card.outputs, seed=config.seed)
    _try_student(config.student, student, dataset)
    images = dataset.train_and_validation()
    train = ImageSet(images.images.to(device), images.labels.to(device))
    rule, teacher, answers = augmentation(config, dataset), None, None
    if loss.uses_teacher:
        teacher = load_teacher(config, dataset, rule, device)
        answers = check_teacher(teacher, train, positions, dataset.classes, rule)
    return RunContext(dataset, rule, train, positions, held_out, teacher, answers, student, card, loss)


def augmentation(config: RunConfig, dataset: Dataset) -> CropFlip:
    """The views that a run shows."""
    return dataset.augmentation if config.augment else CropFlip(padding=0, flip=False)


def training_data(config: RunConfig) -> Dataset:
    """The data set of a configuration, with the labels that it states.

    Raises:
        InputError: it cannot be read, or labels do not fit.
    """
    dataset = load_dataset(
        config.data,
        root=config.data_root,
        download=config.download,
        image_size=config.image_size,
        skip_bad_images=config.skip_bad_images,
    )
    if config.train_labels is not None:
        labels = read_labels(config.train_labels, len(dataset.train), dataset.class_names)
        dataset = dataclasses.replace(dataset, train=ImageSet(dataset.train.images, labels))
    check_dataset(dataset)
    return dataset


def split(config: RunConfig, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Indices to train on and indices held out, of ``dataset.train_and_validation()``.

    A data set's own validation images are what is held out. Without them it is a share of the training images, in
    which copies of one image stay together. A subset is drawn from the others.
    """
    positions: Tensor
    held_out: Tensor
    if dataset.validation is None:
        positions, held_out = hold_out(
            dataset.train.labels, config.validation, config.split_seed, images=dataset.train.images
        )
    else:
        count = len(dataset.train)
        positions, held_out = torch.arange(count), torch.arange(count, count + len(dataset.validation))
    if config.train_images is None:
        return positions, held_out
    if config.train_images > len(positions):
        raise InputError(
            f"train_images = {config.train_images}: {dataset.name} has {len(positions)} training images left after "
            f"{len(held_out)} were held out: ask for fewer, or lower validation"
        )
    return positions[subset(dataset.train.labels[positions], config.train_images, config.split_seed)], held_out


def _try_student(name: str, student: nn.Module, dataset: Dataset) -> None:
    """Two images through the student, so that one that cannot take this size fails before anything is written."""
    try:
        network_logits(student, dataset.normalization, dataset.train.images[:2])
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(
            f"model {name!r} cannot take images of {size_in_words(dataset.size)} pixels ({first_line(error)}): "
            "choose another model or size"
        ) from error
