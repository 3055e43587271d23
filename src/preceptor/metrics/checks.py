"""Checks of logits, labels, confidences and numbers, shared by all metrics."""

import inspect
import math
from collections.abc import Callable
from functools import wraps
from numbers import Integral, Real
from operator import ge, gt, le, lt
from typing import Any, Literal, ParamSpec

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.chunking import chunked
from preceptor.context import UNLABELED
from preceptor.errors import InputError

LARGEST_LOGIT = 1e30
"""Low enough that differences stay finite in float32, and 8th powers in float64."""

INTEGERS = frozenset({torch.uint8, torch.uint16, torch.uint32, torch.int8, torch.int16, torch.int32, torch.int64})
"""Types of labels; without uint64, whose largest number would turn into -1, unlabeled."""

REALS = {torch.float16, torch.bfloat16, torch.float32, torch.float64} | INTEGERS - {torch.uint16, torch.uint32}
"""Types of logits: those that torch computes with."""

Known = Literal["any", "some", "all"]
"""Which labels must be known: any number of them, at least one, or all."""

P = ParamSpec("P")


def check_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    whole: bool = False,
    example: float,
) -> None:
    """Refuse anything but a finite number (a boolean is none), or an integer where whole, within the bounds.

    Raises:
        InputError: it is no such number; the message has its name and an example of one that is allowed.
    """
    bounds = [("above", above, gt), ("at least", at_least, ge), ("below", below, lt), ("at most", at_most, le)]
    stated = [(relation, bound, holds) for relation, bound, holds in bounds if bound is not None]
    fits = not isinstance(value, bool) and isinstance(value, Integral if whole else Real) and _is_finite(value)
    if not (fits and all(holds(value, bound) for _, bound, holds in stated)):
        kind, limits = "whole number" if whole else "number", [f"{relation} {bound:,}" for relation, bound, _ in stated]
        raise InputError(f"{name} is {value!r}; expected a {kind} {' and '.join(limits)}, for example {example:g}")


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond float64
        return False


def check_seed(seed: Any) -> None:
    """Refuse anything but a seed of `torch.Generator`, 0 to 2^64 - 1."""
    check_number("seed", seed, at_least=0, below=2**64, whole=True, example=0)


def check_logits(logits: Any, name: str = "logits", *, like: Tensor | None = None) -> None:
    """Refuse anything but a dense table of real numbers, [samples, classes].

    Raises:
        InputError: another type or number of dimensions, no class, or another shape than `like`.
    """
    if not _in_memory(logits) or logits.dtype not in REALS or logits.dim() != 2:
        raise InputError(f"{name}: {_description(logits)}; expected a dense tensor of real numbers, [samples, classes]")
    if logits.shape[1] < 1:
        raise InputError(f"{name} have the shape {list(logits.shape)}; expected at least one class")
    if like is not None and logits.shape != like.shape:
        raise InputError(
            f"{name} are of {list(logits.shape)} samples and classes, but others of {list(like.shape)}; expected the "
            "same samples and classes"
        )


def check_inputs(
    logits: Any, labels: Any, *, name: str = "logits", abstains: bool = False, known: Known = "any"
) -> Int[Tensor, " n"]:
    """The labels as int64, after a check of the logits and of the labels, or -1 for unlabeled, against them.

    Raises:
        InputError: as `check_logits`; labels that are not one-dimensional, whole and one for each sample; a label out
            of range, or too many that are unknown. The first sample at fault is named, counted from 0.
    """
    check_logits(logits, name)
    classes = logits.shape[1] - abstains
    if classes < 1:
        raise InputError(f"{name} have the shape {list(logits.shape)}; expected a class besides the reservation")
    if not _in_memory(labels) or labels.dtype not in INTEGERS or labels.dim() != 1:
        raise InputError(f"labels: {_description(labels)}; expected a one-dimensional tensor of integers")
    if len(labels) != len(logits):
        raise InputError(f"{len(labels)} labels for {len(logits)} rows of {name}; expected one for each row")
    numbers: Tensor = labels.long()
    least = 0 if known == "all" else UNLABELED
    allowed = f"0 to {classes - 1}" + ("" if least == 0 else ", or -1 for unlabeled")
    refuse_first(
        (numbers < least) | (numbers >= classes),
        lambda first: f"label {int(numbers[first])} is out of range; expected {allowed}",
    )
    if known != "any" and not (numbers != UNLABELED).any():
        raise InputError(f"no labeled sample among {len(numbers)}; expected at least one")
    return numbers


