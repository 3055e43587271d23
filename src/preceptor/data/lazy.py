"""Inputs that are made when they are needed, so that memory does not grow with their number."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Self

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from preceptor.data.augmentation import Augmentation

Request = tuple[Int[Tensor, " batch"], Int[Tensor, " batch"] | None]
"""Indices of a batch, and the numbers of their views; no numbers: the inputs as they are."""


class LazyInputs(ABC):
    """Inputs of a data set in place of a tensor [n, ...] of all of them.

    Like such a tensor they have a length and a device, and can be indexed by a number, a slice, a list, or a tensor of
    rows, which makes them.

    Args:
        rows: which of the source's inputs these are.
        device: that inputs are put on.
    """

    def __init__(self, rows: Int[Tensor, " n"], device: torch.device | str) -> None:
        self.rows, self.device = rows.cpu(), torch.device(device)

    @abstractmethod
    def replaced(self, rows: Int[Tensor, " n"], device: torch.device | str) -> Self:
        """Inputs of the same source."""

    @abstractmethod
    def batches(self, requests: Iterable[Request], augmentation: Augmentation | None = None) -> Iterator[Any]:
        """Batches on the device, in augmented views; what comes next is made while a batch is in use.

        Args:
            requests: indices among these inputs, and view numbers, on the CPU.
            augmentation: whose views they are.
        """

    @property
    @abstractmethod
    def shape(self) -> torch.Size:
        """[n, ...] as of a tensor; [n] of inputs that are several tensors."""

    @abstractmethod
    def digests(self) -> list[bytes]:
        """128 bits of each input, equal for copies as far as these can be known without making every input."""

    @abstractmethod
    def identity(self) -> str:
        """How they are made: part of the data's fingerprint, beside their digests."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> Any:
        """One input, or a batch of them, as they are."""
        if isinstance(index, int):
            batch = self[[index]]
            return {name: part[0] for name, part in batch.items()} if isinstance(batch, dict) else batch[0]
        rows = torch.arange(len(self))[index.cpu() if isinstance(index, Tensor) else index]
        return next(self.batches([(rows, None)]))

    def take(self, index: Int[Tensor, " k"] | list[int]) -> Self:
        """Some of them, not made yet."""
        return self.replaced(self.rows[index.cpu() if isinstance(index, Tensor) else index], self.device)

    def to(self, device: torch.device | str) -> Self:
        """The same inputs, put on another device when they are made."""
        return self.replaced(self.rows, device)

    def split(self, size: int) -> Iterator[Any]:
        """All of them as they are, ``size`` at a time."""
        return self.batches((part, None) for part in torch.arange(len(self)).split(size))


Inputs = UInt8[Tensor, "n channels height width"] | LazyInputs
"""Images in memory, or inputs that are made when they are indexed."""


def joined(first: Inputs, second: Inputs) -> Inputs:
    """The inputs of one, followed by those of the other; lazy ones are of one source."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.cat([first, second])
    assert isinstance(first, LazyInputs)
    assert isinstance(second, LazyInputs)
    return first.replaced(torch.cat([first.rows, second.rows]), first.device)


def taken(inputs: Inputs, index: Int[Tensor, " k"]) -> Inputs:
    """Some of the inputs; those of a tensor are copied, lazy ones stay lazy."""
    return inputs[index] if isinstance(inputs, Tensor) else inputs.take(index)


def views_of(
    inputs: Inputs, index: Int[Tensor, " batch"], view: Int[Tensor, " batch"], augmentation: Augmentation
) -> Any:
    """Some inputs in augmented views, on the inputs' device; index and view are on the CPU."""
    if isinstance(inputs, LazyInputs):
        return next(inputs.batches([(index, view)], augmentation))
    return augmentation.apply(inputs[index.to(inputs.device)], view.to(inputs.device))
