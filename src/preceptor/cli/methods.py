"""``preceptor methods``: every registered component and recipe, and the models there are."""

import argparse
import inspect
import json
import sys
import textwrap
from typing import Any

EXAMPLES = """examples:
  preceptor methods
  preceptor methods --json
"""

WIDTH = 110

SEATS = {
    "correction": "corrections: what the teacher's word becomes where it is wrong",
    "temperature": "temperatures: how softly the teacher speaks",
    "selection": "selections: which samples the teacher teaches",
    "loss": "matches: how far the student is from the teacher's word",
    "label_loss": "ground truth: what the label itself teaches",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.epilog = EXAMPLES
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def run(arguments: argparse.Namespace) -> None:
    """List and show."""
    from preceptor.models import known_models
    from preceptor.recipes import read_recipe, recipe_names
    from preceptor.registry import components, options

    known = [
        {
            "kind": info.kind,
            "name": info.name,
            "summary": info.summary,
            "paper": info.paper,
            "options": {name: _default(option.default) for name, option in options(info).items()},
        }
        for info in components()
    ]
    recipes = [{"name": name, **read_recipe(name).model_dump(exclude_none=True)} for name in recipe_names()]
    if arguments.json:
        json.dump({"components": known, "recipes": recipes, "models": known_models()}, sys.stdout)
        print()
    else:
        _show(known, recipes)
        print("\nmodels: preceptor train --model NAME")
        for line in known_models():
            print(f"  {line}")


def _default(value: object) -> object:
    return "required" if value is inspect.Parameter.empty else value


def _show(known: list[dict[str, Any]], recipes: list[dict[str, Any]]) -> None:
    for kind, heading in SEATS.items():
        print(f"\n{heading}")
        for component in (entry for entry in known if entry["kind"] == kind):
            _entry(component["name"], component["summary"], component["paper"])
            if component["options"]:
                print(f"{'':27}{', '.join(f'{name}={value}' for name, value in component['options'].items())}")
    print("\nrecipes: preceptor distill --recipe NAME")
    for entry in recipes:
        _entry(entry["name"], entry["about"], entry["paper"])


def _entry(name: str, summary: str, paper: str) -> None:
    wrapper = textwrap.TextWrapper(WIDTH, subsequent_indent=" " * 27, break_on_hyphens=False)  # names have hyphens
    print(wrapper.fill(f"  {name:<25}{summary}"))
    print(wrapper.fill(f"{'':27}{paper}"))
