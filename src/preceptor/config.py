"""Reading YAML that a person wrote: safely, with duplicate keys refused, and dotted ``key=value`` overrides."""

import re
from collections.abc import Hashable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from preceptor.errors import InputError, unknown_name
from preceptor.files import check_is_file

Model = TypeVar("Model", bound=BaseModel)

_UNION_BRANCH = re.compile(r"[\w-]+\[.+\]$")
"""How pydantic calls, in the place of an error, one of several types that a value may have."""

_IN_OUR_WORDS = {"path_type": "Input should be a path"}
"""What pydantic says of an error, by its kind, where that speaks of Python."""


class _Loader(yaml.SafeLoader):
    """The safe loader, refusing a key given twice (plain YAML silently keeps the last)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # "<<: *anchor": the safe loader merges it, and what is given beside it counts
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key if isinstance(key, Hashable) else repr(key))
        return super().construct_mapping(node, deep)


# PyYAML keeps to YAML 1.1, to which 1e-3 is text and the key "on" is true; everyone means a number and a name, as
# YAML 1.2 does.
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
"""What reading YAML may raise: a date that is none is a ValueError (or another, by how it fails to be one), a thousand
brackets are a RecursionError."""

MOST_BYTES = 2**20
"""No file of settings that a person wrote is longer, nor a run's record of them."""

MOST_VALUES = 100_000
"""How many values a text may come to once its aliases are written out: ten lines of them can mean billions."""

_SHOWN = 200


def _loaded(text: str) -> Any:
    """What YAML says, its aliases counted before anything is made of them."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _unfolded(node, {}) > MOST_VALUES:
            raise ValueError(f"its aliases come to more than {MOST_VALUES:,} values: write out what is meant")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _unfolded(node: yaml.Node, counted: dict[int, float]) -> float:
    """How many values a node comes to; one that holds itself, to no end of them."""
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
        InputError: no such file, not UTF-8, not YAML, a key given twice, or not a mapping of names.
    """
    check_is_file(path)
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # a name with a zero byte in it is a ValueError too
        raise InputError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    if len(text) > MOST_BYTES:
        raise InputError(f"{path}: longer than {MOST_BYTES:,} characters: no file of settings: give one that is")
    try:
        content = _loaded(text)
    except NOT_YAML as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping of names to values, found {type(content).__name__}")
    for key in content:
        if not isinstance(key, str):
            raise InputError(f"{path}: {_shown(key)} stands where a name belongs: give a name, in quotes if need be")
    return content


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
                level[name] = {"name": level[name]}  # 'correct: name' is short for 'correct: {name: name}'
            level = level[name]
        level[last] = value
    return result


def validated(model: type[Model], content: Mapping[str, Any], where: str) -> Model:
    """Check a mapping against a model.

    Raises:
        InputError: one line with the first thing wrong; an unknown key gets the nearest known one.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if not _UNION_BRANCH.match(str(part)))
        if first["type"] == "extra_forbidden":
            raise unknown_name(f"key in {where}", str(first["loc"][-1]), _known_keys(model, first["loc"])) from error
        message = _IN_OUR_WORDS.get(first["type"], first["msg"].removeprefix("Value error, "))
        raise InputError(f"{where}: {place or 'content'}: {message} (given: {_shown(first['input'])})") from error


def _shown(given: object) -> str:
    text = repr(given)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys allowed at the level of a nested model where an unknown one was found."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        if field is None:
            continue  # a key of a mapping: the model of its values is found by the field before it
        nested = [kind for kind in _types_in(field.annotation) if issubclass(kind, BaseModel)]
        model = nested[0] if nested else model
    return list(model.model_fields)


def _types_in(annotation: Any) -> list[type]:
    inner = getattr(annotation, "__args__", ())
    if not inner:
        return [annotation] if isinstance(annotation, type) else []
    return [kind for part in inner for kind in _types_in(part)]
