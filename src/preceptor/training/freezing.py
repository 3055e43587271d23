"""Parts of a network that training leaves alone: their weights, and their batch norm's statistics."""

from collections.abc import Iterable, Sequence

from torch import nn

from preceptor.errors import InputError, few, nearest
from preceptor.models.features import ImageModel

BACKBONE = "backbone"
"""Stands for everything but the classifier head."""


def inner_network(network: nn.Module) -> nn.Module:
    """The network itself, without the wrapper that normalizes its images."""
    return network.network if isinstance(network, ImageModel) else network


def classifier_head(network: nn.Module) -> nn.Module:
    """The layer that makes the logits: what ``get_classifier()`` returns, which networks of timm have, else the last
    module with weights of its own in the order of ``named_modules()``.

    Raises:
        InputError: no module has weights.
    """
    network = inner_network(network)
    stated = getattr(network, "get_classifier", lambda: None)()
    if isinstance(stated, nn.Module) and any(True for _ in stated.parameters()):
        return stated
    weighty = [module for module in network.modules() if any(True for _ in module.parameters(recurse=False))]
    if not weighty:
        raise InputError(f"{type(network).__name__} has no weights, so no classifier head: there is nothing to train")
    return weighty[-1]


def frozen_modules(network: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """The modules that are frozen, one by one: those of the names, and all that they hold.

    Args:
        network: the student's.
        names: module paths, as in ``named_modules()``, or "backbone".

    Raises:
        InputError: there is no such module (the nearest is offered), or nothing is left to train.
    """
    network = inner_network(network)
    modules = dict(network.named_modules())
    frozen: dict[int, nn.Module] = {}
    for name in names:
        if name == BACKBONE:
            trained = {id(module) for module in classifier_head(network).modules()}
            chosen: Iterable[nn.Module] = [module for module in network.modules() if id(module) not in trained]
        elif name and name in modules:
            chosen = modules[name].modules()
        else:
            raise _unknown(network, name, modules)
        frozen |= {id(module): module for module in chosen}
    if names and not any(
        parameter.requires_grad
        for module in network.modules()
        if id(module) not in frozen
        for parameter in module.parameters(recurse=False)
    ):
        raise InputError(f"freeze {', '.join(names)}: nothing of {type(network).__name__} is left to train")
    return list(frozen.values())


def freeze(network: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Take the gradient from the modules of these names, for good; they are returned, for :func:`keep_frozen`.

    Raises:
        InputError: as of :func:`frozen_modules`.
    """
    frozen = frozen_modules(network, names)
    for module in frozen:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
    return frozen


def keep_frozen(frozen: Iterable[nn.Module]) -> None:
    """Put frozen modules in eval mode, so that batch norm keeps its statistics and nothing is dropped."""
    for module in frozen:
        module.training = False


def _unknown(network: nn.Module, name: str, modules: Iterable[str]) -> InputError:
    paths = [path for path in modules if path]
    near = nearest(name, [BACKBONE, *paths])
    hint = f"did you mean {near!r}? " if near else ""
    top = [path for path, _ in network.named_children()]
    return InputError(
        f"freeze {name!r}: {type(network).__name__} has no such module: {hint}it has {few(top, 8)}; {BACKBONE} is "
        "everything but the classifier head"
    )
