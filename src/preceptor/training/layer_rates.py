"""Layer-wise learning rates: the further a block is from the classifier head, the smaller its rate."""

from collections.abc import Iterable

from torch import nn

from preceptor.training.freezing import inner_network

_LISTS = (nn.Sequential, nn.ModuleList)
_LARGE = 0.5
"""A module that holds more than this share of the network's parameters is no block: its children are."""


def blocks(network: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of a network's blocks, first to last in the order of its modules; the last is the head.

    A block is a child of the network. ``Sequential`` and ``ModuleList``, and whatever holds more than half of the
    network's parameters, are opened: their children are blocks instead. Children without weights of two or more
    dimensions (normalization layers) belong to the block before them. Parameters that an opened module itself holds
    (class token, position embedding) belong to the first of its blocks.
    """
    network = inner_network(network)
    total = sum(parameter.numel() for parameter in network.parameters())
    seen: set[int] = set()
    return _merged(_opened(network, total, seen))


def layer_rates(network: nn.Module, learning_rate: float, decay: float) -> list[tuple[list[nn.Parameter], float]]:
    """Each block's parameters with ``learning_rate * decay ** distance``, where the head's distance is 0."""
    parts = blocks(network)
    distances = range(len(parts) - 1, -1, -1)
    return [(part, learning_rate * decay**distance) for part, distance in zip(parts, distances, strict=True)]


def _opened(module: nn.Module, total: int, seen: set[int]) -> list[list[nn.Parameter]]:
    parts: list[list[nn.Parameter]] = []
    for child in module.children():
        size = sum(parameter.numel() for parameter in child.parameters())
        if any(True for _ in child.children()) and (isinstance(child, _LISTS) or size > _LARGE * total):
            parts += _opened(child, total, seen)
        else:
            parts.append(_new(child.parameters(), seen))
    own = _new(module.parameters(recurse=False), seen)
    if own and parts:
        parts[0] = own + parts[0]
    elif own:
        parts = [own]
    return [part for part in parts if part]


def _new(parameters: Iterable[nn.Parameter], seen: set[int]) -> list[nn.Parameter]:
    """Those that no block has yet: a network may use a parameter twice."""
    new = []
    for parameter in parameters:
        if id(parameter) not in seen:
            seen.add(id(parameter))
            new.append(parameter)
    return new


def _merged(parts: list[list[nn.Parameter]]) -> list[list[nn.Parameter]]:
    merged: list[list[nn.Parameter]] = []
    for part in parts:
        if merged and all(parameter.dim() < 2 for parameter in part):
            merged[-1] += part
        else:
            merged.append(list(part))
    return merged
