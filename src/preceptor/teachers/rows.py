"""Checks of logits and probabilities that come from outside, and their conversion to logits."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from numpy import ndarray
from torch import Tensor

from preceptor.errors import InputError, unknown_name

OutputKind = Literal["logits", "probabilities"]
"""The meaning of a row's numbers. It is never guessed."""

SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may be from 1 in sum: the rounding of 1,000 classes in float16."""

_SMALLEST = torch.finfo(torch.float32).tiny


def check_output_kind(output_kind: str) -> None:
    """Refuse what is not one of ``OutputKind``.

    Raises:
        InputError: an unknown kind.
    """
    if output_kind not in get_args(OutputKind):
        raise unknown_name("kind of output", output_kind, get_args(OutputKind))


def check_rows(rows: Shaped[ndarray, "n classes"], output_kind: OutputKind, name: Callable[[int], str]) -> None:
    """Refuse numbers that cannot be a teacher's outputs.

    Args:
        rows: real numbers.
        output_kind: of the numbers.
        name: how an error calls a row of ``rows``, by its number; includes the file.

    Raises:
        InputError: a value that is not finite in float32; a negative probability; probabilities whose sum is further
            than ``SUM_TOLERANCE`` from 1. The first such row is named.
    """
    with np.errstate(over="ignore"):
        infinite = ~np.isfinite(rows.astype(np.float32))
    _refuse(infinite, rows, name, "finite numbers")
    if output_kind == "probabilities":
        _refuse(rows < 0, rows, name, "probabilities, which are at least 0: if these are logits, give them as logits")
        _check_sums(rows, name)


def as_logits(rows: Shaped[ndarray, "n classes"], output_kind: OutputKind) -> Float[Tensor, "n classes"]:
    """Float32 logits on the CPU, in their own memory: a copy, or the logarithms of probabilities.

    A probability below the smallest normal float32 (1.2e-38) counts as that one: logits are finite.
    """
    values = torch.from_numpy(rows.astype(np.float32))
    return values.clamp_min(_SMALLEST).log() if output_kind == "probabilities" else values


def _refuse(
    bad: Bool[ndarray, "n classes"], rows: Shaped[ndarray, "n classes"], name: Callable[[int], str], expected: str
) -> None:
    if bad.any():
        row, column = (int(number) for number in np.argwhere(bad)[0])
        raise InputError(f"{name(row)}: {float(rows[row, column]):.6g} for class {column}: expected {expected}")


def _check_sums(rows: Shaped[ndarray, "n classes"], name: Callable[[int], str]) -> None:
    sums = rows.sum(axis=1, dtype=np.float64)
    bad = np.abs(sums - 1) > SUM_TOLERANCE
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"{name(row)}: sums to {float(sums[row]):.6g}: expected probabilities, which sum to 1 within "
            f"{SUM_TOLERANCE:g}: if these are logits, give them as logits"
        )
