"""The registry that finds and builds components by name."""

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from preceptor.component_types import COMPONENT_TYPES, ComponentType
from preceptor.errors import InputError, MachineError, unknown_name


@dataclass(frozen=True)
class ComponentInfo:
    """A registered component: its type and name, the class that builds it, where the method was published."""

    kind: ComponentType
    name: str
    cls: type[Any]
    paper: str

    @property
    def summary(self) -> str:
        """The first line of the class's docstring."""
        return (self.cls.__doc__ or "").strip().splitlines()[0]


_registered: dict[tuple[ComponentType, str], ComponentInfo] = {}

ComponentClass = TypeVar("ComponentClass", bound=type[Any])


def register(kind: ComponentType, name: str, *, paper: str) -> Callable[[ComponentClass], ComponentClass]:
    """Name a component, so that recipes, the command line and the conformance suite know it.

    Args:
        kind: its component type, the slot of a distillation loss that it fits.
        name: its name in recipes; unique within its type.
        paper: where the method comes from, or "control" or "reconstruction" and why.

    Raises:
        InputError: the type is unknown, the class has no docstring, or another class has the name.
    """
    if kind not in COMPONENT_TYPES:
        raise unknown_name("component type", kind, COMPONENT_TYPES)

    def add(cls: ComponentClass) -> ComponentClass:
        if not (cls.__doc__ or "").strip():
            raise InputError(
                f"component {name!r}: class {cls.__name__} needs a docstring, its first line is shown to users"
            )
        holder = _registered.get((kind, name))
        if holder is not None and _home(holder.cls) != _home(cls):
            raise InputError(
                f"{kind} component {name!r} is already registered by {_home(holder.cls)}: choose another name"
            )
        _registered[kind, name] = ComponentInfo(kind, name, cls, paper)
        return cls

    return add


def _home(cls: type[Any]) -> str:
    """Where a class was written: the same after its module is reloaded."""
    return f"{cls.__module__}.{cls.__qualname__}"


def registered() -> dict[tuple[ComponentType, str], ComponentInfo]:
    """Every component registered so far; ``registry.components`` imports the built-in ones first."""
    return dict(_registered)


def registered_name(component: object) -> str:
    """The name a component was registered under, or its class name in lower case."""
    names = [info.name for info in _registered.values() if info.cls is type(component)]
    return names[0] if names else type(component).__name__.lower()


def check_slot(component: object, *slots: ComponentType) -> None:
    """Refuse a registered component in a slot of another type; unregistered classes pass.

    Raises:
        InputError: it is registered, but for none of these slots.
    """
    types = {info.kind for info in _registered.values() if info.cls is type(component)}
    if types and types.isdisjoint(slots):
        raise InputError(
            f"{'/'.join(slots)}={type(component).__name__}: it is a {' and '.join(sorted(types))}; "
            "see preceptor methods"
        )


ENTRY_POINTS = "preceptor.components"
"""Entry-point group of third parties: each entry names a module to import, which registers its components."""

PACKAGES = (
    "recalibrations",
    "corrections",
    "temperatures",
    "selections",
    "losses",
    "label_losses",
    "feature_losses",
    "abstention",
)
"""Folders of the built-in components: one per type, and one whose components are of several types."""


@cache
def _import_components() -> None:
    for name in PACKAGES:
        room = import_module(f"preceptor.{name}")
        for module in pkgutil.iter_modules(room.__path__):
            import_module(f"{room.__name__}.{module.name}")
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:
            raise MachineError(
                f"component package {entry.value!r} (entry point {entry.name!r}) cannot be imported: {error}: "
                "repair or uninstall it"
            ) from error


def components(kind: ComponentType | None = None) -> list[ComponentInfo]:
    """Every known component, or those of one kind, by kind and name."""
    _import_components()
    known = [info for info in registered().values() if kind in (None, info.kind)]
    return sorted(known, key=lambda info: (COMPONENT_TYPES.index(info.kind), info.name))


def find_component(kind: ComponentType, name: str) -> ComponentInfo:
    """The component of this kind and name.

    Raises:
        InputError: there is none, or no such type; the nearest known name is offered.
    """
    if kind not in COMPONENT_TYPES:
        raise unknown_name("component type", kind, COMPONENT_TYPES)
    known = {info.name: info for info in components(kind)}
    if name not in known:
        raise unknown_name(f"{kind} component", name, known)
    return known[name]


def options(info: ComponentInfo) -> Mapping[str, inspect.Parameter]:
    """The hyper-parameters of a component with their types and defaults, read off its constructor."""
    return inspect.signature(info.cls, eval_str=True).parameters


def build_component(kind: ComponentType, name: str, values: Mapping[str, Any] | None = None) -> Any:
    """Build a component from its registered name and the options given, each checked against its type.

    Raises:
        InputError: unknown component or option (nearest offered), missing option, wrong type or value.
    """
    info = find_component(kind, name)
    known = options(info)
    checked = {}
    for key, value in (values or {}).items():
        if key not in known:
            raise unknown_name(f"option of {kind} component {name!r}", key, known)
        annotation = known[key].annotation
        checked[key] = _checked(f"{name}.{key}", value, Any if annotation is inspect.Parameter.empty else annotation)
    missing = [key for key, option in known.items() if option.default is inspect.Parameter.empty and key not in checked]
    if missing:
        raise InputError(f"{kind} component {name!r} needs {', '.join(missing)}")
    return info.cls(**checked)


def _checked(where: str, value: object, annotation: Any) -> Any:
    try:
        return TypeAdapter(annotation, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError as error:
        raise InputError(f"{where} = {value!r}: {error.errors()[0]['msg'].lower()}") from error
