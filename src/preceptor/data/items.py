"""A ``torch.utils.data.Dataset`` of one's own, its items made by number in views that are numbered too."""

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import LongTensor, Tensor
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from preceptor.data.augmentation import Augmentation, sample_views
from preceptor.data.lazy import LazyInputs, Request
from preceptor.errors import InputError, first_line

LABELS = ("label", "labels", "target")
"""Names that the label of an item may have, where items are mappings."""


MANY_VIEWS = 2**31
"""Views of an item whose data set draws random numbers: hardly one comes twice."""


@dataclass(frozen=True)
class ItemViews:
    """As many views of an item as its data set makes by random numbers: a view's number seeds them.

    Args:
        count: how many; 1 where items are always the same.
    """

    count: int
    identity: int = 0

    def draw(self, seed: int, epoch: int, index: Int[Tensor, " batch"]) -> LongTensor:
        return sample_views(seed, epoch, index, self.count)

    def apply(self, inputs: Any, views: Int[Tensor, " batch"]) -> Any:
        return inputs  # made in their views already


class ItemInputs(LazyInputs):
    """The inputs of a data set's items, collated to batches.

    Before an item is made, the generators of Python, NumPy and torch are seeded from the item's position and the number
    of its view, so that a view is the same whenever and in whatever process it is made.

    Args:
        dataset: with ``len`` and items (input, label) or mappings with one of ``LABELS``; an input is a tensor, an
            array, a number, or a mapping of these.
        name: tells it from others of its kind and length.
        workers: processes that make items; 0 is this one.
        rows: which of its items; None is all.
        device: that batches are put on.
    """

    def __init__(
        self,
        dataset: Any,
        name: str,
        workers: int = 0,
        rows: Int[Tensor, " n"] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(torch.arange(len(dataset)) if rows is None else rows, device)
        self.dataset, self.name, self.workers = dataset, name, workers

    def replaced(self, rows: Int[Tensor, " n"], device: torch.device | str) -> "ItemInputs":
        return ItemInputs(self.dataset, self.name, self.workers, rows, device)

    @property
    def shape(self) -> torch.Size:
        first = self[[0]]
        return torch.Size([len(self), *first.shape[1:]]) if isinstance(first, Tensor) else torch.Size([len(self)])

    def batches(self, requests: Iterable[Request], augmentation: Augmentation | None = None) -> Iterator[Any]:
        requested = [
            [(position, number) for position, number in zip(self.rows[index].tolist(), numbers, strict=True)]
            for index, view in requests
            for numbers in [[0] * len(index) if view is None else view.tolist()]
        ]
        # A single batch is made at once: processes would cost more.
        workers = self.workers if len(requested) > 1 else 0
        loader: DataLoader[Any] = DataLoader(
            _Views(self.dataset),
            batch_sampler=requested,
            num_workers=workers,
            collate_fn=self._collated,
            generator=torch.Generator(),  # else it would draw from torch's own
        )
        batches = iter(loader)
        while True:
            try:
                batch = next(batches, None)
            except InputError as error:  # from another process it comes with the story of where it was raised
                raise InputError(str(error).strip().rpartition("\n")[2].rpartition("InputError: ")[2]) from error
            if batch is None:
                return
            yield _moved(batch, self.device)

    def digests(self) -> list[bytes]:
        """By name and position: no two items are taken for copies of each other."""
        start = hashlib.blake2b(f"{self.identity()} {len(self.dataset)}".encode(), digest_size=8).digest()
        return [start + position.to_bytes(8, "big") for position in self.rows.tolist()]

    def identity(self) -> str:
        return f"{self.name}: {type(self.dataset).__qualname__}"

    def _collated(self, items: list[Any]) -> Any:
        try:
            return default_collate(items)
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"{self.name}: its inputs cannot be put into one batch ({first_line(error)}): bring them to one shape, "
                "and images to tensors"
            ) from error


class _Views(Dataset[Any]):
    """Items by position and view."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __getitem__(self, key: tuple[int, int]) -> Any:
        position, view = key
        try:
            with _seeded(position, view):
                return input_of(self._dataset[position])
        except Exception as error:  # whatever the user's own code raises
            raise InputError(f"item {position} cannot be made: {type(error).__name__}: {first_line(error)}") from error


def input_of(item: Any) -> Any:
    """The input of an item."""
    if isinstance(item, Mapping):
        return {name: value for name, value in item.items() if name not in LABELS}
    return item[0]


def label_of(item: Any) -> int:
    """The label of an item."""
    if isinstance(item, Mapping):
        return int(next(item[name] for name in LABELS if name in item))
    return int(item[1])


def check_items(dataset: Any, name: str) -> None:
    """Make sure that a data set has a length and items with an input and a label.

    Raises:
        InputError: it has not; the message says what was expected.
    """
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise InputError(
            f"{name}: a {type(dataset).__name__} has no length and no items by number: expected a map-style Dataset of "
            "(input, label), (inputs, labels) as arrays, or the name of a data set"
        )
    if len(dataset) == 0:
        raise InputError(f"{name}: holds no item")
    item = dataset[0]
    if isinstance(item, Mapping):
        if not any(key in item for key in LABELS):
            raise InputError(f"{name}: an item has {', '.join(map(str, item))}, and none of {', '.join(LABELS)}")
    elif not isinstance(item, Sequence) or len(item) != 2:
        raise InputError(f"{name}: an item is a {type(item).__name__}; expected (input, label) or a mapping")


def classes_of(dataset: Any) -> tuple[str, ...]:
    """The names in a data set's ``classes``; none where it has no such attribute."""
    if isinstance(dataset, Subset):
        return classes_of(dataset.dataset)
    return tuple(map(str, getattr(dataset, "classes", None) or ()))


def labels_of(dataset: Any, name: str) -> Int[Tensor, " n"]:
    """The labels of all items: its ``targets`` or ``labels`` where it has them, else those of the items, one by one.

    Raises:
        InputError: one that is no class number.
    """
    if isinstance(dataset, Subset):
        return labels_of(dataset.dataset, name)[torch.as_tensor(dataset.indices, dtype=torch.int64)]
    for attribute in ("targets", "labels"):
        stated = getattr(dataset, attribute, None)
        if stated is not None and not callable(stated) and len(stated) == len(dataset):
            return torch.as_tensor(np.asarray(stated)).long()
    labels = torch.empty(len(dataset), dtype=torch.int64)
    for position in range(len(dataset)):
        try:
            labels[position] = label_of(dataset[position])
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{name}: the label of item {position} is no class number ({first_line(error)}): number the classes "
                "from 0, one an item"
            ) from error
    return labels


@contextmanager
def _seeded(position: int, view: int) -> Iterator[None]:
    """Generators seeded from these two, and left as they were."""
    seed = (position * 1_000_003 + view) % 2**63
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 # transforms draw from it
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


def _moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Mapping):
        return {name: _moved(part, device) for name, part in batch.items()}
    if not isinstance(batch, Tensor):
        raise InputError(
            f"an input is a batch of {type(batch).__name__}, as of texts or pairs; expected tensors: turn each item "
            "into a tensor, or a mapping of tensors by the names of the network's arguments"
        )
    return batch.to(device, non_blocking=True)
