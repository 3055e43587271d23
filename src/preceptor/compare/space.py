"""Spaces of settings to tune: a range or a list of values by dotted key, and the configuration of a point."""

import inspect
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from preceptor.component_types import COMPONENT_TYPES
from preceptor.config import parse_override
from preceptor.errors import InputError
from preceptor.recipes import build_recipe_parts
from preceptor.registry import find_component, options
from preceptor.run.config import RunConfig, resolve
from preceptor.settings import read_settings

Value = bool | int | float | str | None

NOT_TUNED = {
    "data",
    "data_root",
    "download",
    "skip_bad_images",
    "train_labels",
    "train_images",
    "validation",
    "folds",
    "fold",
    "split_seed",
    "seed",
}
"""Settings that say what is measured, and the seed: the best of several seeds is luck."""

EXAMPLE = "training.learning_rate=0.01..0.3:log, training.epochs=5..20 or recipe=kd,ka-ps"

_RANGE = re.compile(r"\s*([-+\d.eE]+?)\.\.([-+\d.eE]+)(?::(\w*))?\s*")


@dataclass(frozen=True)
class Range:
    """All numbers from ``low`` to ``high``, both included.

    Attributes:
        log: drawn evenly on a logarithmic scale. Default False.
        whole: whole numbers alone. Default False; :func:`checked_space` sets it where the setting is one.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False


Dimension = Range | tuple[Value, ...]
"""A range, or the values to choose from."""

Space = Mapping[str, Dimension]


def parse_space(texts: Sequence[str]) -> dict[str, Dimension]:
    """A space from ``KEY=A..B``, ``KEY=A..B:log`` or ``KEY=X,...``, each key once.

    Raises:
        InputError: something else.
    """
    space: dict[str, Dimension] = {}
    for text in texts:
        key, sign, values = text.partition("=")
        key = key.strip()
        if not sign or not key or not values.strip():
            raise InputError(f"space {text!r}: expected KEY=A..B, KEY=A..B:log or KEY=X,..., such as {EXAMPLE}")
        if key in space:
            raise InputError(f"space {text!r}: {key} is set twice: give it once")
        space[key] = dimension(key, values)
    return space


def dimension(key: str, values: object) -> Dimension:
    """A range from text, or the values of a list or of text with commas.

    Raises:
        InputError: no range and no list of two different values or more.
    """
    if isinstance(values, str):
        as_range = _RANGE.fullmatch(values)
        if as_range is not None:
            return _range(key, values, *as_range.groups())
        values = [parse_override(f"{key}={value}")[1] for value in values.split(",")]
    if not isinstance(values, list | tuple) or any(isinstance(value, dict | list) for value in values):
        raise InputError(f"space of {key} is {values!r}; expected a range A..B or a list of values, such as {EXAMPLE}")
    if len(values) < 2 or any(_same(one, other) for n, one in enumerate(values) for other in values[:n]):
        shown = ",".join(str(value) for value in values)
        raise InputError(f"space {key}={shown}: nothing to choose: give a range A..B, or two different values or more")
    return tuple(values)


def _range(key: str, text: str, low_text: str, high_text: str, scale: str | None) -> Range:
    low, high = (parse_override(f"{key}={end}")[1] for end in (low_text, high_text))
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not numbers or not math.isfinite(low) or not math.isfinite(high) or low >= high:
        raise InputError(f"space {key}={text}: expected a number, two dots and a larger number, such as 0.01..0.3")
    if scale not in (None, "log"):
        raise InputError(f"space {key}={text}: unknown scale {scale!r}: write :log, or nothing for an even one")
    if scale == "log" and low <= 0:
        raise InputError(f"space {key}={text}: a logarithmic scale has no {low}: begin above 0")
    return Range(low, high, scale == "log")


def as_text(space: Space) -> dict[str, str]:
    """Each dimension as :func:`parse_space` takes it."""
    return {
        key: f"{one.low}..{one.high}{':log' * one.log}" if isinstance(one, Range) else ",".join(map(str, one))
        for key, one in space.items()
    }


def checked_space(config: RunConfig, space: Space) -> dict[str, Dimension]:
    """The space, its ranges of whole numbers known as such. Each value is tried with each recipe, all others first.

    Raises:
        InputError: a setting that is not to be tuned, or values that do not fit.
    """
    if not space:
        raise InputError(f"the space is empty: give --space, such as {EXAMPLE}")
    for key in space:
        if key in NOT_TUNED:
            raise InputError(f"space of {key}: what is measured, and by which seed, is not tuned: leave it out")
    first = {key: corners(one)[0] for key, one in space.items()}
    recipes = corners(space["recipe"]) if "recipe" in space else [None]
    for recipe, (key, one) in product(recipes, space.items()):
        for value in corners(one):
            point = {**first, **({} if recipe is None else {"recipe": recipe}), key: value}
            try:
                build_recipe_parts(configured(config, point).recipe)
            except InputError as error:
                shown = ", ".join(f"{name}={value}" for name, value in point.items())
                raise InputError(f"space: {shown} does not fit: {error}") from error
    known = [configured(config, {**first, **({} if recipe is None else {"recipe": recipe})}) for recipe in recipes]
    return {key: _numbered(known, key, one) for key, one in space.items()}


def _numbered(known: Sequence[RunConfig], key: str, one: Dimension) -> Dimension:
    """A range, and whether it is one of whole numbers."""
    if not isinstance(one, Range):
        return one
    setting = read_settings().get(key)
    if setting is not None:
        whole = "number" not in setting.types
    else:
        whole = any(option is not None and option.annotation is int for option in (_option(c, key) for c in known))
    if whole and (one.low != int(one.low) or one.high != int(one.high)):
        raise InputError(f"space {key}={one.low}..{one.high}: expected whole numbers")
    return replace(one, whole=whole)


def corners(one: Dimension) -> Sequence[Value]:
    """The ends of a range, or all values."""
    return (one.low, one.high) if isinstance(one, Range) else one


def configured(config: RunConfig, point: Mapping[str, Any]) -> RunConfig:
    """The configuration with these settings; a ``recipe`` replaces all that the configuration says of its own.

    Raises:
        InputError: settings that do not fit.
    """
    content = config.model_dump(mode="json", exclude_none=True)
    if "recipe" in point:
        content["recipe"] = point["recipe"]
    return resolve(content, [(key, value) for key, value in point.items() if key != "recipe"], "the space")


def defaults_in(config: RunConfig, space: Space) -> dict[str, Value] | None:
    """The configuration's own point of the space; None where the space does not contain it."""
    point: dict[str, Value] = {}
    for key, one in space.items():
        value = _own_recipe(config, one) if key == "recipe" else _own_value(config, key)
        if isinstance(one, Range):
            if isinstance(value, bool) or not isinstance(value, int | float) or not one.low <= value <= one.high:
                return None
        elif not any(_same(value, other) for other in one):
            return None
        point[key] = value
    return point


