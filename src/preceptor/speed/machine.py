"""What was measured on."""

import os
import platform
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

from preceptor import __version__
from preceptor.teachers.optimize import bf16_unsupported_reason

_CPU_INFO = Path("/proc/cpuinfo")
_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16", "sve")
_SETTINGS = ("OMP_", "KMP_", "GOMP_", "MKL_", "MALLOC_", "LD_PRELOAD", "TORCH", "PYTORCH_", "CUDA_", "CUBLAS_")


class Machine(BaseModel):
    """The machine and what ran on it.

    Attributes:
        device: "cpu" or "cuda".
        cpu: name of the model.
        flags: instruction sets that matter to networks, of those it has.
        cores: of the CPU, as the system counts them.
        threads: that torch uses for one operation.
        gpu: name of the GPU that was used; None without.
        lacks_bf16: why bf16 would not be faster on the device; None where it has units for it.
        load: processes that wanted to run in the minute before; None where the system does not tell.
        settings: environment variables that change how fast things are, files by their names alone.
        versions: of what ran.
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
        used = [f"{self.cpu}{flags}", f"{self.cores} cores", f"{self.threads} threads"]
        used = [self.gpu, *used] if self.gpu else used
        bf16 = self.lacks_bf16 or "units for bf16"
        return f"{', '.join(used)}; {bf16}; torch {self.versions['torch']}"


def this_machine(device: torch.device) -> Machine:
    """The machine this runs on."""
    return Machine(
        device=device.type,
        cpu=_cpu_name(),
        flags=_cpu_flags(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        lacks_bf16=bf16_unsupported_reason(device),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        settings={key: Path(value).name for key, value in sorted(os.environ.items()) if key.startswith(_SETTINGS)},
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    import numpy
    import PIL

    found = {"preceptor": __version__, "python": platform.python_version()}
    found |= {"torch": torch.__version__, "numpy": numpy.__version__, "pillow": PIL.__version__}
    return found | ({"cuda": torch.version.cuda} if torch.version.cuda else {})


def _cpu_name() -> str:
    return _cpu_line("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> tuple[str, ...]:
    has = set((_cpu_line("flags") or _cpu_line("Features")).split())
    return tuple(flag for flag in _FLAGS if flag in has)


def _cpu_line(name: str) -> str:
    """What Linux says of the first core under this name; empty where it says nothing."""
    lines = _CPU_INFO.read_text().splitlines() if _CPU_INFO.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")
