"""The experiments of a source checkout: they are not part of the installed package."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import preceptor
from preceptor.errors import InputError


def load_experiments(module: str) -> ModuleType:
    """Import ``experiments.MODULE`` from the checkout that this package is run from.

    Only a checkout's own folder is added to the import path, never the working directory, which may hold a stranger's
    ``experiments``.
    """
    checkout = Path(preceptor.__file__).resolve().parents[2]
    if not (checkout / "experiments" / "studies").is_dir():
        raise InputError(
            "experiments are not part of the installed package; get the source checkout, install it with "
            "`pip install --editable .`, and run this there (`preceptor demo` needs no checkout)"
        )
    if str(checkout) not in sys.path:
        sys.path.append(str(checkout))
    return importlib.import_module(f"experiments.{module}")
