"""Finds every stage, built in or a third party's, and builds one from its name and options."""

import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from preceptor.errors import EnvironmentProblem, InputError, unknown_name
from preceptor.stage import KINDS, Kind, StageInfo, registered

ENTRY_POINTS = "preceptor.stages"
"""Entry-point group of third parties: each entry names a module to import, which registers its stages."""

ROOMS: tuple[str, ...] = (*KINDS, "abstain")
"""Where the built-in stages live: a room for each kind, and those whose stages are of several kinds."""


@cache
def _import_stages() -> None:
    for name in ROOMS:
        room = import_module(f"preceptor.{name}")
        for module in pkgutil.iter_modules(room.__path__):
            import_module(f"{room.__name__}.{module.name}")
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:
            raise EnvironmentProblem(
                f"stage package {entry.value!r} (entry point {entry.name!r}) cannot be imported: {error}: "
                "repair or uninstall it"
            ) from error


def stages(kind: Kind | None = None) -> list[StageInfo]:
    """Every known stage, or those of one kind, by kind and name."""
    _import_stages()
    known = [info for info in registered().values() if kind in (None, info.kind)]
    return sorted(known, key=lambda info: (KINDS.index(info.kind), info.name))


def find_stage(kind: Kind, name: str) -> StageInfo:
    """The stage of this kind and name.

    Raises:
        InputError: there is none; the nearest known name is offered.
    """
    known = {info.name: info for info in stages(kind)}
    if name not in known:
        raise unknown_name(f"{kind} stage", name, known)
    return known[name]


@dataclass(frozen=True)
class Option:
    """One hyper-parameter of a stage: its type and its default (``inspect.Parameter.empty`` when it has none)."""

    annotation: Any
    default: Any


def options(info: StageInfo) -> dict[str, Option]:
    """The hyper-parameters of a stage, read off its constructor."""
    hints = get_type_hints(info.cls.__init__)
    parameters = inspect.signature(info.cls).parameters.values()
    return {p.name: Option(hints.get(p.name, Any), p.default) for p in parameters}


def build_stage(kind: Kind, name: str, given: Mapping[str, Any] | None = None) -> Any:
    """Build a stage from its registered name and the options given, each checked against its type.

    Raises:
        InputError: unknown stage or option (nearest offered), missing option, wrong type or value.
    """
    info = find_stage(kind, name)
    known = options(info)
    values = {}
    for key, value in (given or {}).items():
        if key not in known:
            raise unknown_name(f"option of {kind} stage {name!r}", key, known)
        values[key] = _checked(f"{name}.{key}", value, known[key].annotation)
    missing = [key for key, option in known.items() if option.default is inspect.Parameter.empty and key not in values]
    if missing:
        raise InputError(f"{kind} stage {name!r} needs {', '.join(missing)}")
    return info.cls(**values)


def _checked(where: str, value: object, annotation: Any) -> Any:
    try:
        return TypeAdapter(annotation, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError as error:
        raise InputError(f"{where} = {value!r}: {error.errors()[0]['msg'].lower()}") from error
