"""Everything a run needs, loaded, checked against each other, and put on its device."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preceptor.chain import Chain
from preceptor.data import Dataset, ImageSet, ViewRule, check_dataset, hold_out, load_dataset, subset
from preceptor.data.labels import read_labels
from preceptor.errors import InputError
from preceptor.evaluation.logits import network_logits
from preceptor.models import ModelCard, seeded_model
from preceptor.recipes import build_chain_parts
from preceptor.runs.cards import size_in_words, student_card
from preceptor.runs.config import RunConfig
from preceptor.runs.signals import Teacher, load_teacher
from preceptor.teachers import TeacherCheck
from preceptor.teachers.live import Answers, answers_of


@dataclass(frozen=True)
class Material:
    """Everything a run needs.

    Attributes:
        dataset: as loaded, on the CPU, with the labels it is trained on.
        rule: of the views that are shown.
        train: the training images and labels on the device.
        positions: which of them are trained on.
        held_out: which of them are only measured.
        teacher: None when the recipe needs none.
        answers: what it answered about the images as they are; None without one, and where its bank holds none of them
            as it is.
        student: with its first weights.
        card: how to use it once it is trained.
        chain: what teaches it.
    """

    dataset: Dataset
    rule: ViewRule
    train: ImageSet
    positions: Tensor
    held_out: Tensor
    teacher: Teacher | None
    answers: Answers | None
    student: nn.Module
    card: ModelCard
    chain: Chain

    @property
    def teacher_check(self) -> TeacherCheck | None:
        """What the look at the teacher found."""
        return None if self.answers is None else self.answers.check

    def close(self) -> None:
        """Let go of the teacher's bank, everything written."""
        if self.teacher is not None:
            self.teacher.close()


def prepare(config: RunConfig, device: torch.device) -> Material:
    """Load and check everything; nothing is written but to the bank, and to that once all else is found in order.

    Raises:
        InputError: anything wrong with the recipe, the data, the student, the teacher or its bank.
        EnvironmentProblem: a package that a teacher needs is missing, or the bank cannot be written.
    """
    chain = Chain(**build_chain_parts(config.recipe))
    if chain.needs_teacher and not config.teachers and config.bank is None:
        raise InputError(
            "the recipe needs a teacher: give --teacher RUN_FOLDER (preceptor train makes one), or --bank DIR"
        )
    dataset = training_data(config)
    chain.check_classes(dataset.classes)
    positions, held_out = split(config, dataset)
    card = student_card(config.student, config.data, dataset, abstains=chain.abstains)
    student = seeded_model(config.student, channels=dataset.channels, classes=card.outputs, seed=config.seed)
    _try_student(config.student, student, dataset)
    train = ImageSet(dataset.train.images.to(device), dataset.train.labels.to(device))
    rule, teacher, answers = view_rule(config, dataset), None, None
    if chain.needs_teacher:
        teacher = load_teacher(config, dataset, rule, device)
        answers = _asked(teacher, train, positions, dataset.classes, rule)
    return Material(dataset, rule, train, positions, held_out, teacher, answers, student, card, chain)


def view_rule(config: RunConfig, dataset: Dataset) -> ViewRule:
    """The views that a run shows."""
    return dataset.view_rule if config.augment else ViewRule(padding=0, flip=False)


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
        labels = read_labels(config.train_labels, len(dataset.train))
        dataset = dataclasses.replace(dataset, train=ImageSet(dataset.train.images, labels))
    check_dataset(dataset)
    return dataset


def split(config: RunConfig, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Positions to train on and positions held out; a subset is drawn from the former."""
    positions, held_out = hold_out(dataset.train.labels, config.validation, config.split_seed)
    if config.train_images is None:
        return positions, held_out
    if config.train_images > len(positions):
        raise InputError(
            f"train_images = {config.train_images}: {dataset.name} has {len(positions)} training images left after "
            f"{len(held_out)} were held out: ask for fewer, or lower validation"
        )
    return positions[subset(dataset.train.labels[positions], config.train_images, config.split_seed)], held_out


def _asked(teacher: Teacher, train: ImageSet, positions: Tensor, classes: int, rule: ViewRule) -> Answers | None:
    """What the teacher answers of the images as they are; of a bank alone, of those that it holds in this view."""
    if teacher.bank is not None and not teacher.members:
        seen = positions * rule.count + rule.identity
        positions = positions[torch.from_numpy(teacher.bank.store.known(seen.numpy()))]
        if len(positions) == 0:
            return None
    lessons = train.take(positions.to(train.images.device))
    return answers_of(teacher.signal, lessons.images, lessons.labels, classes, positions=positions, view=rule.identity)


def _try_student(name: str, student: nn.Module, dataset: Dataset) -> None:
    """Two images through the student, so that one that cannot take this size fails before anything is written."""
    try:
        network_logits(student, dataset.normalisation, dataset.train.images[:2])
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"model {name!r} cannot take images of {size_in_words(dataset.size)} pixels ({reason}): "
            "choose another model or size"
        ) from error
