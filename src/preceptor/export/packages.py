"""The packages behind ONNX files (extra ``onnx``), imported when they are needed, and kept from talking."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from preceptor.errors import EnvironmentProblem


def package(name: str) -> Any:
    """One of onnx, onnxscript and onnxruntime, or a module of theirs.

    Raises:
        EnvironmentProblem: it is not installed, or cannot be imported.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise EnvironmentProblem(
            f"an ONNX file needs {name}, which cannot be imported ({error}): pip install 'preceptor[onnx]'"
        ) from error


def check_packages() -> None:
    """Make sure, before the work, that ONNX files can be written and run.

    Raises:
        EnvironmentProblem: one of the packages is not installed.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        package(name)


@contextmanager
def silence() -> Iterator[None]:
    """Within it exporters and quantisers keep to themselves what their user can do nothing about.

    What goes wrong is raised, and what they write is run and compared.
    """
    disabled, handlers = logging.root.manager.disable, logging.root.handlers[:]
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        logging.root.handlers[:] = handlers  # logging.warning() adds one where there is none
