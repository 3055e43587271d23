"""How much memory was held at most."""

import re
import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")


def peak_bytes(device: torch.device) -> int:
    """The most that tensors on a GPU have taken so far, or else this process.

    On Linux it is the process's own high-water mark, which, unlike the one of ``getrusage``, a process does not inherit
    from the one that started it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    most = status_bytes("VmHWM")
    if most is not None:
        return most
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def status_bytes(entry: str) -> int | None:
    """What Linux says of this process's memory; None elsewhere.

    Args:
        entry: "VmHWM" for the most it has held; now: "RssAnon" for memory of its own, "RssFile" for pages of files,
            which the system drops at need.
    """
    found = re.search(rf"{entry}:\s+(\d+) kB", _STATUS.read_text()) if _STATUS.is_file() else None
    return int(found[1]) * 1024 if found else None
