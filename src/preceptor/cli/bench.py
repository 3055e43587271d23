"""``preceptor bench``: training speed on this machine against a baseline loop, measured by the source checkout."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import preceptor
from preceptor.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    _verb().add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure and show."""
    _verb().run(arguments)


def _verb() -> ModuleType:
    """``experiments.speed.verb`` of the checkout that this package is run from, which no installed package has.

    Only a checkout's own folder is added to the import path, never the working directory, which may hold a stranger's
    ``experiments``.
    """
    checkout = Path(preceptor.__file__).resolve().parents[2]
    if not (checkout / "experiments" / "speed").is_dir():
        raise InputError(
            "experiments are not part of the installed package; get the source checkout, install it with "
            "`pip install --editable .`, and run this there (`preceptor demo` needs no checkout)"
        )
    if str(checkout) not in sys.path:
        sys.path.append(str(checkout))
    return import_module("experiments.speed.verb")
