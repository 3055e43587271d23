"""The packages of the extra ``onnx``, imported when they are needed, and ONNX Runtime sessions on the CPU."""

from pathlib import Path
from typing import Any

from preceptor.extras import import_extra


def package(name: str) -> Any:
    """Import onnx, onnxscript or onnxruntime, or one of their modules; errors as of ``import_extra``."""
    return import_extra(name, "onnx", "an ONNX file")


def cpu_session(path: Path, threads: int) -> Any:
    """A session of ONNX Runtime on the CPU for an ONNX file.

    Raises:
        MachineError: onnxruntime is missing.
        Exception: where ONNX Runtime cannot open the file; its errors have no common base class.
    """
    runtime = package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Otherwise its threads spin while they wait, on the cores that torch needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors are raised as well
    # There is nothing to fall back to; it would only try again, and print so.
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0)
