"""Set-up of a run: data, teacher, student and loss are loaded, checked against each other, and put on the device.

A run follows from these alone, and has a digest of each: to resume it, all must be as they were.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data import (
    Augmentation,
    CropFlip,
    Dataset,
    ImageSet,
    NoAugmentation,
    check_dataset,
    folds,
    hold_out,
    load_dataset,
    named_augmentation,
    subset,
)
from preceptor.data.items import ItemViews
from preceptor.data.labels import read_labels
from preceptor.errors import InputError
from preceptor.loss import DistillationLoss
from preceptor.recipes import Recipe, build_recipe_parts
from preceptor.recipes.reader import DESCRIPTIONS
from preceptor.run.config import RunConfig
from preceptor.run.folder import fingerprint
from preceptor.run.framing import run_framing
from preceptor.run.own_parts import NO_PARTS, OwnParts, check_from_python, own_members
from preceptor.run.students import NewStudent, new_student, own_student, take_teachers_head
from preceptor.run.teachers import LoadedTeacher, check_teacher, load_teacher
from preceptor.run.verdicts import read_verdicts
from preceptor.settings import PLACES
from preceptor.teachers import TeacherCheck
from preceptor.teachers.base import looks_up
from preceptor.teachers.check import TeacherPredictions
from preceptor.training import steps_in_epoch
from preceptor.training.checks import check_mixing, check_two_views


@dataclass(frozen=True)
class RunContext:
    """Everything a run needs.

    Attributes:
        dataset: as loaded, on the CPU, with the labels it is trained on.
        train: the training images and labels on the device, those of an own validation set behind them.
        index: of those trained on.
        held_out: index of those that are only measured.
        teacher: None when the recipe needs none.
        teacher_predictions: on the unaugmented images; None without a teacher, and where a cache alone holds none.
        student: with its first weights.
        recipe: that the loss was built from.
    """

    dataset: Dataset
    augmentation: Augmentation
    train: ImageSet
    index: Tensor
    held_out: Tensor
    teacher: LoadedTeacher | None
    teacher_predictions: TeacherPredictions | None
    student: NewStudent
    loss: DistillationLoss
    recipe: Recipe

    @property
    def network(self) -> nn.Module:
        """The student's network."""
        return self.student.network

    @property
    def teacher_check(self) -> TeacherCheck | None:
        """How the teacher does on the training images."""
        return None if self.teacher_predictions is None else self.teacher_predictions.check

    def close(self) -> None:
        """Flush and close the teacher's cache."""
        if self.teacher is not None:
            self.teacher.close()


def set_up(config: RunConfig, device: torch.device, own: OwnParts = NO_PARTS) -> RunContext:
    """Load and check everything. Only the cache is written to, and last.

    Args:
        config: what the run is made of.
        device: where it trains.
        own: Python objects in place of what the configuration names.

    Raises:
        InputError: anything wrong with the recipe, the data, the student, the teacher or its cache.
        MachineError: a package that a teacher needs is missing, or the cache cannot be written.
    """
    return set_up_together([config], device, own)[0]


