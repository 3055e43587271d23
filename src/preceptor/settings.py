"""The settings of a run under flat dotted keys, as ``settings.json`` (the JSON schema of ``RunConfig``) declares them.

The schema is a file of the package so that ``--help`` need not import torch, which the model itself does.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SCHEMA_FILE = Path(__file__).with_name("settings.json")

NESTED_FLAGS = {
    "training.epochs": "--epochs",
    "training.batch_size": "--batch-size",
    "training.learning_rate": "--lr",
    "training.freeze": "--freeze",
    "training.layer_decay": "--layer-decay",
    "teacher_normalization.mean": "--teacher-mean",
    "teacher_normalization.std": "--teacher-std",
}
"""Flags of nested settings; that of a setting at the top is its own name."""

PLACES = (
    "data",
    "data_root",
    "download",
    "train_labels",
    "student_weights",
    "teacher",
    "teacher_weights",
    "cache",
    "scores",
    "audit",
    "device",
    "memory_limit",
)
"""Settings that say where something is. It may have moved when the run is resumed: its content has a digest."""


@dataclass(frozen=True)
class Setting:
    """One setting, by its dotted key.

    Attributes:
        types: JSON types of its values: string, integer, number, boolean, array, object.
        choices: the names that a value must be among; empty where it is free.
    """

    key: str
    description: str
    types: tuple[str, ...]
    choices: tuple[str, ...]
    default: Any

    @property
    def flag(self) -> str:
        """The command line's option for it, where a verb offers one."""
        return NESTED_FLAGS.get(self.key, f"--{self.key.replace('_', '-')}")

    def explained(self, default: Any = None) -> str:
        """The description with choices and default, for ``--help``."""
        default = self.default if default is None else default
        notes = [", ".join(self.choices)] if self.choices else []
        if default is not None and default is not False and not isinstance(default, dict):
            notes.append(f"default {str(default).lower() if isinstance(default, bool) else default}")
        return f"{self.description} ({'; '.join(notes)})" if notes else self.description


@cache
def read_settings() -> dict[str, Setting]:
    """Every setting by its key."""
    return settings_of(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def settings_of(schema: Mapping[str, Any]) -> dict[str, Setting]:
    """Every setting in a JSON schema, those of nested models below their model's own."""
    return {setting.key: setting for setting in _walk(schema, schema.get("$defs", {}), "")}


def _walk(model: Mapping[str, Any], models: Mapping[str, Any], prefix: str) -> Iterator[Setting]:
    for name, field in model.get("properties", {}).items():
        # pydantic writes an optional field, and one of several types, as anyOf; a nested model as a reference.
        branches = [_resolved(branch, models) for branch in field.get("anyOf", [field])]
        key, description = prefix + name, " ".join(field.get("description", "").split())
        types = tuple(branch["type"] for branch in branches if branch.get("type", "null") != "null")
        choices = tuple(choice for branch in branches for choice in branch.get("enum", ()))
        yield Setting(key, description, types, choices, field.get("default"))
        for branch in branches:
            yield from _walk(branch, models, f"{key}.")


def _resolved(field: Mapping[str, Any], models: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = field.get("$ref")
    return field if reference is None else models[reference.rpartition("/")[2]]
