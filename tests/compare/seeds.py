"""Seeds that fail and end; importable by worker processes."""

import os
import signal
import time
import warnings
from types import SimpleNamespace
from typing import Any

from preceptor.compare.parallel import Counter
from preceptor.errors import InputError, Interrupted

NO_TRAINER: Any = SimpleNamespace(data=SimpleNamespace(rows_per_sample=1))
"""A counter looks at steps alone."""


def step_of(images: int) -> Any:
    """A step whose batch has so many labels."""
    return SimpleNamespace(batch=SimpleNamespace(label=range(images)))


def doubled(seed: int, counter: Counter) -> int:
    for _ in range(5):
        counter.on_step_end(NO_TRAINER, step_of(10))
    return 2 * seed


def bad_seed(seed: int, counter: Counter) -> int:
    if seed == 1:
        raise InputError("seed 1 has no data")
    time.sleep(60)
    return seed


def warnings_as_by_pillow(counter: Counter) -> int:
    """How many of one, of Pillow's, are shown."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.warn_explicit("damaged", UserWarning, "TiffImagePlugin.py", 1, module="PIL.TiffImagePlugin")
    return len(seen)


def killed_if_first(number: int, counter: Counter) -> int:
    """The first is killed, as by a system that has no memory left."""
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def told_to_end(number: int, counter: Counter) -> int:
    """The first gets SIGTERM, and ends as a training does."""
    if number == 0:
        raise Interrupted("stopped, with a checkpoint")
    return number


def seed_that_checkpoints_first(seed: int, counter: Counter) -> int:
    """Seed 0 fails after a second; the others, told to end, do as a training does: they stop at the next step."""
    if seed == 0:
        time.sleep(1)
        raise InputError("seed 0 has no data")
    told = []
    before = signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    for _ in range(600):
        if told:
            signal.signal(signal.SIGTERM, before)
            raise Interrupted("stopped, with a checkpoint")
        time.sleep(0.1)
    return seed
