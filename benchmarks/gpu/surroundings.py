"""What a Python has to run the list with: packages, their versions, and the machine. Prints JSON.

It is run by the runner in the Python, and with the import path, that the entries will have.
"""

import importlib
import json
import os
import platform
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODULES = {"scikit-learn": "sklearn", "pyyaml": "yaml", "pillow": "PIL"}
"""What the packages of these names are imported as; others go by their own names."""
ALSO_SHOWN = ("triton", "timm", "torchmetrics", "onnxruntime")


def core_dependencies() -> list[str]:
    """Names of the packages that the library cannot do without."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [requirement.split(">")[0].strip() for requirement in project["dependencies"]]


def lacking(packages: Iterable[str]) -> dict[str, str]:
    """The packages that cannot be imported, and why: a package may be there and lack one of its own needs."""
    reasons = {}
    for package in packages:
        try:
            importlib.import_module(MODULES.get(package, package))
        except ImportError as error:
            reasons[package] = str(error)
    return reasons


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the numbers depend on of the machine; nothing that tells whose it is."""
    import torch

    about: dict[str, Any] = {
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "gpu": None,
    }
    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        about["gpu"] = {
            "name": found.name,
            "memory_gib": round(found.total_memory / 2**30, 1),
            "multiprocessors": found.multi_processor_count,
            "capability": f"{found.major}.{found.minor}",
        }
    return about


def surroundings() -> dict[str, Any]:
    """All of it. Without torch there is no machine to describe."""
    needed = core_dependencies()
    reasons = lacking(needed)
    return {
        "lacking": reasons,
        "versions": versions([*needed, *ALSO_SHOWN]),
        "machine": None if "torch" in reasons else machine(),
    }


if __name__ == "__main__":
    json.dump(surroundings(), sys.stdout)
