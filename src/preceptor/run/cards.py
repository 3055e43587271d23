"""Model cards and data sets: the card of a network to be trained, and whether an existing one fits the data."""

import warnings
from dataclasses import replace
from typing import Any

from preceptor import __version__
from preceptor.data import Dataset, Normalization, load_dataset
from preceptor.data.dataset import Normalizer
from preceptor.data.images import AS_THEY_ARE, Framing
from preceptor.data.load import holds_encoded_images
from preceptor.errors import InputError, NetworkFitted
from preceptor.models import ModelCard
from preceptor.run.class_names import in_classes_of


def load_for_student(who: str, card: ModelCard, spec: str, image_size: int | None = None, **options: Any) -> Dataset:
    """A data set to measure a student on, called ``who``: images as it sees them, labels in the order of its classes.

    Args:
        who: the student, for messages.
        card: of the student.
        spec: the data set.
        image_size: None brings encoded images to the student's training size.
        options: of :func:`~preceptor.data.load_dataset`; a ``framing`` is taken in place of the card's.

    Raises:
        InputError: no such data, another number of channels, or a class that the student does not have.
    """
    options = {"framing": card_framing(card, spec, image_size), **options}
    return fitted(who, card, load_dataset(spec, **options))


def fitted(who: str, card: ModelCard, dataset: Dataset) -> Dataset:
    """A data set to measure a student on, called ``who``, its labels in the order of the student's classes.

    Raises:
        InputError: another number of channels, or a class that the student does not have.
    """
    check_channels(who, card, dataset)
    return in_classes_of(who, card.class_names, dataset)


def check_channels(who: str, card: ModelCard, dataset: Dataset) -> None:
    """Refuse a network, called ``who``, of images with another number of channels; tell of images that are resized."""
    if card.channels != dataset.channels:
        raise InputError(
            f"{who} takes images of {card.channels} channels, {dataset.name} has {dataset.channels}: "
            "give images of the kind it was trained on"
        )
    note_size(who, card.image_size, dataset)


def note_size(who: str, size: tuple[int, int], dataset: Dataset) -> None:
    """Tell the user, in one line, that a network sees images of another size than the data's."""
    if size != dataset.size:
        warnings.warn(
            f"{who} sees images of {size_in_words(size)} pixels: those of {dataset.name}, of "
            f"{size_in_words(dataset.size)}, are resized for it",
            NetworkFitted,
            stacklevel=2,
        )


def student_card(
    architecture: str,
    data: str,
    dataset: Dataset,
    abstains: bool = False,
    *,
    normalization: Normalizer | None = None,
    size: tuple[int, int] | None = None,
) -> ModelCard:
    """The card of a network trained on a data set, in its own normalization and size or, without one, the data's.

    Raises:
        InputError: there is no normalization.
    """
    normalization = normalization or dataset.normalization
    if not isinstance(normalization, Normalization):
        raise InputError(
            f"student {architecture}: an architecture by name does not normalize its images, and for {dataset.name} no "
            'normalization is stated: give images in uint8 and normalization="measured" (with '
            "teacher_normalization=None for a teacher that normalizes them itself), or the network in place of its name"
        )
    return ModelCard(
        architecture=architecture,
        channels=dataset.channels,
        classes=dataset.classes,
        class_names=dataset.class_names,
        image_size=size or dataset.size,
        mean=normalization.mean,
        std=normalization.std,
        data=data,
        preceptor=__version__,
        abstains=abstains,
        interpolation=dataset.framing.interpolation,
        crop=dataset.framing.crop,
        exif=dataset.framing.exif,
    )


def card_framing(card: ModelCard, spec: str, stated: int | None) -> Framing:
    """How the images of a data set are brought to what a student sees: encoded ones as on its card, but for a stated
    size."""
    own = card.framing() if holds_encoded_images(spec) else AS_THEY_ARE
    return own if stated is None else replace(own, size=stated)


def size_in_words(size: tuple[int, int]) -> str:
    """Height and width in pixels, for a message."""
    return f"{size[0]}x{size[1]}"
