"""Families of architectures, and networks of them by name."""

import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TypeVar

import torch
from torch import nn

from preceptor.errors import InputError, unknown_name

Builder = Callable[..., nn.Module]
BuilderT = TypeVar("BuilderT", bound=Builder)

_WHOLE_NUMBER = "(0|[1-9][0-9]{0,3})"  # up to 9999, since a card may state anything
_ANY_TEXT = "(.+)"


@dataclass(frozen=True)
class Family:
    """Architectures that share a builder and differ by the fields of their names.

    Args:
        templates: how names are written, most usual first; ``{depth}`` stands for a whole number, a field in
            capitals such as ``{NAME}`` for any text.
        examples: names to show and to offer as nearest to a misspelled one.
        build: called with the fields of the name (in lower case) and ``channels`` and ``classes``, all by keyword.
    """

    templates: tuple[str, ...]
    examples: tuple[str, ...]
    build: Builder

    def parse(self, name: str) -> dict[str, int | str] | None:
        """The fields of a name that fits one of the templates, or None."""
        for template in self.templates:
            literals_and_fields = re.split(r"\{(\w+)\}", template)
            literals, fields = literals_and_fields[::2], literals_and_fields[1::2]
            pattern = re.escape(literals[0])
            for field, literal in zip(fields, literals[1:], strict=True):
                pattern += (_ANY_TEXT if field.isupper() else _WHOLE_NUMBER) + re.escape(literal)
            match = re.fullmatch(pattern, name)
            if match is not None:
                values = zip(fields, match.groups(), strict=True)
                return {field.lower(): text if field.isupper() else int(text) for field, text in values}
        return None


_families: dict[tuple[str, ...], Family] = {}


def model_family(*templates: str, examples: tuple[str, ...]) -> Callable[[BuilderT], BuilderT]:
    """Name a family of architectures, so that ``build_model`` and ``known_models`` know it.

    Decorates a module class or a function that returns a module. See ``Family`` for the templates.

    Raises:
        ValueError: an example does not fit the templates, or another builder has one of the templates.
    """

    def add(build: BuilderT) -> BuilderT:
        family = Family(templates, examples, build)
        strays = [example for example in examples if family.parse(example) is None]
        if strays or not examples:
            raise ValueError(f"model family {templates}: needs examples that fit its templates, got {examples}")
        for other in _families.values():
            if set(other.templates) & set(templates) and other.build.__qualname__ != build.__qualname__:
                raise ValueError(f"model family {templates}: already the name of {other.build.__qualname__}")
        _families[templates] = family
        return build

    return add


def model_families() -> list[Family]:
    """Every family. The modules of this package are imported first, so that a new family needs no entry elsewhere."""
    package = import_module("preceptor.models")
    for module in pkgutil.iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return [_families[templates] for templates in sorted(_families)]


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
    families = model_families()
    for family in families:
        fields = family.parse(name)
        if fields is not None:
            return family.build(**fields, channels=channels, classes=classes)
    examples = [example for family in families for example in family.examples]
    templates = [template for family in families for template in family.templates]
    raise InputError(f"{unknown_name('model', name, examples)}; names are written {', '.join(templates)}")


def known_models() -> list[str]:
    """One line a family: how its names are written, with examples."""
    return [f"{' or '.join(family.templates)}, such as {', '.join(family.examples)}" for family in model_families()]
