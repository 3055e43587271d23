"""Files of ``torch.save`` that hold plain values, read without running what is in them."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

_NUMBERS = "?bhilqBHILQefd"
"""NumPy's codes of numbers. Object arrays are not among them: what they hold could be anything."""


def load_plain(path: Path) -> Any:
    """What ``torch.save`` wrote, if it is of tensors, NumPy arrays and numbers, and plain values; on the CPU.

    Unpickled with ``weights_only=True``. Allowed beside torch's own list: NumPy's arrays and scalars of numbers, and
    ``argparse.Namespace``, which training programs save beside the network.

    Raises:
        Exception: nearly anything for a damaged file, or for one that holds other objects.
    """
    with torch.serialization.safe_globals(_allowed()):
        return torch.load(path, map_location="cpu", weights_only=True)


def _allowed() -> list[Any]:
    builders = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    # NumPy 2 renamed the module that files name.
    under_both_names: list[Any] = [
        (builder, f"numpy.{core}.multiarray.{builder.__name__}")  # type: ignore[union-attr]
        for builder in builders
        for core in ("core", "_core")
    ]
    kinds = [type(np.dtype(code)) for code in _NUMBERS]
    return [*under_both_names, *kinds, np.ndarray, np.dtype, argparse.Namespace]
