"""Families of architectures, and the decorator that registers one."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

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
        fits = (_parse(template, name) for template in self.templates)
        return next((fields for fields in fits if fields is not None), None)


def _parse(template: str, name: str) -> dict[str, int | str] | None:
    literals_and_fields = re.split(r"\{(\w+)\}", template)
    literals, fields = literals_and_fields[::2], literals_and_fields[1::2]
    pattern = re.escape(literals[0])
    for field, literal in zip(fields, literals[1:], strict=True):
        pattern += (_ANY_TEXT if field.isupper() else _WHOLE_NUMBER) + re.escape(literal)
    match = re.fullmatch(pattern, name)
    if match is None:
        return None
    values = zip(fields, match.groups(), strict=True)
    return {field.lower(): text if field.isupper() else int(text) for field, text in values}


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


def registered_families() -> list[Family]:
    """Every family registered so far, by name; ``build.model_families`` imports the built-in ones first."""
    return [_families[templates] for templates in sorted(_families)]
