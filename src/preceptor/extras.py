"""Packages that extras of preceptor install, imported when they are first needed."""

from importlib import import_module
from typing import Any

from preceptor.errors import MachineError, first_line


def import_extra(module: str, extra: str, use: str) -> Any:
    """A module of an extra's package; ``use``, such as "a page", is what needs it.

    Raises:
        MachineError: the package is not installed, or cannot be imported.
    """
    try:
        return import_module(module)
    except (ImportError, RuntimeError, OSError) as error:  # an extension of another torch is a RuntimeError
        raise missing_extra(error, module, extra, use) from error


def missing_extra(error: Exception, module: str, extra: str, use: str) -> MachineError:
    """The error for a module that cannot be imported."""
    package, remedy = module.partition(".")[0], f"pip install 'preceptor[{extra}]'"
    if isinstance(error, ModuleNotFoundError) and error.name in (package, module):
        return MachineError(f"{use} needs {package}, which is not installed: {remedy}")
    if extra in ("vision", "transformers"):
        import torch

        none = ", or none" if extra == "transformers" else ""
        remedy = f"install the torchvision build that matches torch {torch.__version__}{none}"
    return MachineError(
        f"{use} needs {package}, which is installed but cannot be imported ({first_line(error)}): {remedy}"
    )
