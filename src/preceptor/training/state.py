"""What a checkpoint says of a pupil, held against what the pupil is: a file's word is not taken for its kind.

``load_state_dict`` of a module checks names and shapes; that of an optimizer or a schedule takes whatever it is given,
and fails a step later, or sets attributes that no schedule has.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

LARGEST = torch.finfo(torch.float32).max
"""An optimizer takes no rate above it, be the number finite or not."""

MOST = 2**63
"""More steps or samples than can be counted."""


def fitting_state(state: Mapping[str, Any], own: Mapping[str, Any], parameters: Sequence[Tensor]) -> dict[str, Any]:
    """A pupil's state as another version of it may have been written: what only this version knows is added, what it
    does not know is left out.

    Args:
        state: from a checkpoint.
        own: of the pupil as it is, see ``Seat.state``.
        parameters: in the order of its optimizer.

    Raises:
        ValueError: a part is not of the kind that the pupil's own is.
    """
    found = _mapping(state, "state")
    optimizer = _mapping(found["optimizer"], "optimizer")
    return {
        "student": _mapping(found["student"], "student"),
        "chain": _tensors_like(found["chain"], own["chain"], "chain"),
        "optimizer": {
            "state": {key: _of_parameter(key, kept, parameters) for key, kept in optimizer["state"].items()},
            "param_groups": _like(optimizer["param_groups"], own["optimizer"]["param_groups"], "optimizer"),
        },
        "scheduler": _like(found["scheduler"], own["scheduler"], "scheduler"),
        "tally": _tally(_mapping(found["tally"], "tally")),
        "lowered": _count(found["lowered"], "lowered"),
    }


def _like(found: Any, own: Any, where: str) -> Any:
    """The value found, if it is of the kind of one's own; of mappings, the keys of one's own."""
    kind: Any = type(own)  # a schedule counts its milestones
    if isinstance(own, Mapping):
        given = _mapping(found, where)
        return kind({key: _like(given.get(key, value), value, f"{where}.{key}") for key, value in own.items()})
    if isinstance(own, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(own):
            raise ValueError(f"{where} is {found!r}, not {len(own)} values")
        return kind(_like(one, other, where) for one, other in zip(found, own, strict=True))
    if isinstance(own, bool) or own is None or not isinstance(own, int | float):
        if found != own:
            raise ValueError(f"{where} is {found!r}, not {own!r}")
        return own
    if type(found) not in (int, float) or not abs(found) <= LARGEST:
        raise ValueError(f"{where} is {found!r}, not a number that float32 holds")
    return found


def _tensors_like(found: Any, own: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Tensors of the types and shapes of one's own; one that begins empty may have grown."""
    given = _mapping(found, where)
    for name, tensor in own.items():
        kept = given.get(name)
        if isinstance(kept, Tensor) and (kept.dtype != tensor.dtype or (tensor.numel() and kept.shape != tensor.shape)):
            raise ValueError(f"{where}.{name} is {_described(kept)}, not {_described(tensor)}")
    return given


def _of_parameter(key: Any, found: Any, parameters: Sequence[Tensor]) -> dict[str, Any]:
    """What the optimizer keeps of a parameter."""
    if type(key) is not int or not 0 <= key < len(parameters):
        raise ValueError(f"optimizer: {key!r} is no parameter of {len(parameters)}")
    kept = _mapping(found, f"optimizer.{key}")
    momentum, own = kept.get("momentum_buffer"), parameters[key]
    if momentum is not None and not (isinstance(momentum, Tensor) and _described(momentum) == _described(own)):
        raise ValueError(f"optimizer: the momentum of parameter {key} is not {_described(own)}")
    return {"momentum_buffer": momentum}


def _tally(found: dict[str, Any]) -> dict[str, Any]:
    counts = {name: _count(found[name], f"tally.{name}") for name in ("samples", "gambled", "skipped")}
    return {**counts, **{name: _numbers(found[name], f"tally.{name}") for name in ("losses", "counts")}}


def _numbers(found: Any, where: str) -> dict[str, Tensor]:
    for name, value in _mapping(found, where).items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.dim() or value.is_complex():
            raise ValueError(f"{where}.{name} is {value!r}, not one number")
    return dict(found)


def _count(found: Any, where: str) -> int:
    if type(found) is not int or not 0 <= found < MOST:
        raise ValueError(f"{where} is {found!r}, not a number from 0 on")
    return found


def _mapping(found: Any, where: str) -> dict[Any, Any]:
    if not isinstance(found, Mapping):
        raise ValueError(f"{where} is a {type(found).__name__}, not a mapping")
    return dict(found)


def _described(tensor: Tensor) -> tuple[Any, ...]:
    return (tuple(tensor.shape), tensor.dtype)
