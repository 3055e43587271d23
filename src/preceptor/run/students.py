"""The student of a run: built, its first weights taken from where the settings say, and its card."""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preceptor.data import Dataset, Normalization
from preceptor.data.dataset import Normalizer
from preceptor.data.lazy import taken
from preceptor.errors import InputError, NetworkFitted, first_line
from preceptor.metrics.logits import network_logits
from preceptor.models import ModelCard, seeded_model
from preceptor.models.network_input import NetworkInput
from preceptor.models.pretrained import network_input
from preceptor.models.simkd import SimKDStudent
from preceptor.models.sized import SizedNormalization
from preceptor.models.store import CARD_FILE, WEIGHTS_FILE, read_card
from preceptor.models.weights import load_weights
from preceptor.run.cards import note_size, size_in_words, student_card
from preceptor.run.config import RunConfig
from preceptor.teachers import NetworkTeacher
from preceptor.training.freezing import classifier_head, frozen_modules

HEAD_DEVIATION = 0.01
"""Of the weights of a new linear head on a network that is trained already."""


@dataclass(frozen=True)
class NewStudent:
    """A student before its first step.

    Attributes:
        network: with its first weights.
        card: how to use it once it is trained; None of a network from Python, which nobody else could build.
        origin: where its weights come from, in one line; None where they are random.
        normalization: of its images, or none.
        abstains: whether one more output follows the classes'.
    """

    network: nn.Module
    card: ModelCard | None
    origin: str | None
    normalization: Normalizer
    abstains: bool


def new_student(config: RunConfig, dataset: Dataset, *, abstains: bool) -> NewStudent:
    """Build the student of a configuration, and try it on two images.

    A pretrained network brings its own normalization and size, and so does a run folder that it starts from; every
    other has those of the data.

    Raises:
        InputError: an unknown architecture, weights that are not there or match nothing, a network that cannot take
            such images or has other outputs, or no module to freeze.
        MachineError: a library is missing.
    """
    if config.pretrained and config.student_weights is not None:
        raise InputError("pretrained and student_weights: both say what the student starts from: give one")
    own = _own_input(config, dataset)
    size = own.size if config.student_size is None else (config.student_size, config.student_size)
    card = student_card(config.student, config.data, dataset, abstains, normalization=own.normalization, size=size)
    network = _built(config, card)
    origin = _start(config, network, keeps_head=own.class_names is not None and len(own.class_names) == card.outputs)
    who = f"student {config.student}"
    if origin is not None:
        warnings.warn(f"{who} starts from {origin}", NetworkFitted, stacklevel=2)
    note_size(who, card.image_size, dataset)
    student = NewStudent(network, card, origin, card.normalization(), abstains)
    _try(config.student, student, dataset)
    frozen_modules(network, config.training.freeze)
    return student


def own_student(network: nn.Module, config: RunConfig, dataset: Dataset, *, abstains: bool) -> NewStudent:
    """A network from Python as student, as it is, tried on two inputs.

    Raises:
        InputError: settings that are for architectures by name, a network that cannot take the data's inputs or has
            other outputs, or no module to freeze.
    """
    by_name = ("pretrained", "student_weights", "student_size", "keep_checkpoints")
    if stated := [name for name in by_name if getattr(config, name)]:
        raise InputError(f"{', '.join(stated)}: for architectures by name, and the student is a network: leave it out")
    student = NewStudent(network, None, None, dataset.normalization, abstains)
    _try(type(network).__name__, student, dataset)
    frozen_modules(network, config.training.freeze)
    return student


def _built(config: RunConfig, card: ModelCard) -> nn.Module:
    return seeded_model(
        config.student,
        channels=card.channels,
        classes=card.outputs,
        seed=config.seed,
        weights="pretrained" if config.pretrained else "random" if config.student_weights is None else "later",
        download=config.download,
    )


