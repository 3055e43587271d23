"""Two recipes in one: ``a+b`` takes each slot from the recipe that fills it."""

from collections.abc import Mapping
from typing import Any

from preceptor.component_types import declares
from preceptor.errors import InputError
from preceptor.registry import find_component

SLOTS = ("recalibration", "correction", "correction_where", "temperature", "selection")
NO_TEMPERATURE = {"name": "fixed", "temperature": 1.0}
"""What losses get in a recipe that names none."""


def composed(named: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One recipe of several.

    A slot is taken from the recipe that fills it, and terms are those of all. The losses of one recipe then see the
    correction, the temperature and the selection of another: that is what a composition is for.

    Args:
        named: content of recipe files, by recipe.

    Raises:
        InputError: two recipes fill a slot differently, or have a term of one name that differs; the slot is named.
    """
    slots: dict[str, Any] = {}
    for slot in SLOTS:
        filled = {name: content[slot] for name, content in named.items() if content.get(slot) is not None}
        if filled:
            slots[slot] = _only(slot, filled)
    by_term: dict[str, dict[str, Any]] = {}
    for name, content in named.items():
        for term, value in content.get("terms", {}).items():
            by_term.setdefault(term, {})[name] = value
    return {
        "about": "; with ".join(content.get("about", name) for name, content in named.items()),
        "paper": "; ".join(content.get("paper", name) for name, content in named.items()),
        **slots,
        "terms": {term: _only(f"terms.{term}", filled) for term, filled in by_term.items()},
    }


def with_temperature(content: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe with the temperature that its losses have in it: 1 where it names none, which it keeps to in a join."""
    losses = [_spelled(term["loss"])["name"] for term in content["terms"].values() if term.get("loss")]
    takes_it = any(not declares(find_component("loss", name).cls, "own_temperatures") for name in losses)
    return {**content, "temperature": content.get("temperature") or NO_TEMPERATURE} if takes_it else dict(content)


def _only(slot: str, filled: Mapping[str, Any]) -> Any:
    """What the recipes that fill a slot agree on."""
    first, *others = filled.values()
    if any(_spelled(other) != _spelled(first) for other in others):
        told = " and ".join(f"{name} ({_shown(value)})" for name, value in filled.items())
        raise InputError(
            f"recipe {'+'.join(filled)}: both fill {slot}: {told}: set what differs by recipe.{slot}.KEY=VALUE, or "
            "copy one into a YAML file and join them there"
        )
    return first


def _spelled(value: Any) -> Any:
    """A component by its bare name is the same as a mapping with nothing but the name."""
    return {"name": value} if isinstance(value, str) else value


def _shown(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return ", ".join(f"{key}: {_shown(part)}" for key, part in value.items())
