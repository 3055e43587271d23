"""A small run on digits, tracked; one that was cut off in its second epoch and resumed; what they had to log."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from preceptor.integrations import tracking
from preceptor.run import resolve, resume, run
from preceptor.run import train as train_module
from preceptor.training import Callback
from preceptor.training.checkpoint import CheckpointCallback

SETTINGS: dict[str, Any] = {
    "student": "convnet4",
    "recipe": "none",
    "train_images": 200,
    "training": {"epochs": 2, "batch_size": 64},
    "device": "cpu",
    "precision": "fp32",
}
STEPS = 8
"""Of the run: four an epoch, and losses are logged after each."""


class Losses(Callback):
    """Keeps what is logged of the losses, by step."""

    def __init__(self) -> None:
        self.by_step: dict[int, Mapping[str, float]] = {}

    def on_log(self, trainer, losses) -> None:
        self.by_step[trainer.completed_steps] = losses["student"]


class AfterFirstEpoch(CheckpointCallback):
    """Writes one checkpoint, after the first epoch."""

    def on_epoch_end(self, trainer, records) -> None:
        self.seconds = 0 if records[0].epoch == 1 else math.inf
        super().on_epoch_end(trainer, records)
        self.seconds = math.inf


class PowerCut(Callback):
    """Ends the process after so many steps, as far as a process can show it to itself."""

    def on_step_end(self, trainer, step) -> None:
        if trainer.completed_steps == 7:
            raise RuntimeError("power cut")


def tracked_run(place: str, folder: Path) -> Losses:
    losses = Losses()
    with tracking([place], folder) as trackers:
        run(resolve(SETTINGS), folder, [losses, *trackers])
    return losses


def cut_off_and_resumed(place: str, folder: Path) -> None:
    """Checkpoint after step 4, cut off after step 7, of which steps 5 and 6 are logged; then resumed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "CheckpointCallback", AfterFirstEpoch)
        with pytest.raises(RuntimeError, match="power cut"), tracking([place], folder) as trackers:
            run(resolve(SETTINGS), folder, [PowerCut(), *trackers], checkpoint_seconds=math.inf)
    with tracking([place], folder) as trackers:
        resume(folder, trackers)


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def expected_scalars(folder: Path, losses: Losses) -> dict[str, list[tuple[int, float]]]:
    """Some of what a tracker must hold, by name: steps and values."""
    first, second, end = entries(folder)
    steps = sorted(losses.by_step.items())
    assert [step for step, _ in steps] == list(range(1, STEPS + 1))
    both = [(STEPS // 2, first), (STEPS, second)]
    return {
        "loss/ce": [(step, terms["ce"]) for step, terms in steps],
        "loss/total": [(step, terms["total"]) for step, terms in steps],
        "epoch/total": [(step, entry["total"]) for step, entry in both],
        "epoch/losses/ce": [(step, entry["losses"]["ce"]) for step, entry in both],
        "epoch/train_accuracy": [(step, entry["train_accuracy"]) for step, entry in both],
        "epoch/validation_accuracy": [(step, entry["validation_accuracy"]) for step, entry in both],
        "validation/accuracy": [(STEPS, end["validation"]["accuracy"])],
        "test/accuracy": [(STEPS, end["test"]["accuracy"])],
        "test/nll": [(STEPS, end["test"]["nll"])],
        "training_images": [(STEPS, 200)],
    }


PAGE = "<!doctype html><title>tried</title><p>a page"


def log_page(place: str, folder: Path) -> None:
    """Add a page to the complete run's."""
    (folder / "evaluation.html").write_text(PAGE)
    with tracking([place], folder) as trackers:
        trackers[0].log_page(folder / "evaluation.html")
