"""Classes of a network and of the data, matched by their names."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch

from preceptor.context import UNLABELED
from preceptor.data import Dataset, ImageSet
from preceptor.errors import InputError, NetworkFitted, few

_WORDNET_ID = re.compile(r"n[0-9]{8}")


def match_classes(who: str, names: Sequence[str], dataset: Dataset) -> tuple[int, ...] | None:
    """For each class of the data the output of a teacher that has its name; None where these are the outputs in order.

    An output may have synonyms, with commas between them, as ImageNet's have ("ant, emmet, pismire"): one of them is
    enough where no output has the whole name, and no other output has that synonym. Plain numbers in order, as arrays
    have for want of names, are no names: then as many classes are taken to be the same, in order.

    Args:
        who: the teacher, for messages.
        names: of its outputs.
        dataset: what it is to teach on.

    Raises:
        InputError: a class of the data that no output has, or another number of classes without names.
    """
    wanted = dataset.class_names
    if tuple(names) == wanted:
        return None
    if set(names) != set(wanted) and (_are_numbers(names) or _are_numbers(wanted)):
        if len(names) == len(wanted):
            return None
        raise InputError(
            f"{who} has {len(names)} classes, {dataset.name} has {len(wanted)}: without names on both sides the "
            "classes must be the same, in the same order"
        )
    outputs = _outputs_by_name(names)
    if len(names) == len(wanted) and _are_wordnet_ids(wanted) and not any(name in outputs for name in wanted):
        return None
    missing = [name for name in wanted if name not in outputs]
    if missing:
        raise InputError(
            f"{who} has no class {few([repr(name) for name in missing])} of {dataset.name}; it has "
            f"{few([repr(name) for name in names])}: each class of the data must be one of the teacher's, by name"
        )
    columns = tuple(outputs[name] for name in wanted)
    first = f"{wanted[0]} is its class {columns[0]}"
    warnings.warn(
        f"{who}: its {len(names):,} classes are matched by name to the {len(wanted):,} of {dataset.name} ({first})",
        NetworkFitted,
        stacklevel=2,
    )
    return columns


def in_classes_of(who: str, names: Sequence[str], dataset: Dataset) -> Dataset:
    """A data set with its labels in the order of a student's classes, where these differ; some may be missing in it.

    Plain numbers in order are no names, as in :func:`match_classes`.

    Args:
        who: the student, for messages.
        names: of its classes.
        dataset: to measure it on.

    Raises:
        InputError: a class of the data that the student does not have, or another number of classes without names.
    """
    own = dataset.class_names
    nameless = set(names) != set(own) and (_are_numbers(names) or _are_numbers(own))
    if tuple(names) == own or (nameless and len(names) == len(own)):
        return dataset
    unknown = [name for name in own if name not in names]
    if unknown:
        raise InputError(
            f"{who} has no class {few([repr(name) for name in unknown])} of {dataset.name}; it has "
            f"{few([repr(name) for name in names])}: each class of the data must be one of the student's, by name"
        )
    place = torch.tensor([*(names.index(name) for name in own), UNLABELED])  # the last is that of -1

    def relabeled(images: ImageSet | None) -> ImageSet | None:
        return None if images is None else replace(images, labels=place[images.labels])

    train = relabeled(dataset.train)
    assert train is not None
    warnings.warn(
        f"{who}: the {len(own):,} classes of {dataset.name} are matched by name to its {len(names):,}",
        NetworkFitted,
        stacklevel=2,
    )
    return replace(
        dataset,
        class_names=tuple(names),
        train=train,
        test=relabeled(dataset.test),
        validation=relabeled(dataset.validation),
    )


def _outputs_by_name(names: Sequence[str]) -> dict[str, int]:
    """The output of each name and of each synonym that one output alone has."""
    synonyms = [{part.strip() for part in name.split(",")} for name in names]
    common = Counter(one for parts in synonyms for one in parts)
    outputs = {one: place for place, parts in enumerate(synonyms) for one in parts if common[one] == 1}
    return outputs | {name: place for place, name in enumerate(names)}


def _are_wordnet_ids(names: Sequence[str]) -> bool:
    """In their order, which is also that of the outputs of torchvision's, timm's and Hugging Face's networks."""
    return all(_WORDNET_ID.fullmatch(name) for name in names) and list(names) == sorted(names)


def _are_numbers(names: Sequence[str]) -> bool:
    return tuple(names) == tuple(str(number) for number in range(len(names)))
