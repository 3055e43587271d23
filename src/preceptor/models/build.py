"""Architectures by name, of whichever family."""

import pkgutil
from importlib import import_module

import torch
from torch import nn

from preceptor.errors import InputError, unknown_name
from preceptor.models.family import Family, registered_families


def seeded_model(name: str, *, channels: int, classes: int, seed: int) -> nn.Module:
    """``build_model`` with weights drawn from a seed; the caller's random generator is left as it was.

    Raises:
        InputError: see :func:`build_model`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(name, channels=channels, classes=classes)


def build_model(name: str, *, channels: int, classes: int) -> nn.Module:
    """A network with random weights, drawn from torch's global generator: seed it to get the same ones again.

    Args:
        name: of the architecture; ``known_models`` lists what is possible.
        channels: of the images.
        classes: number of logits.

    Raises:
        InputError: unknown name (the nearest is offered), impossible depth or width, channels or classes below 1.
        MachineError: the model comes from timm or torchvision, which is missing or cannot be loaded.
    """
    if min(channels, classes) < 1:
        raise InputError(f"model {name!r}: channels is {channels} and classes {classes}; expected 1 or more of each")
    for family in model_families():
        fields = family.parse(name)
        if fields is not None:
            return family.build(**fields, channels=channels, classes=classes)
    raise _unknown_model(name)


def known_models() -> list[str]:
    """One line a family: how its names are written, with examples."""
    return [f"{' or '.join(family.templates)}, such as {', '.join(family.examples)}" for family in model_families()]


def model_families() -> list[Family]:
    """Every family. The modules of this package are imported first, so that a new family needs no entry elsewhere."""
    package = import_module("preceptor.models")
    for module in pkgutil.iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return registered_families()


def _unknown_model(name: str) -> InputError:
    families = model_families()
    examples = [example for family in families for example in family.examples]
    templates = [template for family in families for template in family.templates]
    return InputError(f"{unknown_name('model', name, examples)}; names are written {', '.join(templates)}")
