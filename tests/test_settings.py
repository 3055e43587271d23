"""Settings are declared once, in the models: the schema and the flags follow."""

import argparse
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from preceptor.cli.options import add_settings, flag_settings
from preceptor.run import RunConfig, resolve
from preceptor.settings import NESTED_FLAGS, Setting, read_settings, settings_of
from tools.settings import json_schema


def test_the_schema_in_the_package_is_the_models():
    assert settings_of(json_schema()) == read_settings(), "run: python tools/settings.py"


def test_every_setting_but_those_of_a_recipe_is_described():
    for key, setting in read_settings().items():
        assert setting.description or key.startswith("recipe."), key


def test_defaults_are_the_models():
    config = resolve({}).model_dump(mode="json")
    for key, setting in read_settings().items():
        if "." not in key and key not in ("recipe", "training"):  # of these the default is a name
            assert setting.default == config[key]


class Inner(BaseModel):
    rate: float = Field(default=0.5, description="how fast")


class Outer(BaseModel):
    mode: Literal["a", "b"] = Field(default="a", description="which\nway")
    size: int | None = None
    paths: Path | tuple[Path, ...] | None = None
    on: bool = True
    inner: Inner = Inner()
    other: Inner | None = None


def test_nested_optional_and_several_types_are_read():
    settings = settings_of(Outer.model_json_schema())
    assert settings["mode"] == Setting("mode", "which way", ("string",), ("a", "b"), "a")
    assert settings["mode"].explained() == "which way (a, b; default a)"
    assert settings["size"].types == ("integer",)
    assert settings["paths"].types == ("string", "array")
    assert settings["on"].explained() == " (default true)"
    assert settings["inner.rate"] == settings["other.rate"].__class__("inner.rate", "how fast", ("number",), (), 0.5)
    assert list(settings) == ["mode", "size", "paths", "on", "inner", "inner.rate", "other", "other.rate"]


VALUES = {"boolean": ([], True), "integer": (["3"], 3), "number": (["0.25"], 0.25), "string": (["x"], "x")}
NUMBERS = ["0.5,0.25"], [0.5, 0.25]


@pytest.mark.parametrize("key", [*(key for key in RunConfig.model_fields), *NESTED_FLAGS])
def test_a_flag_sets_its_key_and_nothing_else(key):
    parser = argparse.ArgumentParser()
    add_settings(parser, (key,))
    assert flag_settings(parser.parse_args([])) == []
    kinds = [kind for kind in VALUES if kind in read_settings()[key].types]
    if "string" in kinds:
        kinds = ["string"]  # true or false are words then
    several_numbers = read_settings()[key].types == ("array",)
    if not (kinds or several_numbers):
        return  # a mapping by key=value alone
    words, value = NUMBERS if several_numbers else VALUES[kinds[0]]
    several = key in ("teacher", "training.freeze")
    parsed = parser.parse_args([read_settings()[key].flag, *words])
    assert flag_settings(parsed) == [(key, [value] if several else value)]
