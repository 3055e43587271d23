"""A data set from Python objects: arrays, tensors, a ``torch.utils.data.Dataset``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from preceptor.data.arrays import as_labels, check_images
from preceptor.data.augmentation import Augmentation, NoAugmentation, default_augmentation
from preceptor.data.dataset import (
    Dataset,
    ImageSet,
    NoNormalization,
    Normalization,
    Normalizer,
    check_dataset,
)
from preceptor.data.hugging_face import holds_images, own_listing
from preceptor.data.images import AS_THEY_ARE, Framing
from preceptor.data.items import MANY_VIEWS, ItemInputs, ItemViews, check_items, classes_of, labels_of
from preceptor.data.load import as_dataset, class_numbers
from preceptor.data.reading import read_images
from preceptor.errors import InputError

Pixels = Normalization | Literal["measured"] | None
"""How uint8 images are normalized: mean and deviation, those of the training images, or not at all."""


def own_dataset(
    train: Any,
    *,
    validation: Any = None,
    test: Any = None,
    class_names: Sequence[str] | None = None,
    normalization: Pixels | Literal["unknown"] = "unknown",
    views: int | None = None,
    workers: int = 0,
    framing: Framing = AS_THEY_ARE,
) -> Dataset:
    """A data set of inputs and labels in Python.

    Args:
        train: (inputs, labels), or a map-style Dataset of (input, label) or of mappings with a label; one of the
            library ``datasets`` with a column of images is read as files of photographs are. Inputs are one
            tensor or array [n, ...]. A NumPy array of uint8 is one of images, [n, height, width] or [n, height, width,
            channels]; a tensor of uint8 is too, [n, channels, height, width]. Everything else goes to the networks as
            it is, but arrays of float64 as float32.
        validation, test: the same, or None.
        class_names: in the order of the labels. Default what the Dataset's attribute ``classes`` says, else numbers.
        normalization: of uint8 images; "measured" is by mean and deviation of the training images, None leaves it to
            the networks. Inputs of other kinds take none.
        views: number of random versions of an item that a Dataset makes; 1 where its items are always the same.
            Default 2^31: it may draw random numbers.
        workers: processes that make a Dataset's items. Default 0: none.
        framing: how images of a Hugging Face data set are brought to one size.

    Raises:
        InputError: no such inputs or labels; uint8 images whose normalization is not stated.
    """
    contents = {"train": train, "validation": validation, "test": test}
    if holds_images(train):
        dataset = hub_images(contents, framing)
        check_dataset(dataset)
        return normalized(dataset, normalization)
    sets = {name: None if content is None else _set(content, name, workers) for name, content in contents.items()}
    first = sets["train"]
    assert first is not None
    inputs = first.images
    names = tuple(map(str, class_names or classes_of(train) or class_numbers(first.labels)))
    augmentation: Augmentation = NoAugmentation()
    stated: Normalizer = NoNormalization()
    if isinstance(inputs, ItemInputs):
        augmentation = ItemViews(MANY_VIEWS if views is None else views)
    elif isinstance(inputs, Tensor) and inputs.dtype == torch.uint8 and inputs.dim() == 4:
        augmentation = default_augmentation(*inputs.shape[2:])
        stated = _normalization(normalization, inputs)
    elif isinstance(normalization, Normalization) or normalization == "measured":
        raise InputError("normalization is for images in uint8, and these inputs are of another kind: leave it out")
    dataset = Dataset(
        name=f"python:{type(train).__qualname__}",
        class_names=names,
        train=first,
        test=sets["test"],
        normalization=stated,
        augmentation=augmentation,
        validation=sets["validation"],
    )
    check_dataset(dataset)
    return dataset


def own_samples(
    content: Any, normalization: Pixels | Literal["unknown"], workers: int = 0
) -> tuple[ImageSet, Normalizer | None]:
    """Samples to measure on, of which some classes may be missing, and how uint8 images among them are normalized.

    The normalization is None where it is not stated and cannot be measured: these images may be few.

    Raises:
        InputError: as by :func:`own_dataset`.
    """
    samples = _set(content, "data", workers)
    if not isinstance(samples.images, Tensor) or samples.images.dtype != torch.uint8:
        return samples, NoNormalization()
    if isinstance(normalization, Normalization):
        return samples, normalization
    return samples, NoNormalization() if normalization is None else None


def hub_images(contents: Mapping[str, Any], framing: Framing) -> Dataset:
    """Sets of the library ``datasets`` with images, by name; some classes may be missing.

    Raises:
        InputError: images or labels that cannot be used.
    """
    sets = {name: content for name, content in contents.items() if content is not None}
    return replace(as_dataset(read_images(own_listing(sets), framing), "python:datasets"), framing=framing)


def normalized(dataset: Dataset, normalization: Pixels | Literal["unknown"]) -> Dataset:
    """Image files for networks that do not state how they are normalized.

    Raises:
        InputError: it is unknown.
    """
    if normalization == "unknown":
        raise not_stated()
    if normalization == "measured":
        return dataset
    return replace(dataset, normalization=NoNormalization() if normalization is None else normalization)


def not_stated() -> InputError:
    """Of uint8 images whose normalization only the user knows."""
    return InputError(
        "normalization: these are images in uint8, and whether the network normalizes them itself cannot be known: "
        'give normalization="measured", Normalization(mean, std) of pixels in [0, 1], or None where it does'
    )


def _normalization(stated: Pixels | Literal["unknown"], images: Tensor) -> Normalizer:
    if stated == "unknown":
        raise not_stated()
    if stated == "measured":
        return Normalization.from_images(images)
    return NoNormalization() if stated is None else stated


def _set(content: Any, name: str, workers: int) -> ImageSet:
    if isinstance(content, TensorDataset) and len(content.tensors) == 2:
        content = content.tensors
    if isinstance(content, tuple | list) and len(content) == 2 and all(_is_array(part) for part in content):
        inputs, labels = content
        if len(inputs) == 0:
            raise InputError(f"{name}: holds no item")
        if len(inputs) != len(labels):
            raise InputError(f"{name}: {len(inputs)} inputs and {len(labels)} labels: give one label an input")
        return ImageSet(_inputs(inputs, name), as_labels(f"{name}: labels", np.asarray(labels)))
    check_items(content, name)
    return ImageSet(ItemInputs(content, name, workers), labels_of(content, name))


def _inputs(inputs: Any, name: str) -> Tensor:
    if isinstance(inputs, Tensor):
        return inputs
    array = np.asarray(inputs)
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        # NumPy counts in float64 unless it is told otherwise, and networks in float32.
        return torch.from_numpy(np.ascontiguousarray(array, np.float32 if array.dtype == np.float64 else None))
    check_images(Path(name), "inputs", array.dtype, array.shape)
    images = torch.from_numpy(np.ascontiguousarray(array))
    return images[:, None] if array.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()


def _is_array(part: Any) -> bool:
    if isinstance(part, Tensor | np.ndarray):
        return part.ndim > 0
    return isinstance(part, Sequence) and not isinstance(part, str | Mapping) and not _is_item(part)


def _is_item(part: Any) -> bool:
    """Whether it looks like (input, label) rather than like a list of numbers."""
    return len(part) > 0 and not isinstance(part[0], int | float | np.generic)
