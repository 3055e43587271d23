"""One run: check everything, train, measure, and leave a folder behind."""

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor import __version__
from preceptor.chain import Chain
from preceptor.data import Dataset, ImageSet, Normalisation, ViewRule, check_dataset, hold_out, load_dataset, subset
from preceptor.data.labels import read_labels
from preceptor.errors import EnvironmentProblem, InputError
from preceptor.evaluation import Metrics, evaluate
from preceptor.evaluation.logits import network_logits
from preceptor.models import ModelCard, build_model, load_student, save_student
from preceptor.recipes import build_chain_parts
from preceptor.runs.config import RunConfig
from preceptor.runs.folder import RunFolder, check_free, fingerprint, versions
from preceptor.teachers import LiveTeacher, TeacherCheck, check_teacher
from preceptor.training import Pupil, Watcher, fit


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        folder: where it lies.
        teacher: what the look at the teacher found; None without one.
        validation: on the held-out training images, after the last epoch; None when none were held out.
        test: on the test set, looked at once after the last epoch; None when the data has none.
        training_images: how many were trained on.
    """

    folder: Path
    teacher: TeacherCheck | None
    validation: Metrics | None
    test: Metrics | None
    training_images: int


@dataclass(frozen=True)
class _Material:
    """Everything a run needs, checked and on its device."""

    dataset: Dataset
    train: ImageSet
    positions: Tensor
    held_out: Tensor
    teacher: LiveTeacher | None
    teacher_fingerprint: str | None
    student: nn.Module
    chain: Chain


def run(config: RunConfig, out: Path, watcher: Watcher | None = None) -> RunResult:
    """Train a student as configured and write its folder.

    Everything that can be checked is checked before the folder is made; the student is the one after the last
    epoch; the test set is looked at once, at the end.

    Raises:
        InputError: anything wrong with the configuration, the data, the teacher or the folder.
        EnvironmentProblem: no such device, or the folder cannot be written.
    """
    device = choose_device(config.device)
    check_free(out)
    with deterministic():
        material = _prepare(config, device)
        checked = _look_at_teacher(material)
        folder = RunFolder(out)
        folder.write_config(config.model_dump(mode="json", exclude_none=True), _record(material, device))
        _train(config, material, folder, watcher)
        validation = _measure(material, material.train, material.held_out)
        test = None if material.dataset.test is None else _measure(material, material.dataset.test, None)
    result = RunResult(out, checked, validation, test, len(material.positions))
    folder.append({"event": "end", **_plain(dataclasses.replace(result, folder=Path(out.name)))})
    save_student(out, material.student, _card(config, material.dataset))
    return result


def choose_device(name: str) -> torch.device:
    """The device asked for; "auto" takes CUDA where there is one.

    Raises:
        EnvironmentProblem: CUDA was asked for and is not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise EnvironmentProblem("device cuda: torch finds no CUDA device: use --device cpu, or a CUDA build of torch")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@contextmanager
def deterministic() -> Iterator[None]:
    """Within it torch keeps to algorithms that give the same bits each time, and says so when it cannot."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA asks for; read at the first matmul
    mode, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.backends.cudnn.benchmark = benchmark


def seeded_model(name: str, dataset: Dataset, seed: int) -> nn.Module:
    """An architecture for a data set with weights drawn from a seed; the caller's generator goes on untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(name, channels=dataset.channels, classes=dataset.classes)


def load_teacher(folder: Path, device: torch.device) -> tuple[LiveTeacher, ModelCard, str]:
    """The teacher in a run folder, its card and the fingerprint of its weights.

    Raises:
        InputError: the folder holds no whole student.
    """
    network, card = load_student(folder)
    weights = fingerprint(network.state_dict())
    return LiveTeacher(network, Normalisation(card.mean, card.std), device), card, weights


def _prepare(config: RunConfig, device: torch.device) -> _Material:
    chain = Chain(**build_chain_parts(config.recipe))
    if chain.needs_teacher and config.teacher is None:
        raise InputError("the recipe needs a teacher: give --teacher RUN_FOLDER (preceptor train makes one)")
    dataset = _dataset(config)
    teacher, weights = None, None
    if config.teacher is not None and chain.needs_teacher:
        teacher, card, weights = load_teacher(config.teacher, device)
        check_card(f"teacher {config.teacher}", card, dataset)
    positions, held_out = _split(config, dataset)
    train = ImageSet(dataset.train.images.to(device), dataset.train.labels.to(device))
    student = seeded_model(config.student, dataset, config.seed)
    return _Material(dataset, train, positions, held_out, teacher, weights, student, chain)