def set_up_together(configs: Sequence[RunConfig], device: torch.device, own: OwnParts = NO_PARTS) -> list[RunContext]:
    """The same for runs that differ in recipe, student and optimizer alone: they share the data and the teacher.

    Closing one of them closes the teacher of all. Raises what :func:`set_up` does.
    """
    for config in configs:
        check_from_python(config, own)
        if run_framing(config) != run_framing(configs[0]):
            raise InputError(
                f"students {configs[0].student} and {config.student} bring images to different sizes or crops, and are "
                "to share them: give --image-size, and crop and interpolation"
            )
    losses = [_loss(config, own) for config in configs]
    shared = configs[0]
    dataset = own.dataset or training_data(shared)
    index, held_out = split(shared, dataset)
    parts = [_student(config, dataset, loss, own) for config, loss in zip(configs, losses, strict=True)]
    images = dataset.train_and_validation()
    train = images.to(device)
    views, teacher, predictions = augmentation(shared, dataset), None, None
    check_two_views(shared.training, losses, views)
    taught = [config for config, loss in zip(configs, losses, strict=True) if loss.uses_teacher]
    if taught:
        members = own_members(own, dataset, shared.teacher_output, device)
        teacher = load_teacher(taught[0], dataset, views, device, members=members)
        check_mixing(shared.training, losses, stored=looks_up(teacher.teacher))
        predictions = check_teacher(teacher, train, index, dataset.classes, views)
    for student, loss in zip(parts, losses, strict=True):
        take_teachers_head(student, teacher.network if teacher is not None and loss.uses_teacher else None)
    for config, loss in zip(configs, losses, strict=True):
        if config.audit is not None:
            fingerprint = None if teacher is None else teacher.fingerprint
            verdicts = read_verdicts(config.audit, data_fingerprint(dataset), len(dataset.train), fingerprint)
            loss.use_verdicts(verdicts.verdict.to(device), verdicts.label_wrong.to(device))
    return [
        RunContext(
            dataset,
            views,
            train,
            index,
            held_out,
            teacher if loss.uses_teacher else None,
            predictions if loss.uses_teacher else None,
            student,
            loss,
            config.recipe,
        )
        for config, loss, student in zip(configs, losses, parts, strict=True)
    ]


def _loss(config: RunConfig, own: OwnParts) -> DistillationLoss:
    loss = DistillationLoss(**build_recipe_parts(config.recipe))
    check_mixing(config.training, [loss], stored=config.cache is not None, audited=config.audit is not None)
    if loss.uses_teacher and not config.teachers and not own.teachers and config.cache is None:
        raise InputError(
            "the recipe needs a teacher: give --teacher RUN_FOLDER (preceptor train makes one), or --cache DIR"
        )
    return loss


def _student(config: RunConfig, dataset: Dataset, loss: DistillationLoss, own: OwnParts) -> NewStudent:
    loss.check_classes(dataset.classes)
    if own.student is not None:
        return own_student(own.student, config, dataset, abstains=loss.abstains)
    return new_student(config, dataset, abstains=loss.abstains)


def training_steps(config: RunConfig, context: RunContext) -> int:
    """Steps of the whole training."""
    return config.training.epochs * steps_in_epoch(len(context.index), config.training.batch_size)


def augmentation(config: RunConfig, dataset: Dataset) -> Augmentation:
    """The augmentation of a run.

    Raises:
        InputError: a transform that cannot take the data set's images, or a data set that makes its own views.
        MachineError: a transform needs torchvision, which cannot be imported.
    """
    if isinstance(config.augment, bool):
        unaugmented = CropFlip(padding=0, flip=False) if dataset.of_images else NoAugmentation()
        return dataset.augmentation if config.augment else unaugmented
    if isinstance(dataset.augmentation, ItemViews):
        raise InputError(
            f"augment is {config.augment!r}, but {dataset.name} makes its views by itself: give true, or false for one"
        )
    views = named_augmentation(config.augment)
    one = dataset.train.images[:1]
    views.apply(one, torch.full((len(one),), 1))  # one that cannot be applied fails before anything is written
    return views


DATA_SETTINGS = {"data", "data_root", "download", "skip_bad_images", "train_labels"}
"""The settings that a data set and its labels follow from, beside its framing."""


SPLIT_SETTINGS = {"validation", "split_seed", "folds", "fold"}
"""The settings that the held-out images follow from, beside the data."""


def data_key(config: RunConfig) -> str:
    """What tells data sets of configurations apart."""
    return f"{config.model_dump_json(include=DATA_SETTINGS)} {run_framing(config)}"


def training_data(config: RunConfig) -> Dataset:
    """The data set of a configuration, with the labels that it states."""
    dataset = load_dataset(
        config.data,
        root=config.data_root,
        download=config.download,
        framing=run_framing(config),
        skip_bad_images=config.skip_bad_images,
        most_in_memory=config.memory_limit,
    )
    return relabeled(config, dataset)


