"""A study of two seeds that takes a second, and seeds that go wrong; importable by worker processes."""

import time

from preceptor.errors import InputError
from preceptor.studies import FaultyTeacher
from preceptor.studies.side_by_side import Counter
from preceptor.training import Protocol

RECIPES = ("none", "kd", "ka-ps", "drop-wrong", "label-revision")

TINY = FaultyTeacher(
    name="tiny",
    title="A tiny study",
    setting="Hardly any images.",
    shows="That it runs.",
    does_not_show="Anything else.",
    data="digits",
    pairs=((1, 7), (3, 8)),
    rate=0.4,
    held_out=0.9,
    lessons=40,
    teacher="convnet8",
    student="convnet4",
    teacher_protocol=Protocol(epochs=4, batch_size=16),
    student_protocol=Protocol(epochs=1, batch_size=16),
    recipes=RECIPES,
    seeds=(0, 1),
    exhibits=3,
)


def doubled(seed: int, watcher: Counter) -> int:
    for _ in range(5):
        watcher.step(1, 10)
    return 2 * seed


def bad_seed(seed: int, watcher: Counter) -> int:
    if seed == 1:
        raise InputError("seed 1 has no data")
    time.sleep(60)
    return seed
