"""What a process holds epoch by epoch while it trains pupils with every kind of component; it prints that as JSON.

Run by ``test_flat_memory.py`` in a process of its own: ``python -m tests.training.flat_memory FOLDER``.
"""

import gc
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from experiments.speed.machine import status_bytes
from preceptor.teachers.cache import CacheKey, Layout, LogitCache, open_cache
from preceptor.training import Callback, Silent, Student, TrainingConfig, fit
from preceptor.training.callbacks import TrainState
from preceptor.training.checkpoint import save
from tests.classroom import digits, few, network, untrained_teacher
from tests.examples import ready

RECIPES = ("lr-ds", "revised-dynamic", "gambler", "corrected-self-adaptive", "precise-abstain-b")
EPOCHS, STEPS = 10, 5
WARM_UP = 6
"""Epochs after which every term has begun, and what is made once is made."""


class Hoarder(Silent):
    """Keeps something of every step."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []

    def step(self, epoch: int, images: int) -> None:
        self.kept.append(torch.zeros(2**18))


class EveryThird:
    """Writes a checkpoint after every third step."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.steps = folder, 0

    def after_step(self, moment: Callable[[], TrainState]) -> None:
        self.steps += 1
        if self.steps % 3 == 0:
            save(self.folder, moment())


def a_pupil(name: str) -> Student:
    loss = ready(name, len(digits().train))
    return Student(name, network(0, "convnet4", outputs=10 + loss.abstains), loss)


def a_bank(folder: Path) -> LogitCache:
    """One that fills as pupils are taught: most views of an epoch were not in those before."""
    data = digits()
    fingerprint = CacheKey.of("t", "d", data.normalization, data.augmentation, data.class_names)
    layout = Layout(samples=len(data.train), views=data.augmentation.count, classes=10)
    return open_cache(folder, fingerprint, layout, untrained_teacher())


def held() -> dict[str, int]:
    """Tensors that are alive, the bytes they lie in, and the process's own memory."""
    gc.collect()
    alive = [one for one in gc.get_objects() if type(one) in (Tensor, torch.nn.Parameter)]
    lie_in = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in alive}
    return {"tensors": len(alive), "bytes": sum(lie_in.values()), "own": status_bytes("RssAnon") or 0}


def epoch_by_epoch(names: Sequence[str], folder: Path, watcher: Callback) -> list[dict[str, int]]:
    data, found, training = digits(), [], TrainingConfig(epochs=EPOCHS, batch_size=8, learning_rate=1e-4)
    material = (data.train, few(8 * STEPS), data.augmentation, data.normalization, training)
    with a_bank(folder / "cache") as cache:
        how = {"teacher": cache, "watcher": watcher, "keeper": EveryThird(folder / "checkpoint"), "compile": "never"}
        epochs = fit([a_pupil(name) for name in names], *material, **how)
        for number, records in enumerate(epochs):
            del records
            if number >= WARM_UP:
                found.append({**held(), "cells": cache.store.count()})
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    hoarded = epoch_by_epoch(("kd",), folder / "hoarded", Hoarder())
    gc.collect()
    gc.freeze()  # what importing has made is not gone through again
    flat = epoch_by_epoch(RECIPES, folder / "flat", Silent())
    print(json.dumps({"flat": flat, "hoarded": hoarded}))


if __name__ == "__main__":
    main()