def relabeled(config: RunConfig, dataset: Dataset) -> Dataset:
    """A data set with the labels that a configuration states for its training images; the same one where it states
    none.

    Raises:
        InputError: labels that cannot be read, or that a network cannot be trained on.
    """
    if config.train_labels is None:
        return dataset
    train = dataset.train
    labels = read_labels(config.train_labels, len(train), dataset.class_names, names=train.names, own=train.labels)
    dataset = dataclasses.replace(dataset, train=dataclasses.replace(train, labels=labels))
    check_dataset(dataset)
    return dataset


def folds_of(dataset: Dataset, count: int, seed: int) -> Sequence[tuple[Tensor, Tensor]]:
    """The training images in parts, each as the indices outside it and inside; see :func:`preceptor.data.folds`.

    Copies of one image and images of one group are in one part.
    """
    train = dataset.train
    return folds(train.labels, count, seed, images=train.images, groups=train.groups)


def split(config: RunConfig, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Indices to train on and indices held out, of ``dataset.train_and_validation()``.

    Of folds, one is held out; else a data set's own validation images; else a share of the training images. Copies of
    one image and images of one group stay together. A subset is drawn from the others.
    """
    index: Tensor
    held_out: Tensor
    if config.folds is not None or config.fold is not None:
        if config.folds is None or config.fold is None:
            raise InputError(f"fold is {config.fold} and folds is {config.folds}: give both, or leave both out")
        if config.fold > config.folds:
            raise InputError(f"fold {config.fold} of {config.folds}; expected 1 to {config.folds}")
        index, held_out = folds_of(dataset, config.folds, config.split_seed)[config.fold - 1]
    elif dataset.validation is None:
        index, held_out = hold_out(
            dataset.train.labels,
            config.validation,
            config.split_seed,
            images=dataset.train.images,
            groups=dataset.train.groups,
        )
    else:
        count = len(dataset.train)
        index, held_out = torch.arange(count), torch.arange(count, count + len(dataset.validation))
    if config.train_images is None:
        return index, held_out
    if config.train_images > len(index):
        raise InputError(
            f"train_images = {config.train_images}: {dataset.name} has {len(index)} training images left after "
            f"{len(held_out)} were held out: ask for fewer, or lower validation"
        )
    return index[subset(dataset.train.labels[index], config.train_images, config.split_seed)], held_out


def settings_digest(config: Mapping[str, Any]) -> str:
    """A SHA-256 of the settings in ``run.yaml``, but for places and for what a recipe says of itself."""
    decisive = {name: value for name, value in config.items() if name not in PLACES}
    recipe = decisive.get("recipe")
    if isinstance(recipe, Mapping):
        decisive["recipe"] = {name: value for name, value in recipe.items() if name not in DESCRIPTIONS}
    return _digest([decisive, "cache" in config])


def fingerprints(context: RunContext, teacher: LoadedTeacher | None) -> dict[str, str | None]:
    """SHA-256 digests of data, test set, teacher, its normalization, audit and the weights that the student starts from
    where they are not random; None where there is no such thing."""
    test = context.dataset.test
    return {
        "data": data_fingerprint(context.dataset),
        "test": None if test is None else fingerprint({"images": test.images, "labels": test.labels}),
        "teacher": None if teacher is None else teacher.fingerprint,
        "teacher_normalization": None if teacher is None else _digest(teacher.normalization),
        "audit": fingerprint(context.loss.audited) if context.loss.audited else None,
        "start": None if context.student.origin is None else fingerprint(context.network.state_dict()),
    }


def data_fingerprint(dataset: Dataset) -> str:
    """Of the training images, those of an own validation set, and their labels."""
    images = dataset.train_and_validation()
    return fingerprint({"images": images.images, "labels": images.labels})


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
