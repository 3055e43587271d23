"""Studies of two seeds that take a second, and seeds that fail; importable by worker processes."""

import os
import signal
import time
from types import SimpleNamespace
from typing import Any

from preceptor.compare import Arm, Study, TeacherKind, arms_of
from preceptor.compare.parallel import Counter
from preceptor.errors import InputError, Interrupted
from preceptor.training import TrainingConfig

RECIPES = ("none", "kd", "ka-ps", "drop-wrong", "label-revision")

TINY = Study(
    name="tiny",
    title="A tiny study",
    setting="Hardly any images.",
    shows="That it runs.",
    does_not_show="Anything else.",
    data="digits",
    pairs=((1, 7), (3, 8)),
    teachers=(TeacherKind(name="faulty", about="40 % wrong", rate=0.4),),
    held_out=0.9,
    training_images=40,
    teacher="convnet8",
    student="convnet4",
    teacher_training=TrainingConfig(epochs=4, batch_size=16),
    student_training=TrainingConfig(epochs=1, batch_size=16),
    arms=arms_of(*RECIPES),
    seeds=(0, 1),
    examples=3,
)

SEVERAL = TINY.model_copy(
    update={
        "name": "several",
        "teachers": (
            TeacherKind(name="clean", about="every label right"),
            TeacherKind(name="faulty", about="40 % wrong", rate=0.4),
            TeacherKind(name="stopped", about="trained for 1 epoch", epochs=1),
        ),
        "arms": (
            *arms_of("none", "kd", "ka-ps"),
            Arm(name="ka-ps-1", recipe="ka-ps", overrides={"temperature.temperature": 1.0}, baseline="ka-ps"),
            Arm(name="gambler", recipe="precise-abstain-b", overrides={"correction": None}, about="may abstain"),
        ),
        "recovery": "clean",
        "columns": ("accuracy", "difference", "recovery", "affected"),
    }
)
"""Three kinds of teacher, an arm with a setting changed and a baseline of its own, and one that abstains."""


NO_TRAINER: Any = None
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