def check_finite(logits: Float[Tensor, "n classes"], whose: str = "its") -> None:
    """Refuse logits that are not finite, or so large that what is computed from them is not.

    Raises:
        InputError: the first sample at fault is named, counted from 0.
    """
    reach = _reach(logits)

    def told(first: int) -> str:
        cure = "the model has diverged: train it again at a lower learning rate"
        if not reach[first].isfinite():
            return f"{whose} logits are not all finite; {cure}"
        return f"{whose} logits reach {float(reach[first]):g}; expected {LARGEST_LOGIT:g} at most; {cure}"

    refuse_first(~(reach <= LARGEST_LOGIT), told)  # NaN is not


def refuse_first(at_fault: Bool[Tensor, " n"], told: Callable[[int], str]) -> None:
    """Refuse samples at fault: the first is named, counted from 0."""
    if at_fault.any():
        first = int(at_fault.nonzero()[0])
        raise InputError(f"sample {first}: {told(first)}")


def check_confidence(confidence: Any, flags: Any, name: str = "wrong") -> None:
    """Refuse anything but one confidence and one boolean for each of at least one sample; NaN is none."""
    for each, title in ((confidence, "confidence"), (flags, name)):
        if not _in_memory(each) or each.is_complex():
            raise InputError(f"{title}: {_description(each)}; expected a dense tensor of numbers, one for each sample")
    if confidence.shape != flags.shape or confidence.dim() != 1:
        shapes = f"{list(confidence.shape)} and {list(flags.shape)}"
        raise InputError(f"confidence and {name} have the shapes {shapes}; expected one number a sample in each")
    if len(confidence) == 0:
        raise InputError("no sample; expected at least one")
    if flags.dtype != torch.bool:
        raise InputError(f"{name} holds {flags.dtype}; expected booleans, for example prediction != label")
    refuse_first(confidence.isnan(), lambda first: "its confidence is NaN; expected a number")


def per_sample(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Decorate a function of one number a sample: check its tensors, then apply it to chunks of rows.

    The tensors are told apart by the names of the parameters: ``label`` or ``labels``, numbers (``k``,
    ``p``, ``temperature``), and, by any other name, logits, all of the same samples and classes.
    """
    in_chunks, signature = chunked(function), inspect.signature(function)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        arguments = signature.bind(*args, **kwargs).arguments
        first: Tensor | None = None
        for name, value in arguments.items():
            if name not in ("label", "labels", "k", "p", "temperature"):
                check_logits(value, name, like=first)
                first = value if first is None else first
        for name in arguments.keys() & {"label", "labels"}:
            check_inputs(first, arguments[name])
        return in_chunks(*args, **kwargs)

    return checked


def _in_memory(value: Any) -> bool:
    """Whether it is a dense tensor that holds values."""
    return isinstance(value, Tensor) and not (value.is_nested or value.is_meta or value.layout != torch.strided)


def _description(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"of type {type(value).__name__}"
    if value.is_nested:
        return "a nested tensor"
    kind = ", without values (meta)" if value.is_meta else f", {value.layout}"
    return f"{value.dtype} of shape {list(value.shape)}{'' if _in_memory(value) else kind}"


@chunked
def _reach(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """The size of the largest logit of each sample; NaN where one is."""
    return logits.abs().amax(dim=1).double()
