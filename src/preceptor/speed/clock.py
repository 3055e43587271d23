"""Seconds, on whatever device."""

import time
from collections.abc import Callable

import torch


def seconds_for(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds until the work is done, on the device too; what was issued before does not count."""
    _settle(device)
    started = time.perf_counter()
    work()
    _settle(device)
    return time.perf_counter() - started


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
