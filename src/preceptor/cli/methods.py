"""``preceptor methods``: every component and recipe, the models and the settings."""

import argparse
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from preceptor.cli.printing import show

EXAMPLES = """examples:
  preceptor methods
  preceptor methods --settings
  preceptor methods --json
"""

WIDTH = 110

HEADINGS = {
    "recalibration": "recalibrations: the teacher's logits repaired before anything else, without the label",
    "correction": "corrections: how wrong teacher predictions are corrected",
    "temperature": "temperatures: the softmax temperature of teacher and student",
    "selection": "selections: which samples are distilled",
    "loss": "losses: the distance between the student's and the teacher's outputs",
    "label_loss": "label losses: the distance between the student's output and the label",
    "feature_loss": "feature losses: the distance between the student's and the teacher's features",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.epilog = EXAMPLES
    parser.add_argument("--settings", action="store_true", help="list every setting of a run instead")
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def run(arguments: argparse.Namespace) -> None:
    """List and show."""
    if arguments.settings:
        from dataclasses import asdict

        from preceptor.settings import read_settings

        settings = [setting for setting in read_settings().values() if setting.description]
        show(
            arguments,
            lambda: {"settings": [asdict(setting) for setting in settings]},
            lambda: (line for setting in settings for line in _entry(setting.key, setting.explained())),
        )
        return
    content = _content()
    show(arguments, lambda: content, lambda: _lines(content))


def _content() -> dict[str, Any]:
    from preceptor.models import known_models
    from preceptor.recipes import read_recipe, recipe_names
    from preceptor.registry import components, options

    return {
        "components": [
            {
                "kind": info.kind,
                "name": info.name,
                "summary": info.summary,
                "paper": info.paper,
                "options": {
                    name: "required" if option.default is inspect.Parameter.empty else option.default
                    for name, option in options(info).items()
                },
            }
            for info in components()
        ],
        "recipes": [{"name": name, **read_recipe(name).model_dump(exclude_none=True)} for name in recipe_names()],
        "models": known_models(),
    }


def _lines(content: dict[str, Any]) -> Iterator[str]:
    kinds = dict.fromkeys(component["kind"] for component in content["components"])
    for kind in sorted(kinds, key=list(HEADINGS).index):
        yield from ("", HEADINGS[kind])
        for component in content["components"]:
            if component["kind"] == kind:
                options = ", ".join(f"{name}={value}" for name, value in component["options"].items())
                yield from _entry(component["name"], component["summary"], component["paper"])
                yield from [f"{'':27}{options}"] if options else []
    yield from ("", "recipes: preceptor distill --recipe NAME")
    for recipe in content["recipes"]:
        yield from _entry(recipe["name"], recipe["about"], recipe["paper"])
        for when in ("use", "avoid"):
            yield from _entry("", f"{when}: {recipe[when]}") if recipe[when] else ()
    yield from ("", "models: preceptor train --model NAME", *(f"  {line}" for line in content["models"]))


def _entry(name: str, summary: str, paper: str = "") -> Iterator[str]:
    wrapper = textwrap.TextWrapper(WIDTH, subsequent_indent=" " * 27, break_on_hyphens=False)  # names have hyphens
    yield from wrapper.wrap(f"  {name:<24} {summary}")
    if paper:
        yield from wrapper.wrap(f"{'':27}{paper}")
