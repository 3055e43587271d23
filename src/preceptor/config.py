"""Settings in YAML: safe reading, duplicate keys refused, dotted ``key=value`` overrides, checked by pydantic."""

import re
from collections.abc import Hashable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from preceptor.errors import InputError, unknown_name
from preceptor.files import check_is_file

Model = TypeVar("Model", bound=BaseModel)

_UNION_BRANCH = re.compile(r"[\w-]+\[.+\]$")
"""pydantic's name, in an error's location, for one of several types that a value may have."""

_EXPECTED = {
    "bool_parsing": "true or false",
    "dict_type": "a mapping of names to values",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_type": "a whole number",
    "model_type": "a mapping of names to values",
    "path_type": "a path",
    "string_type": "text",
}
"""What was expected, by pydantic's type of error, where its own message speaks of Python."""


class FrozenModel(BaseModel):
    """A model of the keys that it names alone, whose values stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Loader(yaml.SafeLoader):
    """The safe loader, but it refuses a duplicate key, of which PyYAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # "<<: *anchor": merged by the safe loader; a key beside it overrides the merged one
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key if isinstance(key, Hashable) else repr(key))
        return super().construct_mapping(node, deep)


# PyYAML follows YAML 1.1, where 1e-3 is text and the key "on" is true. Users mean a number and a name, as in YAML 1.2.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)

NOT_YAML = (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError)
"""What PyYAML raises: an impossible date is a ValueError or a kin of it, a thousand brackets are a RecursionError."""

MOST_BYTES = 2**20
"""Largest file of settings that is read."""

MOST_VALUES = 100_000
"""Most values that a text may hold once its aliases are expanded: ten lines of aliases can mean billions."""

_SHOWN = 200


def _loaded(text: str) -> Any:
    """The content of a YAML text. Aliases are counted before anything is built from them."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _unfolded(node, {}) > MOST_VALUES:
            raise ValueError(f"its aliases expand to more than {MOST_VALUES:,} values: write the values out")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _unfolded(node: yaml.Node, counted: dict[int, float]) -> float:
    """How many values a node expands to; infinite for one that contains itself."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in counted:
        counted[id(node)] = float("inf")
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        counted[id(node)] = 1 + sum(_unfolded(part, counted) for part in parts)
    return counted[id(node)]


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InputError: no such file, not UTF-8, not YAML, a duplicate key, or not a mapping of names.
    """
    check_is_file(path)
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # a name with a zero byte in it is a ValueError too
        raise InputError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    if len(text) > MOST_BYTES:
        raise InputError(f"{path}: longer than {MOST_BYTES:,} characters; expected a file of settings")
    try:
        content = _loaded(text)
    except NOT_YAML as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping of names to values, not a {type(content).__name__}")
    check_keys(content, str(path))
    return content


def check_keys(content: Mapping[Any, Any], where: str) -> None:
    """Refuse keys that are no text, as YAML reads ``null:`` or ``1:``."""
    for key in content:
        if not isinstance(key, str):
            raise InputError(f"{where}: the key {_shown(key)} is not a name: write a name, in quotes if need be")


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``key.sub=value``; the value is read as YAML, so ``3``, ``0.5``, ``true`` and ``null`` are typed."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise InputError(f"override {text!r}: expected key=value, for example training.epochs=5 or seed=1")
    try:
        return key.strip(), _loaded(value)
    except NOT_YAML as error:
        raise InputError(f"override {text!r}: the value is not valid YAML") from error


def with_overrides(content: Mapping[str, Any], overrides: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A deep copy of a nested mapping with dotted keys set. Missing levels are made; the model checks the names."""
    result = deepcopy(dict(content))
    for key, value in overrides:
        *path, last = key.split(".")
        level = result
        for name in path:
            if not isinstance(level.setdefault(name, {}), dict):
                level[name] = {"name": level[name]}  # "correction: x" is short for "correction: {name: x}"
            level = level[name]
        level[last] = value
    return result


def validated(model: type[Model], content: Mapping[str, Any], where: str) -> Model:
    """Check a mapping against a model; ``where`` it comes from is for the message.

    Raises:
        InputError: one line about the first thing that is wrong; for an unknown key the nearest known one is offered.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _input_error(model, error.errors()[0], where) from error


def _input_error(model: type[BaseModel], problem: ErrorDetails, where: str) -> InputError:
    """pydantic's error in the form "X is Y; expected Z"."""
    kind, message = problem["type"], problem["msg"]
    if kind == "extra_forbidden":
        return unknown_name(f"key in {where}", str(problem["loc"][-1]), _known_keys(model, problem["loc"]))
    place = ".".join(str(part) for part in problem["loc"] if not _UNION_BRANCH.match(str(part))) or "content"
    if kind == "missing":
        return InputError(f"{where}: {place} is missing")
    expected = _EXPECTED.get(kind)
    if expected is None and message.startswith("Input should be "):
        expected = message.removeprefix("Input should be ")
    if expected is None:
        message = message.removeprefix("Value error, ")
        return InputError(f"{where}: {place}: {message} (given: {_shown(problem['input'])})")
    if expected.startswith(("greater", "less")):
        expected = f"a number {expected}"
    return InputError(f"{where}: {place} is {_shown(problem['input'])}; expected {expected}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys allowed in the nested model where an unknown one stands."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        if field is None:
            continue  # a key of a mapping, whose values' model the field before it has named
        nested = [kind for kind in _types_in(field.annotation) if issubclass(kind, BaseModel)]
        model = nested[0] if nested else model
    return list(model.model_fields)


def _types_in(annotation: Any) -> list[type]:
    inner = getattr(annotation, "__args__", ())
    if not inner:
        return [annotation] if isinstance(annotation, type) else []
    return [kind for part in inner for kind in _types_in(part)]
