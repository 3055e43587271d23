"""What every measure asks of the logits, labels and numbers it is handed."""

import math
from numbers import Integral, Real
from typing import Any, TypeGuard, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.chunking import chunked
from preceptor.context import UNLABELED
from preceptor.errors import InputError

LARGEST_LOGIT = 1e30
"""Below float32's largest number by so much that differences stay finite there, and 8th powers in float64."""

WHOLE = frozenset({torch.uint8, torch.uint16, torch.uint32, torch.int8, torch.int16, torch.int32, torch.int64})
"""The types of labels; of torch's whole numbers all but uint64, whose largest would turn into -1, unlabeled."""

REAL = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64} | WHOLE) - {torch.uint16, torch.uint32}
"""The types of logits: those that torch computes with."""

_SEEDS = 2**64


def finite_number(value: Any) -> TypeGuard[float]:
    """Whether a value is one real number, neither a boolean nor infinite nor NaN nor beyond float64."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(cast(float, value))
    except OverflowError:
        return False


def whole_number(value: Any) -> TypeGuard[int]:
    """Whether a value is an integer, and no boolean."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_share(name: str, value: Any, example: float, kind: str = "number") -> None:
    """Refuse what is no number between 0 and 1.

    Args:
        name: of the number, for the message.
        value: whatever was given.
        example: of what may be given.
        kind: what the number is, for the message. Default "number".

    Raises:
        InputError: it is 0, 1, beyond them or no number.
    """
    if not (finite_number(value) and 0 < value < 1):
        raise InputError(f"{name} {value}: give a {kind} between 0 and 1, for example {example}")


def check_seed(seed: Any) -> None:
    """Refuse what no generator takes.

    Raises:
        InputError: it is no whole number from 0 to 2^64 - 1.
    """
    if not (whole_number(seed) and 0 <= seed < _SEEDS):
        raise InputError(f"seed {seed}: give a whole number from 0 to 2^64 - 1, for example 0")


def check_logits(name: str, logits: Any, dims: int = 2) -> None:
    """Refuse what is no table of numbers.

    Args:
        name: of the logits, for the message.
        logits: whatever was given.
        dims: 2 for [samples, outputs], 3 for [members, samples, outputs].

    Raises:
        InputError: anything but a dense tensor of real numbers in memory, of so many dimensions.
    """
    if not _in_memory(logits) or logits.dtype not in REAL or logits.dim() != dims:
        form = "[samples, outputs]" if dims == 2 else "[members, samples, outputs]"
        raise InputError(f"{name} {_described(logits)}: give logits as a dense tensor of real numbers, {form}")


def checked_labels(labels: Any, rows: int, of: str = "logits") -> Int[Tensor, " rows"]:
    """The labels as int64.

    Args:
        labels: whatever was given.
        rows: how many there must be.
        of: what the rows are, for the message.

    Raises:
        InputError: anything but a one-dimensional tensor of whole numbers, one for each row.
    """
    if not _in_memory(labels) or labels.dtype not in WHOLE or labels.dim() != 1:
        raise InputError(
            f"labels {_described(labels)}: give class numbers as a one-dimensional tensor of whole numbers, "
            "for example int64"
        )
    if len(labels) != rows:
        raise InputError(f"{rows} rows of {of} but {len(labels)} labels: give one label for each row")
    numbers: Tensor = labels.long()
    return numbers


def check_known(labels: Int[Tensor, " n"], classes: int) -> None:
    """Refuse labels that are no class, the unlabeled among them.

    Raises:
        InputError: a label out of range; its position is named, counted from 0.
    """
    _check_range(labels, 0, classes, f"0 to {classes - 1}, every label known")


def check_finite(logits: Float[Tensor, "*members n outputs"], whose: str = "its") -> None:
    """Refuse logits that are not finite, or so large that what is computed from them is not.

    Raises:
        InputError: the position of the first sample is named, counted from 0.
    """
    usable = _within(logits)
    if usable.all():
        return
    first = int((~usable).nonzero()[0])
    own = logits.select(-2, first)
    cure = "the model has diverged: train it again at a lower learning rate"
    if own.isfinite().all():
        most = float(own.double().abs().max())
        limit = f"at most {LARGEST_LOGIT:g} can be measured"
        raise InputError(f"sample {first}: {whose} logits reach {most:g}, {limit}, {cure}")
    raise InputError(f"sample {first}: {whose} logits are not all finite, {cure}")


def checked_outputs(outputs: Any, labels: Any, abstains: bool = False) -> Int[Tensor, " n"]:
    """The labels as int64, of outputs that something can be measured on.

    Args:
        outputs: logits of the classes, and last the reservation of one that may abstain.
        labels: class numbers, or -1 for unlabeled.
        abstains: whether there is a reservation.

    Raises:
        InputError: as :func:`preceptor.metrics.evaluate`.
    """
    classes = class_count(outputs, abstains)
    known = checked_labels(labels, len(outputs))
    _check_range(known, UNLABELED, classes, f"0 to {classes - 1}, or -1 for unlabeled, with {classes} classes")
    check_finite(outputs)
    if not (known != UNLABELED).any():
        raise InputError(f"no labeled sample among {len(known)}: there is nothing to measure accuracy on")
    return known


def class_count(outputs: Any, abstains: bool = False) -> int:
    """Number of real classes.

    Raises:
        InputError: as `check_logits`, or there is no class.
    """
    check_logits("outputs", outputs)
    classes: int = outputs.shape[1] - abstains
    if classes < 1:
        besides = " besides the reservation" if abstains else ""
        raise InputError(f"outputs of shape {list(outputs.shape)}: give logits of at least one class{besides}")
    return classes


def _in_memory(value: Any) -> bool:
    """Whether it is a dense tensor that holds values."""
    if not isinstance(value, Tensor) or value.is_nested or value.is_meta:
        return False
    return bool(value.layout == torch.strided)


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"are of type {type(value).__name__}"
    if value.is_nested:
        return "are a nested tensor"
    held = " without values (meta)" if value.is_meta else ""
    layout = "" if value.layout == torch.strided else f" in the layout {value.layout}"
    return f"are of {value.dtype} with shape {list(value.shape)}{layout}{held}"


def _check_range(labels: Tensor, least: int, classes: int, allowed: str) -> None:
    astray = (labels < least) | (labels >= classes)
    if astray.any():
        first = int(astray.nonzero()[0])
        raise InputError(f"sample {first}: label {int(labels[first])} is out of range: {allowed}")


@chunked
def _within(logits: Float[Tensor, "*members n outputs"]) -> Bool[Tensor, " n"]:
    """Whether all logits of a sample are in reach; those that are NaN are not."""
    largest = logits.abs().amax(dim=-1).double()
    usable: Tensor = (largest if largest.dim() == 1 else largest.amax(dim=0)) <= LARGEST_LOGIT
    return usable
