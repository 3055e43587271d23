"""Where training runs, and with which guarantees."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from preceptor.errors import MachineError, unknown_name

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """The device asked for; "auto" takes CUDA where there is one.

    Raises:
        InputError: not one of ``DEVICES``.
        MachineError: CUDA was asked for and is not there.
    """
    if name not in DEVICES:
        raise unknown_name("device", name, DEVICES)
    if name == "cuda" and not torch.cuda.is_available():
        raise MachineError("device cuda: torch finds no CUDA device: use --device cpu, or a CUDA build of torch")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@contextmanager
def deterministic() -> Iterator[None]:
    """Within it torch keeps to algorithms that give the same bits each time, and says so when it cannot.

    Convolutions in fp32 are then fp32 on CUDA too: torch's own default rounds their inputs to TF32. Memory that is
    about to be written over is not filled first: torch does so in this mode for whoever reads it unwritten, which takes
    5 to 10 % of a step.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA asks for; read at the first matmul
    cudnn = torch.backends.cudnn
    mode, benchmark, tf32 = torch.get_deterministic_debug_mode(), cudnn.benchmark, cudnn.allow_tf32
    settings: Any = torch.utils.deterministic  # a module that type checkers do not see through
    fills = settings.fill_uninitialized_memory
    torch.set_deterministic_debug_mode("warn")  # torch.use_... also changes the compiler, for good
    cudnn.benchmark, cudnn.allow_tf32 = False, False
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        cudnn.benchmark, cudnn.allow_tf32 = benchmark, tf32
        settings.fill_uninitialized_memory = fills