def _start(config: RunConfig, network: nn.Module, *, keeps_head: bool) -> str | None:
    """Take the weights that the student starts from; where they come from, in one line, None for random ones."""
    if config.pretrained:
        if keeps_head:
            return "the library's pretrained weights"
        _renew(classifier_head(network), config.seed)
        return "the library's pretrained weights, with a new head"
    if config.student_weights is None:
        return None
    file = config.student_weights / WEIGHTS_FILE if config.student_weights.is_dir() else config.student_weights
    report = load_weights(network, file)
    head = classifier_head(network)
    if any(module is head and report.lacks(f"{name}.weight") for name, module in network.named_modules()):
        _renew(head, config.seed)
    return f"{file}: {report.line()}"


def take_teachers_head(student: NewStudent, teacher: NetworkTeacher | None) -> None:
    """Copy the teacher's classifier into a student by name that ends in it (``models.simkd``), its classes in the order
    of the data; other students stay as they are.

    Raises:
        InputError: there is no such teacher, or its classifier does not fit.
    """
    if student.card is None or not isinstance(student.network, SimKDStudent):
        return
    who = f"student {student.card.architecture}"
    if teacher is None:
        raise InputError(f"{who}: ends in its teacher's classifier: give --teacher, one network")
    head = classifier_head(teacher.network)
    if not isinstance(head, nn.Linear):
        raise InputError(
            f"{who}: ends in its teacher's classifier, which is a {type(head).__name__}; expected a linear layer: "
            "choose another teacher"
        )
    bias = None if head.bias is None else teacher.class_logits(head.bias.unsqueeze(0)).squeeze(0)
    student.network.take_head(teacher.class_logits(head.weight.T).T, bias)


def _renew(head: nn.Module, seed: int) -> None:
    """Small weights for a head in front of which all is trained: by a library's own rule those of a few classes can be
    so large that many steps go into forgetting them."""
    if isinstance(head, nn.Linear):
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(head.weight, std=HEAD_DEVIATION, generator=generator)
        if head.bias is not None:
            nn.init.zeros_(head.bias)


def _own_input(config: RunConfig, dataset: Dataset) -> NetworkInput:
    """The normalization and size that a student's first weights bring; of none where they are random."""
    start = config.student_weights
    if start is not None and start.is_dir():
        card = read_card(start / CARD_FILE)
        if card.channels != dataset.channels:
            raise InputError(
                f"{start} takes images of {card.channels} channels, {dataset.name} has {dataset.channels}: start from "
                "a network of such images"
            )
        return NetworkInput(Normalization(card.mean, card.std), card.image_size)
    if start is None and not config.pretrained:
        return NetworkInput()
    return network_input(config.student, dataset.channels, download=config.download) or NetworkInput()


def _try(name: str, student: NewStudent, dataset: Dataset) -> None:
    """Show it two inputs, so that a network that cannot take them fails before anything is written."""
    normalization, outputs = student.normalization, dataset.classes + student.abstains
    first = dataset.train.images[:1]
    kind = (
        f"inputs of shape {tuple(first.shape)} in {first.dtype}" if isinstance(first, Tensor) else f"inputs {[*first]}"
    )
    if dataset.of_images:
        size = normalization.size if isinstance(normalization, SizedNormalization) else dataset.size
        kind = f"images of {size_in_words(size)} pixels"
    try:
        logits = network_logits(student.network, normalization, taken(dataset.train.images, torch.arange(2)))
    except (RuntimeError, ValueError, AssertionError, AttributeError, TypeError, IndexError) as error:
        raise InputError(
            f"model {name!r} cannot take {kind} ({first_line(error)}): "
            + ("choose another model or size" if dataset.of_images else "bring both to one shape and type")
        ) from error
    if logits.ndim != 2 or logits.shape[1] != outputs:
        raise InputError(
            f"model {name!r} gives outputs of shape {tuple(logits.shape[1:])} an image; expected {outputs}, one a "
            f"class{' and one to abstain' if student.abstains else ''}: build it with classes= outputs"
        )