def _dataset(config: RunConfig) -> Dataset:
    dataset = load_dataset(config.data, root=config.data_root, download=config.download, image_size=config.image_size)
    if config.train_labels is not None:
        labels = read_labels(config.train_labels, len(dataset.train))
        dataset = dataclasses.replace(dataset, train=ImageSet(dataset.train.images, labels))
    check_dataset(dataset)
    return dataset


def check_card(who: str, card: ModelCard, dataset: Dataset) -> None:
    """Make sure that a network fits a data set: channels, number of classes, and their names in order.

    Raises:
        InputError: it does not; both sides are named.
    """
    if card.channels != dataset.channels:
        raise InputError(
            f"{who} wants images of {card.channels} channels, {dataset.name} has {dataset.channels}: "
            "give images of the kind it was trained on"
        )
    if card.classes != dataset.classes:
        raise InputError(
            f"{who} has {card.classes} classes, {dataset.name} has {dataset.classes}: "
            "the classes must be the same, in the same order"
        )
    if card.class_names != dataset.class_names:
        first = next(n for n, (a, b) in enumerate(zip(card.class_names, dataset.class_names, strict=True)) if a != b)
        raise InputError(
            f"{who} has class {first} = {card.class_names[first]!r}, {dataset.name} has "
            f"{dataset.class_names[first]!r}: the classes must be the same, in the same order"
        )


def _split(config: RunConfig, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Positions to train on and positions held out; a subset is drawn from the former."""
    positions, held_out = hold_out(dataset.train.labels, config.validation, config.seed)
    if config.train_images is None:
        return positions, held_out
    if config.train_images > len(positions):
        raise InputError(
            f"train_images = {config.train_images}: {dataset.name} has {len(positions)} training images left after "
            f"{len(held_out)} were held out: ask for fewer, or lower validation"
        )
    return positions[subset(dataset.train.labels[positions], config.train_images, config.seed)], held_out


def _look_at_teacher(material: _Material) -> TeacherCheck | None:
    if material.teacher is None:
        return None
    images = material.train.images[material.positions.to(material.train.images.device)]
    labels = material.train.labels[material.positions.to(material.train.labels.device)]
    return check_teacher(material.teacher, images, labels, material.dataset.classes)


def _train(config: RunConfig, material: _Material, folder: RunFolder, watcher: Watcher | None) -> None:
    rule = material.dataset.view_rule if config.augment else ViewRule(padding=0, flip=False)
    epochs = fit(
        [Pupil("student", material.student, material.chain)],
        material.train,
        material.positions,
        rule,
        material.dataset.normalisation,
        config.protocol,
        teacher=material.teacher,
        seed=config.seed,
        precision=config.precision,
        watcher=watcher,
    )
    for (record,) in epochs:
        held_out = _measure(material, material.train, material.held_out)
        entry = {"event": "epoch", **_plain(record)}
        if held_out is not None:
            entry["validation_accuracy"] = held_out.accuracy
        folder.append(entry)


def _measure(material: _Material, images: ImageSet, positions: Tensor | None) -> Metrics | None:
    """Metrics on a split, or on some positions of it; None when there are no labelled images to measure on."""
    chosen = images if positions is None else images.take(positions.to(images.images.device))
    labels = chosen.labels.cpu()
    if not bool((labels >= 0).any()):
        return None
    on_device = chosen.images.to(material.train.images.device)
    logits = network_logits(material.student, material.dataset.normalisation, on_device)
    return evaluate(logits[:, : material.dataset.classes], labels)


def _record(material: _Material, device: torch.device) -> dict[str, Any]:
    train = material.dataset.train
    return {
        "versions": versions(),
        "device": str(device),
        "training_images": len(material.positions),
        "held_out_images": len(material.held_out),
        "fingerprints": {
            "data": fingerprint({"images": train.images, "labels": train.labels}),
            "teacher": material.teacher_fingerprint,
        },
    }


def _card(config: RunConfig, dataset: Dataset) -> ModelCard:
    return ModelCard(
        architecture=config.student,
        channels=dataset.channels,
        classes=dataset.classes,
        class_names=dataset.class_names,
        image_size=dataset.size,
        mean=dataset.normalisation.mean,
        std=dataset.normalisation.std,
        data=config.data,
        preceptor=__version__,
    )


def _plain(thing: Any) -> dict[str, Any]:
    """A dataclass as JSON-ready values."""
    plain = dataclasses.asdict(thing)
    return {key: str(value) if isinstance(value, Path) else value for key, value in plain.items()}
