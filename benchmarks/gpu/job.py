"""What an entry of the GPU list is told, and how it answers."""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.gpu.entries import PROGRESS_FILE

from preceptor.data import Dataset, ImageSet, load_dataset
from preceptor.errors import InputError
from preceptor.files import write_whole

DATA_FILE = "cifar100.npz"


class Clock:
    """Counts an entry's seconds down.

    Args:
        seconds: that it has.
    """

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; below zero when it is late."""
        return self._ends - time.monotonic()


@dataclass(frozen=True)
class Job:
    """One call of an entry.

    Attributes:
        device: where to run; with its number, since torch tells "cuda" from "cuda:0".
        folder: of the entry's own work, which the next call finds again.
        data: the data file, where it needs one.
        clock: of the call.
        out: the JSON to write in the end.
    """

    device: torch.device
    folder: Path
    data: Path | None
    clock: Clock
    out: Path

    def dataset(self) -> Dataset:
        """CIFAR-100 with its usual normalization and views.

        Raises:
            InputError: no data file, or one of another name.
        """
        if self.data is None or self.data.name != DATA_FILE:
            raise InputError(f"data {self.data}: give {DATA_FILE}, as pack_cifar100.py unpack writes it")
        return load_dataset("cifar100", root=self.data.parent)

    def on_device(self, images: ImageSet) -> ImageSet:
        """The images and labels where the entry runs."""
        return ImageSet(images.images.to(self.device), images.labels.to(self.device))

    def answer(self, result: dict[str, Any]) -> None:
        """Write what the entry came to."""
        write_whole({self.out: (json.dumps(result, indent=1, allow_nan=False) + "\n").encode()})


def note_progress(folder: Path, done: int, of: int, what: str) -> None:
    """Leave word of how much is done, for the runner."""
    content = json.dumps({"done": done, "of": of, "what": what})
    write_whole({folder / PROGRESS_FILE: content.encode()})


def entry_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of what every entry is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--folder", type=Path, required=True, help="of the entry's own work")
    parser.add_argument("--data", type=Path, help=f"{DATA_FILE}")
    parser.add_argument("--seconds", type=float, default=500, help="that the call has; default 500")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    return parser


def job_of(given: argparse.Namespace) -> Job:
    """The job that was told on the command line."""
    device = torch.device("cuda", 0) if given.device == "cuda" else torch.device("cpu")
    given.folder.mkdir(parents=True, exist_ok=True)
    return Job(device, given.folder, given.data, Clock(given.seconds), given.out)
