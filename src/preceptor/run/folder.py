"""A run is a folder: ``run.yaml``, ``metrics.jsonl``, ``student.safetensors``, ``student.json``.

Of several processes that train together the first alone writes.
"""

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

from preceptor import __version__
from preceptor.config import read_yaml
from preceptor.data.lazy import Inputs, LazyInputs
from preceptor.errors import InputError, MachineError
from preceptor.files import check_writable, remains, write_whole
from preceptor.models.store import WEIGHTS_FILE
from preceptor.run.lock import LOCK_FILE
from preceptor.training.callbacks import Callback
from preceptor.training.distributed import rank

RUN_FILE = "run.yaml"
METRICS_FILE = "metrics.jsonl"
SKIPPED_FILE = "skipped_images.txt"
"""A line for each image that was left out, with the reason; absent when none was."""
TENSORBOARD_FOLDER = "tensorboard"
"""Event files of a run that is tracked with TensorBoard, unless they go elsewhere."""
TRACKING_FOLDER = "tracking"
"""Of a run that is tracked: what it takes to go on in the same run of each tracker."""


class RunFolder:
    """A run's folder, and the writing of its record.

    Args:
        path: absent or empty, unless the run is resumed.
        resumed: whether it is. Default False.

    Attributes:
        callbacks: told of every line that is added to ``metrics.jsonl``.

    Raises:
        InputError: the folder of a new run holds something, or is a file: nothing is ever overwritten.
        MachineError: it cannot be made or written.
    """

    def __init__(self, path: Path, *, resumed: bool = False) -> None:
        self.path = path
        self.callbacks: Sequence[Callback] = ()
        if rank() > 0:
            return
        if not resumed:
            check_free(path)
        check_writable(path)
        clear_remains(path)

    def write_config(self, config: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Write ``run.yaml``: the resolved settings, and a record of versions, machine and fingerprints."""
        content = {"config": config, "record": dict(record)}
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        if rank() == 0:
            write_whole({self.path / RUN_FILE: text.encode()})

    def write_skipped(self, skipped: Sequence[str]) -> None:
        """Write ``skipped_images.txt``, unless no image was skipped."""
        if skipped and rank() == 0:
            text = "".join(f"{' '.join(line.split())}\n" for line in skipped)
            write_whole({self.path / SKIPPED_FILE: text.encode(errors="backslashreplace")})

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add one line to ``metrics.jsonl``, and tell the callbacks."""
        path = self.path / METRICS_FILE
        if rank() > 0:
            return
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())  # a checkpoint newer than its metrics would never write them again
        except OSError as error:
            raise MachineError(f"{path}: cannot be written: {error.strerror}") from error
        for callback in self.callbacks:
            callback.on_entry(self.path, entry)


def read_run(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration and the record in a run's ``run.yaml``."""
    content = read_yaml(folder / RUN_FILE)
    if set(content) != {"config", "record"} or not all(isinstance(part, dict) for part in content.values()):
        raise InputError(f"{folder / RUN_FILE}: holds no run's configuration and record: give a run's folder")
    return content["config"], content["record"]


def check_free(path: Path) -> None:
    """Check that a folder is absent or empty, so that nothing is overwritten."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file, a run needs a folder: choose another --out")
    if path.is_dir() and set(path.iterdir()) - set(remains(path)):
        if (path / RUN_FILE).is_file() and not (path / WEIGHTS_FILE).exists():
            raise InputError(f"{path}: holds a stopped run: preceptor resume {path}, or choose another --out")
        raise InputError(f"{path}: not empty; a run never overwrites: choose another --out, or remove it first")


def clear_remains(path: Path) -> None:
    """Remove what a killed process left unfinished. The caller must hold the folder."""
    for part in remains(path):
        if part.name != LOCK_FILE:
            part.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions of everything that the numbers depend on, and the machine."""
    packages = {name: metadata.version(name) for name in ("torch", "numpy", "scikit-learn")}
    return {"preceptor": __version__, "python": platform.python_version(), **packages, "machine": _machine()}


def _machine() -> str:
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.machine()}, {os.cpu_count()} cores, {accelerator}"


def fingerprint(parts: Mapping[str, Inputs]) -> str:
    """SHA-256 of names, types, shapes and bytes of tensors, in the order of their names.

    Of lazy inputs their digests count, and how they are made.
    """
    digest = hashlib.sha256()
    for name in sorted(parts):
        part = parts[name]
        if isinstance(part, LazyInputs):
            digest.update(f"{name} {part.identity()} {len(part)}".encode())
            digest.update(b"".join(part.digests()))
            continue
        tensor = part.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
