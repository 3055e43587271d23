"""The machine that measures: what it is, the time a piece of work takes on it, and the memory held."""

import os
import platform
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

from preceptor import __version__
from preceptor.teachers.optimize import bf16_unsupported_reason

_CPU_INFO = Path("/proc/cpuinfo")
_STATUS = Path("/proc/self/status")
_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16", "sve")
_SETTINGS = ("OMP_", "KMP_", "GOMP_", "MKL_", "MALLOC_", "LD_PRELOAD", "TORCH", "PYTORCH_", "CUDA_", "CUBLAS_")


class Machine(BaseModel):
    """The machine and the versions on it.

    Attributes:
        device: "cpu" or "cuda".
        cpu: name of the model.
        flags: instruction sets that matter to networks, of those it has.
        cores: of the CPU, as the system counts them.
        threads: that torch uses for one operation.
        gpu: name of the GPU in use.
        lacks_bf16: why bf16 would not be faster on the device; None where it has units for it.
        load: processes that wanted to run in the minute before; None where the system does not report it.
        settings: environment variables that change speed, files by their names alone.
        versions: of the packages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str
    cpu: str
    flags: tuple[str, ...]
    cores: int
    threads: int
    gpu: str | None
    lacks_bf16: str | None
    load: float | None
    settings: dict[str, str]
    versions: dict[str, str]

    def __str__(self) -> str:
        flags = f" with {', '.join(self.flags)}" if self.flags else ""
        parts = [f"{self.cpu}{flags}", f"{self.cores} cores", f"{self.threads} threads"]
        parts = [self.gpu, *parts] if self.gpu else parts
        bf16 = self.lacks_bf16 or "units for bf16"
        return f"{', '.join(parts)}; {bf16}; torch {self.versions['torch']}"


def this_machine(device: torch.device) -> Machine:
    """The machine this runs on."""
    import numpy
    import PIL

    versions = {"preceptor": __version__, "python": platform.python_version(), "torch": torch.__version__}
    versions |= {"numpy": numpy.__version__, "pillow": PIL.__version__}
    flags = set((_cpu_info("flags") or _cpu_info("Features")).split())
    return Machine(
        device=device.type,
        cpu=_cpu_info("model name") or platform.processor() or platform.machine(),
        flags=tuple(flag for flag in _FLAGS if flag in flags),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        lacks_bf16=bf16_unsupported_reason(device),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        settings={key: Path(value).name for key, value in sorted(os.environ.items()) if key.startswith(_SETTINGS)},
        versions=versions | ({"cuda": torch.version.cuda} if torch.version.cuda else {}),
    )


def _cpu_info(name: str) -> str:
    """Linux's entry of this name for the first core; empty without one."""
    lines = _CPU_INFO.read_text().splitlines() if _CPU_INFO.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")


def seconds_for(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds until the work is done, on the device too; what was queued before does not count."""
    _synchronize(device)
    started = time.perf_counter()
    work()
    _synchronize(device)
    return time.perf_counter() - started


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes(device: torch.device) -> int:
    """The most that tensors on a GPU have taken so far, or else this process.

    On Linux it is the process's own high-water mark, which, unlike the one of ``getrusage``, a process does not inherit
    from its parent.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    most = status_bytes("VmHWM")
    if most is not None:
        return most
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def status_bytes(entry: str) -> int | None:
    """An entry of Linux's memory status of this process; None elsewhere.

    Args:
        entry: "VmHWM" for the most it has held; now: "RssAnon" for memory of its own, "RssFile" for pages of files,
            which the system drops at need.
    """
    match = re.search(rf"{entry}:\s+(\d+) kB", _STATUS.read_text()) if _STATUS.is_file() else None
    return int(match[1]) * 1024 if match else None
