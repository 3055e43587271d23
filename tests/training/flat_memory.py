"""Memory epoch by epoch while students train with every kind of component; printed as JSON.

Run by ``test_flat_memory.py`` in a process of its own: ``python -m tests.training.flat_memory FOLDER``.
"""

import gc
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from preceptor.teachers.cache import LogitCache
from preceptor.training import Callback, EpochRecord, Step, Student, Trainer, TrainingConfig
from preceptor.training.checkpoint import save
from tests.examples import scored
from tests.training_helpers import cache_of, data_of, digits, filled_entries, network, trainer_of, untrained_teacher

RECIPES = ("lr-ds", "revised-dynamic", "gambler", "corrected-self-adaptive", "precise-abstain-b")
EPOCHS, STEPS = 10, 5
FIRST = 6
"""Epochs before the first one measured: by then every term has begun, and what is made once is made."""


class Leaking(Callback):
    """Keeps a tensor of every step."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []

    def on_step_end(self, trainer: Trainer, step: Step) -> None:
        self.tensors.append(torch.zeros(2**18))


class SavingEveryThird(Callback):
    """Writes a checkpoint after every third step."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.steps = folder, 0

    def on_step_end(self, trainer: Trainer, step: Step) -> None:
        self.steps += 1
        if self.steps % 3 == 0 and step.number + 1 < step.steps:
            save(self.folder, trainer.state())


class Measuring(Callback):
    """Measures after each epoch."""

    def __init__(self, cache: LogitCache | None) -> None:
        self.cache, self.epochs = cache, []

    def on_epoch_end(self, trainer: Trainer, records: list[EpochRecord]) -> None:
        if records[0].epoch > FIRST:
            entries = 0 if self.cache is None else filled_entries(self.cache)
            self.epochs.append({**memory(), "entries": entries})


def memory() -> dict[str, int]:
    """Tensors that are alive, the bytes of their storages, and the memory of the process's own."""
    gc.collect()
    alive = [one for one in gc.get_objects() if type(one) in (Tensor, torch.nn.Parameter)]
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in alive}
    status = Path("/proc/self/status")
    own = re.search(r"RssAnon:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return {"tensors": len(alive), "bytes": sum(storages.values()), "own": int(own[1]) * 1024 if own else 0}


def small_student(name: str) -> Student:
    loss = scored(name, len(digits().train), classes=10)
    return Student(name, network(0, "convnet4", outputs=10 + loss.abstains), loss)


def measured(names: Sequence[str], folder: Path, *callbacks: Callback, cached: bool = True) -> list[dict[str, int]]:
    """What each epoch leaves, with a cache that fills: most views of an epoch were not in those before."""
    config = TrainingConfig(epochs=EPOCHS, batch_size=8, learning_rate=1e-4)
    cache = cache_of(folder / "cache", untrained_teacher()) if cached else None
    measuring = Measuring(cache)
    students = [small_student(name) for name in names]
    callbacks = (*callbacks, SavingEveryThird(folder / "checkpoint"), measuring)
    teacher = untrained_teacher() if cache is None else cache
    trainer_of(students, data_of(8 * STEPS), config, callbacks, teacher=teacher, compile="never").fit()
    if cache is not None:
        cache.close()
    return measuring.epochs


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    leaking = measured(("kd",), folder / "leaking", Leaking())
    gc.collect()
    gc.freeze()  # what importing has made is not gone through again
    flat = measured(RECIPES, folder / "flat")
    features = measured(("lr-fitnet",), folder / "features", cached=False)
    print(json.dumps({"leaking": leaking, "flat": flat, "features": features}))


if __name__ == "__main__":
    main()
