"""Finished runs: their settings, their data sets, and the images they learned from."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from preceptor.data import Dataset, ImageSet
from preceptor.data.dataset import image_digests
from preceptor.data.lazy import Inputs, taken
from preceptor.errors import InputError
from preceptor.files import MOST_JSON_BYTES
from preceptor.loss import DistillationLoss
from preceptor.recipes import build_recipe_parts
from preceptor.registry import registered_name
from preceptor.run.config import RunConfig, resolve
from preceptor.run.folder import METRICS_FILE, RUN_FILE, read_run
from preceptor.run.set_up import data_fingerprint, data_key, split, training_data


@dataclass(frozen=True)
class SavedRun:
    """A run from its folder; ``record`` holds facts such as fingerprints of its data."""

    folder: Path
    config: RunConfig
    record: Mapping[str, Any]

    @property
    def fitted_on_held_out(self) -> str | None:
        """A component that was fitted on the held-out images; None where they were only measured."""
        loss = DistillationLoss(**build_recipe_parts(self.config.recipe))
        fitted = [one for one in loss.unfitted if getattr(one, "needs_held_out", True)]
        return registered_name(fitted[0]) if fitted else None


def saved_run(folder: Path) -> SavedRun | None:
    """The run of a folder; None where it holds none, such as a student that was copied."""
    path = folder / RUN_FILE
    if not path.is_file():
        return None
    settings, record = read_run(folder)
    return SavedRun(folder, resolve(settings, where=str(path)), record)


@dataclass(frozen=True)
class EpochLine:
    """What ``metrics.jsonl`` has of one epoch.

    Attributes:
        epoch: from 1.
        losses: mean of each term, as weighted in the total, and of the total.
        train_accuracy: on the augmented images as they were met.
        held_out_accuracy: after the epoch; None where nothing was held out.
    """

    epoch: int
    losses: dict[str, float]
    train_accuracy: float
    held_out_accuracy: float | None


def read_epochs(folder: Path) -> list[EpochLine]:
    """The epochs of a run, in order; none where its folder has no record of them, or one that is not whole."""
    path = folder / METRICS_FILE
    if not path.is_file() or path.stat().st_size > MOST_JSON_BYTES:
        return []
    try:
        with path.open(encoding="utf-8") as file:
            entries = [json.loads(line) for line in file]
        # A resumed run may have an epoch twice: the later one counts.
        by_epoch = {int(one["epoch"]): one for one in entries if one["event"] == "epoch"}
        return [_epoch_line(epoch, entry) for epoch, entry in sorted(by_epoch.items())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return []


def _epoch_line(epoch: int, entry: Mapping[str, Any]) -> EpochLine:
    held_out = entry.get("validation_accuracy")
    terms = {str(name): float(loss) for name, loss in entry["losses"].items()}
    return EpochLine(
        epoch=epoch,
        losses=terms | {"total": float(entry["total"])},
        train_accuracy=float(entry["train_accuracy"]),
        held_out_accuracy=None if held_out is None else float(held_out),
    )


class DatasetCache:
    """Data sets of past runs, each read once.

    Args:
        data_root: where named data sets are now; None is where they were for each run.
        download: fetch a named data set that is not there. Default: where the run did.
    """

    def __init__(self, data_root: Path | None = None, download: bool = False) -> None:
        changes = {"data_root": data_root, "download": download}
        self._changes = {key: value for key, value in changes.items() if value}
        self._read: dict[str, Dataset] = {}

    def dataset(self, run: SavedRun) -> Dataset:
        """The data set of a run, with the labels it was trained on.

        Raises:
            InputError: it cannot be read, or is not what it was then.
        """
        config = run.config.model_copy(update=self._changes)
        key = data_key(config)
        if key not in self._read:
            self._read[key] = training_data(config)
        fingerprints = run.record.get("fingerprints")
        then = fingerprints.get("data") if isinstance(fingerprints, dict) else None
        if then != data_fingerprint(self._read[key]):
            raise InputError(
                f"{run.folder}: was trained on other data than {run.config.data} holds now; restore that data"
            )
        return self._read[key]

    def held_out(self, run: SavedRun) -> ImageSet:
        """The images that a run held out."""
        _, held_out = split(run.config, self.dataset(run))
        return self.dataset(run).train_and_validation().take(held_out)

    def learned_from(self, run: SavedRun) -> Inputs:
        """The images that a run learned from, those among them that only a component was fitted on."""
        dataset = self.dataset(run)
        index, held_out = split(run.config, dataset)
        images = dataset.train_and_validation().images
        return taken(images, torch.cat([index, held_out]) if run.fitted_on_held_out else index)


def teachers_behind(run: SavedRun) -> Iterator[SavedRun | Path]:
    """Every teacher of a run, and theirs in turn; a path where no run is known."""
    cached = [Path(run.config.cache)] if run.config.cache is not None and not run.config.teachers else []
    for path in (*run.config.teachers, *cached):
        teacher = saved_run(path)
        yield teacher or path
        if teacher is not None:
            yield from teachers_behind(teacher)


def number_among(images: Inputs, others: Inputs) -> int:
    """How many images are, pixel for pixel, among others."""
    known = set(image_digests(others))
    return sum(digest in known for digest in image_digests(images))
