"""ONNX's packages (extra ``onnx``), imported when they are needed, and a file of theirs opened on the CPU."""

from importlib import import_module
from pathlib import Path
from typing import Any

from preceptor.errors import MachineError


def package(name: str) -> Any:
    """One of onnx, onnxscript and onnxruntime, or a module of theirs.

    Raises:
        MachineError: it is not installed, or cannot be imported.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MachineError(
            f"an ONNX file needs {name}, which cannot be imported ({error}): pip install 'preceptor[onnx]'"
        ) from error


def cpu_session(path: Path, threads: int) -> Any:
    """An ONNX file in ONNX Runtime, on the CPU.

    Raises:
        MachineError: onnxruntime is missing.
        Exception: as ONNX Runtime raises where it cannot open the file; its errors have no base of their own.
    """
    runtime = package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Its threads would otherwise spin while they wait, on the cores that torch's need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised as well
    # There is nothing to fall back to: it would try again, and print that it does.
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0)