def grid(space: Space) -> Iterator[dict[str, Value]]:
    """Every combination of the values.

    Raises:
        InputError: a range of numbers that are not whole, or on a logarithmic scale.
    """
    lists = []
    for key, one in space.items():
        if isinstance(one, Range):
            if not one.whole or one.log:
                raise InputError(f"space of {key}: a grid takes lists: give values, such as {key}={one.low},{one.high}")
            one = tuple(range(int(one.low), int(one.high) + 1))
        lists.append(one)
    for values in product(*lists):
        yield dict(zip(space, values, strict=True))


def _same(one: object, other: object) -> bool:
    """Equal, and true is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _own_recipe(config: RunConfig, one: Dimension) -> Value:
    """The choice that the configuration's recipe is."""
    return next((name for name in corners(one) if configured(config, {"recipe": name}).recipe == config.recipe), None)


def _own_value(config: RunConfig, key: str) -> Any:
    """The value of a dotted key, a component's default where the recipe does not state it."""
    level: Any = config.model_dump(mode="json")
    for part in key.split("."):
        if not isinstance(level, dict) or part not in level:
            option = _option(config, key)
            return None if option is None or option.default is inspect.Parameter.empty else option.default
        level = level[part]
    return level


def _option(config: RunConfig, key: str) -> inspect.Parameter | None:
    """The option of a component of the recipe, at ``recipe.TYPE.OPTION`` or ``recipe.terms.TERM.TYPE.OPTION``."""
    *path, name = key.split(".")
    kind = next((kind for kind in COMPONENT_TYPES if path[-1:] == [kind]), None)
    level: Any = {"recipe": config.recipe.model_dump()}
    for part in path:
        level = level.get(part) if isinstance(level, dict) else None
    if kind is None or not isinstance(level, dict) or not isinstance(level.get("name"), str):
        return None
    return options(find_component(kind, level["name"])).get(name)
