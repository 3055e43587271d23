"""The packages behind ONNX files (extra ``onnx``), looked for before the work, and kept from talking."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from preceptor.teachers.onnx_runtime import package


def check_packages() -> None:
    """Make sure, before the work, that ONNX files can be written and run.

    Raises:
        MachineError: one of the packages is not installed.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        package(name)


@contextmanager
def silence() -> Iterator[None]:
    """Within it exporters and quantizers keep to themselves what their user can do nothing about.

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
