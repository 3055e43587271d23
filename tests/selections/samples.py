"""SelectionData for tests: small, of any shape, and the same as arrays."""

from dataclasses import fields, is_dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot


def made_selection_data(
    n: int = 30,
    held_out: int = 12,
    classes: int = 3,
    dimensions: int = 2,
    *,
    has_bias: bool = True,
    checkpoints: int = 1,
    unlabeled: bool = False,
    seed: int = 0,
) -> SelectionData:
    """Samples at every other index of the training set, unsorted; the teacher is right on about two thirds."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def outputs(features: Tensor, weights: Tensor) -> ModelOutputs:
        return ModelOutputs(features @ weights, features)

    features, of_held_out, weights = drawn(n, dimensions), drawn(held_out, dimensions), drawn(dimensions, classes)
    label = (features @ weights + drawn(n, classes)).argmax(dim=1)
    return SelectionData(
        index=2 * torch.randperm(n, generator=generator),
        label=torch.where(torch.arange(n) % 5 == 2, -1, label) if unlabeled else label,
        held_out_label=(of_held_out @ weights + drawn(held_out, classes)).argmax(dim=1),
        checkpoints=tuple(
            TeacherSnapshot(0.1 / (turn + 1), outputs(features, sized), outputs(of_held_out, sized))
            for turn, sized in enumerate(weights * (turn + 1) / checkpoints for turn in range(checkpoints))
        ),
        has_bias=has_bias,
        size=2 * n,
        seed=seed,
    )


def reordered(selection_data: SelectionData, order: Tensor) -> SelectionData:
    """The training samples in another order."""
    return replace(
        selection_data,
        index=selection_data.index[order],
        label=selection_data.label[order],
        checkpoints=tuple(
            replace(
                checkpoint, train=ModelOutputs(checkpoint.train.logits[order], _at(checkpoint.train.features, order))
            )
            for checkpoint in selection_data.checkpoints
        ),
    )


def _at(values: Tensor | None, order: Tensor) -> Tensor | None:
    return None if values is None else values[order]


def without(selection_data: SelectionData, *, features: bool = False, held_out: bool = False) -> SelectionData:
    """The same selection data without its features, or without its held-out samples."""
    checkpoints = selection_data.checkpoints
    if features:
        checkpoints = tuple(replace(each, train=ModelOutputs(each.train.logits)) for each in checkpoints)
    if held_out:
        selection_data = replace(selection_data, held_out_label=None)
        checkpoints = tuple(replace(each, held_out=None) for each in checkpoints)
    return replace(selection_data, checkpoints=checkpoints)


def as_arrays(value: Any) -> Any:
    """Tensors as NumPy arrays, a dataclass as an object that holds them."""
    if is_dataclass(value):
        return SimpleNamespace(**{field.name: as_arrays(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, tuple):
        return tuple(map(as_arrays, value))
    return value.numpy() if isinstance(value, Tensor) else value
