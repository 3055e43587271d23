"""What a training came to, as the JSON of an entry."""

import statistics
from collections.abc import Sequence
from typing import Any

import torch
from benchmarks.gpu.slices import Course, Stand
from torch import nn

from preceptor.data import Dataset
from preceptor.errors import InputError
from preceptor.metrics import evaluate
from preceptor.metrics.logits import network_logits
from preceptor.training.device import deterministic

EPOCHS_SHOWN = 12


def measured(network: nn.Module, dataset: Dataset, device: torch.device, abstains: bool = False) -> dict[str, float]:
    """How good a network is on the test set, in fp32; looked at once, after the last epoch.

    Raises:
        InputError: there is no test set.
    """
    if dataset.test is None:
        raise InputError(f"{dataset.name}: has no test images: give the whole data set")
    with deterministic():  # in fp32 throughout: convolutions on CUDA round their inputs otherwise
        logits = network_logits(network.to(device), dataset.normalization, dataset.test.images.to(device))
    found = evaluate(logits, dataset.test.labels, abstains)
    kept = {"images": found.n, "accuracy": found.accuracy, "top5_accuracy": found.top5_accuracy, "nll": found.nll}
    return {name: value for name, value in kept.items() if value is not None}


def course_outcome(course: Course, stand: Stand, unit: int) -> dict[str, Any]:
    """Settings, time, and how the pupils did on what they were shown, a dozen times in the training."""
    firsts = [epoch[0] for epoch in stand.records]
    return {
        "settings": {**course.identity, "compile": course.compile, "epochs_a_slice": unit},
        "training_seconds": round(sum(epoch["seconds"] for epoch in firsts), 1),
        "images_per_second": round(statistics.median(epoch["images_per_second"] for epoch in firsts), 1),
        "epochs": [[_shown(record) for record in stand.records[place]] for place in _some(len(stand.records))],
    }


def _some(epochs: int) -> Sequence[int]:
    """Places of up to a dozen epochs, evenly spaced, the last one among them."""
    shown = min(epochs, EPOCHS_SHOWN)
    return [epochs * number // shown - 1 for number in range(1, shown + 1)]


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    kept = ("pupil", "epoch", "learning_rate", "total", "train_accuracy", "corrected", "temperature")
    return {name: record[name] for name in kept if record[name] is not None}
