"""Everything a run needs, loaded, checked against each other, and put on its device."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from preceptor import __version__
from preceptor.chain import Chain
from preceptor.data import Dataset, ImageSet, check_dataset, hold_out, load_dataset, subset
from preceptor.data.labels import read_labels
from preceptor.errors import InputError
from preceptor.evaluation.logits import network_logits
from preceptor.models import ModelCard, load_student, seeded_model
from preceptor.recipes import build_chain_parts
from preceptor.runs.config import RunConfig
from preceptor.runs.folder import fingerprint
from preceptor.teachers import LiveTeacher, TeacherCheck, check_teacher


@dataclass(frozen=True)
class Material:
    """Everything a run needs.

    Attributes:
        dataset: as loaded, on the CPU, with the labels it is trained on.
        train: the training images and labels on the device.
        positions: which of them are trained on.
        held_out: which of them are only measured.
        teacher: None when the recipe needs none.
        teacher_check: what a look at it found.
        teacher_fingerprint: of its weights.
        student: with its first weights.
        card: how to use it once it is trained.
        chain: what teaches it.
    """

    dataset: Dataset
    train: ImageSet
    positions: Tensor
    held_out: Tensor
    teacher: LiveTeacher | None
    teacher_check: TeacherCheck | None
    teacher_fingerprint: str | None
    student: nn.Module
    card: ModelCard
    chain: Chain


def prepare(config: RunConfig, device: torch.device) -> Material:
    """Load and check everything; nothing is written.

    Raises:
        InputError: anything wrong with the recipe, the data, the student or the teacher.
    """
    chain = Chain(**build_chain_parts(config.recipe))
    if chain.needs_teacher and config.teacher is None:
        raise InputError("the recipe needs a teacher: give --teacher RUN_FOLDER (preceptor train makes one)")
    dataset = _dataset(config)
    chain.check_classes(dataset.classes)
    positions, held_out = _split(config, dataset)
    train = ImageSet(dataset.train.images.to(device), dataset.train.labels.to(device))
    teacher, check, weights = None, None, None
    if config.teacher is not None and chain.needs_teacher:
        teacher, weights = load_teacher(config.teacher, dataset, device)
        lessons = train.take(positions.to(device))
        check = check_teacher(teacher, lessons.images, lessons.labels, dataset.classes, positions=positions)
    card = student_card(config.student, config.data, dataset, abstains=chain.abstains)
    student = seeded_model(config.student, channels=dataset.channels, classes=card.outputs, seed=config.seed)
    _try_student(config.student, student, dataset)
    return Material(dataset, train, positions, held_out, teacher, check, weights, student, card, chain)


def check_card(who: str, card: ModelCard, dataset: Dataset) -> None:
    """Make sure that a network fits a data set: channels, image size, number of classes, and their names in order.

    Raises:
        InputError: it does not; both sides are named.
    """
    if card.channels != dataset.channels:
        raise InputError(
            f"{who} wants images of {card.channels} channels, {dataset.name} has {dataset.channels}: "
            "give images of the kind it was trained on"
        )
    if card.image_size != dataset.size:
        raise InputError(
            f"{who} was trained on images of {_size(card.image_size)} pixels, those of {dataset.name} are "
            f"{_size(dataset.size)}: give images of that size (--image-size resizes those of a folder)"
        )
    if card.classes != dataset.classes:
        raise InputError(
            f"{who} has {card.classes} classes, {dataset.name} has {dataset.classes}: "
            "the classes must be the same, in the same order"
        )
    if card.class_names != dataset.class_names and not _only_one_named(card.class_names, dataset.class_names):
        first = next(n for n, (a, b) in enumerate(zip(card.class_names, dataset.class_names, strict=True)) if a != b)
        raise InputError(
            f"{who} has class {first} = {card.class_names[first]!r}, {dataset.name} has "
            f"{dataset.class_names[first]!r}: the classes must be the same, in the same order"
        )


def student_card(architecture: str, data: str, dataset: Dataset, abstains: bool = False) -> ModelCard:
    """The card of a network trained on a data set."""
    return ModelCard(
        architecture=architecture,
        channels=dataset.channels,
        classes=dataset.classes,
        class_names=dataset.class_names,
        image_size=dataset.size,
        mean=dataset.normalisation.mean,
        std=dataset.normalisation.std,
        data=data,
        preceptor=__version__,
        abstains=abstains,
    )


def _dataset(config: RunConfig) -> Dataset:
    dataset = load_dataset(config.data, root=config.data_root, download=config.download, image_size=config.image_size)
    if config.train_labels is not None:
        labels = read_labels(config.train_labels, len(dataset.train))
        dataset = dataclasses.replace(dataset, train=ImageSet(dataset.train.images, labels))
    check_dataset(dataset)
    return dataset


def _split(config: RunConfig, dataset: Dataset) -> tuple[Tensor, Tensor]:
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


def load_teacher(folder: Path, dataset: Dataset, device: torch.device) -> tuple[LiveTeacher, str]:
    """The teacher in a run folder, and the fingerprint of its weights.

    Raises:
        InputError: no whole network in the folder, or one that does not fit the data set.
    """
    network, card = load_student(folder)
    check_card(f"teacher {folder}", card, dataset)
    live = LiveTeacher(network, card.normalisation(), device, card.classes)
    return live, fingerprint(network.state_dict())


def _try_student(name: str, student: nn.Module, dataset: Dataset) -> None:
    """Two images through the student, so that one that cannot take this size fails before anything is written."""
    try:
        network_logits(student, dataset.normalisation, dataset.train.images[:2])
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"model {name!r} cannot take images of {_size(dataset.size)} pixels ({reason}): "
            "choose another model or size"
        ) from error


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _only_one_named(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether one side has real names and the other just numbers in order, as of arrays that bring none."""
    numbers = tuple(str(number) for number in range(len(first)))
    return numbers in (first, second) and set(first) != set(second)
