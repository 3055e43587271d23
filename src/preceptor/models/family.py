"""Families of architectures, and networks of them by name."""

import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeVar

import torch
from torch import nn

from preceptor.errors import InputError, unknown_name

Builder = Callable[..., nn.Module]
Weights = Literal["random", "pretrained", "later"]
"""What a network starts from: random weights; its library's pretrained ones; or random ones to be replaced."""

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
        build: called with the fields of the name (in lower case) and ``channels`` and ``classes``, all by keyword;
            where there are pretrained weights, also with ``weights`` and ``download`` of :func:`build_model`.
        has_pretrained: whether there are. Default False.
    """

    templates: tuple[str, ...]
    examples: tuple[str, ...]
    build: Builder
    has_pretrained: bool = False

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


def model_family(
    *templates: str, examples: tuple[str, ...], has_pretrained: bool = False
) -> Callable[[BuilderT], BuilderT]:
    """Name a family of architectures, so that ``build_model`` and ``known_models`` know it.

    Decorates a module class or a function that returns a module. See ``Family`` for the templates.

    Raises:
        ValueError: an example does not fit the templates, or another builder has one of the templates.
    """

    def add(build: BuilderT) -> BuilderT:
        family = Family(templates, examples, build, has_pretrained)
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
    # Names that begin with a field, such as {MODULE}:{FUNCTION}, are tried last: "{" sorts behind every letter.
    return [_families[templates] for templates in sorted(_families)]


def seeded_model(
    name: str, *, channels: int, classes: int, seed: int, weights: Weights = "random", download: bool = False
) -> nn.Module:
    """``build_model`` with random weights drawn from a seed; the caller's random generator is left as it was.

    Raises:
        InputError: see :func:`build_model`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(name, channels=channels, classes=classes, weights=weights, download=download)


def build_model(
    name: str, *, channels: int, classes: int, weights: Weights = "random", download: bool = False
) -> nn.Module:
    """A network; random weights are drawn from torch's global generator: seed it to get the same ones again.

    Args:
        name: of the architecture; ``known_models`` lists what is possible.
        channels: of the images.
        classes: number of logits; a pretrained network of another number gets a new, random head.
        weights: "random" (default); "pretrained" for those of timm, torchvision or Hugging Face; "later" where the
            caller puts other weights in: a name of pretrained weights, such as timm:resnet18.a1_in1k, is allowed then.
        download: pretrained weights that the library's cache lacks. Default False: nothing is asked of the network.

    Raises:
        InputError: unknown name (the nearest is offered), impossible depth or width, channels or classes below 1, a
            name of pretrained weights where random ones are asked for, no pretrained weights of this name in the cache,
            or a function whose module is not allowed (:func:`preceptor.models.allow_code`).
        MachineError: the model comes from timm, torchvision or transformers, which is missing or cannot be loaded.
    """
    if min(channels, classes) < 1:
        raise InputError(f"model {name!r}: channels is {channels} and classes {classes}; expected 1 or more of each")
    families = model_families()
    for family in families:
        fields = family.parse(name)
        if fields is not None:
            options: dict[str, Any] = {"weights": weights, "download": download} if family.has_pretrained else {}
            if weights == "pretrained" and not family.has_pretrained:
                raise InputError(
                    f"model {name!r} has no pretrained weights of its own: give --student-weights FILE to start from "
                    "yours, or choose a network of timm (timm:NAME), torchvision or Hugging Face (hf:NAME)"
                )
            return family.build(**fields, channels=channels, classes=classes, **options)
    examples = [example for family in families for example in family.examples]
    templates = [template for family in families for template in family.templates]
    raise InputError(f"{unknown_name('model', name, examples)}; names are written {', '.join(templates)}")


def is_own_architecture(name: str) -> bool:
    """Whether a name is one of this package's architectures, whose weights no library has."""
    return ":" not in name and any(family.parse(name) is not None for family in model_families())


def known_models() -> list[str]:
    """One line a family: how its names are written, with examples."""
    return [f"{' or '.join(family.templates)}, such as {', '.join(family.examples)}" for family in model_families()]
