"""What differs between the recipes of a comparison, readable: a line a recipe, a column a part of it."""

from collections.abc import Mapping
from typing import Any

from preceptor.compare.comparison_result import ComparisonResult

PARTS = ("recalibration", "correction", "temperature", "selection")
"""Parts of a recipe with a column of their own; its loss terms and all other settings have one each."""

LOSSES, OTHERS = "losses", "other settings"

_OF_TEACHERS = ("teacher", "teachers", "teacher_output", "teacher_normalization", "cache")
_DEFAULTS = {"since": 0.0, "until": 1.0, "warmup": 0.0, "reduction": "batch", "where": None}
"""Of a loss term, not worth a word."""


def setting_rows(result: ComparisonResult) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Headings, and by recipe the settings in which it differs from others; what is varied is left out.

    Teachers are left out too. Of several arms of a recipe the first stands for all.
    """
    varied = (*result.plan.get("vary", {}), *_OF_TEACHERS)
    keys = [key for key in result.differing if not any(key == one or key.startswith(f"{one}.") for one in varied)]
    rows: dict[str, dict[str, str]] = {}
    for place, arm in enumerate(result.arms):
        own = {key: result.differing[key][place] for key in keys if result.differing[key][place] is not None}
        rows.setdefault(arm.recipe, _parts(own))
    headings = [name for name in (*PARTS, LOSSES, OTHERS) if any(row.get(name) for row in rows.values())]
    return headings, [(recipe, [row.get(name) or "–" for name in headings]) for recipe, row in rows.items()]


def _parts(settings: Mapping[str, Any]) -> dict[str, str]:
    """Text by column."""
    left = dict(settings)
    text = {name: _component(_taken(left, f"recipe.{name}."), name) for name in PARTS}
    terms: dict[str, dict[str, Any]] = {}
    for key, value in _taken(left, "recipe.terms.").items():
        name, _, rest = key.partition(".")
        terms.setdefault(name, {})[rest] = value
    text[LOSSES] = ", ".join(_term(name, own) for name, own in terms.items())
    text[OTHERS] = ", ".join(f"{key.removeprefix('recipe.')} {_plain(value)}" for key, value in left.items())
    return text


def _taken(settings: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The settings below a key, taken away from the others."""
    names = [key for key in settings if key.startswith(prefix)]
    return {key.removeprefix(prefix): settings.pop(key) for key in names}


def _component(options: Mapping[str, Any], part: str = "") -> str:
    """A component with its options: "fixed (4)", as an option with the name of its part needs none."""
    name = str(options.get("name", "")).replace("_", " ")
    words = {key: "" if key == part else key.replace("_", " ") for key in options if key != "name"}
    rest = ", ".join(f"{word} {_plain(options[key])}".strip() for key, word in words.items())
    return f"{name} ({rest})" if name and rest else name or rest


def _term(name: str, options: Mapping[str, Any]) -> str:
    """A loss term: "0.9 kl (where selected)"."""
    own = dict(options)
    kinds = [_component(_taken(own, f"{kind}.")) for kind in ("loss", "label_loss", "feature_loss")]
    weight = _plain(own.pop("weight", 1.0))
    rest = [
        f"{key.replace('_', ' ')} {_plain(value)}"
        for key, value in own.items()
        if value != _DEFAULTS.get(key, object())
    ]
    called = " ".join(kind for kind in kinds if kind) or name.replace("_", " ")
    return " ".join(
        part for part in ("" if weight == "1" else weight, called, f"({', '.join(rest)})" if rest else "") if part
    )


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
