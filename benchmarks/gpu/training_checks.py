"""What trainings must keep on a GPU: each check raises ``Broken``, or returns the numbers it found."""

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from benchmarks.gpu.checks import Numbers, require, small_bank
from benchmarks.gpu.made_up import Taught, images_of, made_up, pupil, taught, untrained

from preceptor.teachers.cache import LogitCache
from preceptor.training import Student
from preceptor.training.device import deterministic

RECIPES = ("none", "kd", "ka-dtd", "cmkd")
OF_LOSSES = 0.02
"""Relative difference of the losses of two short trainings that differ in rounding alone."""
OF_UPDATES, OF_UPDATES_IN_BF16 = 0.05, 0.3
"""The same of what the trainings did to the weights, relative to how far these went."""
READINGS = 4
"""How many times more the loop may wait in a longer epoch; its readings fall on steps, which rounds."""


def trained_from_a_bank_as_from_the_teacher(device: torch.device) -> Numbers:
    """a short training from a cache, filled as it goes, ends where one from the live teacher does"""
    with small_bank(untrained(device), images_of(8)) as cache:
        return _alike(taught(RECIPES, device, teacher=cache), taught(RECIPES, device))


def each_pupil_learns_as_alone(device: torch.device) -> Numbers:
    """in a class each pupil ends with the weights it would have alone"""
    with deterministic():
        pupils, records = taught(RECIPES, device)
        alone = {name: taught([name], device) for name in RECIPES}
    found = {
        one.name: _alike(([one], [[epoch[place]] for epoch in records]), alone[one.name])
        for place, one in enumerate(pupils)
    }
    return {"same_bits": all(one["updates_apart"] == 0 for one in found.values()), **found}


def trained_as_on_the_cpu(device: torch.device) -> Numbers:
    """a short training in fp32 has the losses it has on the CPU"""
    with deterministic():
        return _alike(taught(RECIPES, device), taught(RECIPES, torch.device("cpu")))


def trained_from_images_on_the_cpu(device: torch.device) -> Numbers:
    """images that stay on the CPU and come batch by batch teach the same, on a device named with or without number"""
    here, there = made_up(images_of(8), torch.device("cpu")), made_up(images_of(8), device)
    usual = taught(RECIPES, device, train=there)
    return {
        "on the CPU": _alike(taught(RECIPES, device, train=here, device=device), usual),
        "without number": _alike(taught(RECIPES, device, train=there, device=torch.device(device.type)), usual),
    }


def quicker_means_change_rounding_alone(device: torch.device) -> Numbers:
    """a student in bf16, captured as CUDA graphs or compiled learns what a plain one does"""
    plain, in_bf16 = taught(["kd"], device), taught(["kd"], device, precision="bf16")
    found = {"bf16": _alike(in_bf16, plain, OF_UPDATES_IN_BF16)}
    if device.type == "cuda":
        found["graph"] = _alike(taught(["kd"], device, compile="graph"), plain)
        found["graph, bf16"] = _alike(taught(["kd"], device, compile="graph", precision="bf16"), in_bf16)
        with _no_falling_back():
            compiled = taught(["kd"], device, compile="always", precision="bf16")
        found["compiled, bf16"] = _alike(compiled, in_bf16, OF_UPDATES_IN_BF16)
    return found


@contextmanager
def _no_falling_back() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    told = [str(warning.message) for warning in caught if "not compiled" in str(warning.message)]
    require(not told, "; ".join(told))


def the_loop_seldom_waits(device: torch.device) -> Numbers:
    """how often an epoch waits for the GPU does not grow with its steps, from a live teacher or a filled cache"""
    found = {}
    with small_bank(untrained(device), images_of(40)) as cache:
        for name, teacher in (("live", None), ("cache", cache)):
            taught(["kd"], device, steps=40, teacher=teacher)  # fills the cache, and sets libraries up
            few, many = (_waits(device, steps, teacher) for steps in (8, 40))
            most = dict(many.most_common(5))
            told = f"{name}: {few.total()} waits in epochs of 8 steps, {many.total()} in those of 40, most at {most}"
            require(many.total() <= few.total() + READINGS, told)
            found[name] = {"waits_of_8_steps": few.total(), "waits_of_40_steps": many.total(), "most_at": most}
    return found


def _waits(device: torch.device, steps: int, teacher: LogitCache | None) -> Counter[str]:
    """How often a training of two epochs waited, and where; nothing is known of it on a CPU."""
    if device.type != "cuda":
        return Counter()
    train = made_up(images_of(steps), device)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            taught(RECIPES, device, steps=steps, train=train, teacher=teacher)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [warning for warning in caught if "synchronizing" in str(warning.message)]
    return Counter(f"{Path(warning.filename).name}:{warning.lineno}" for warning in waits)


def _alike(found: Taught, expected: Taught, of_updates: float = OF_UPDATES) -> Numbers:
    """Compare two trainings: the losses of the last epoch, and what became of the weights."""
    (ours, our_records), (theirs, their_records) = found, expected
    pairs = zip(our_records[-1], their_records[-1], strict=True)
    losses = {one.pupil: abs(one.total - other.total) / abs(other.total) for one, other in pairs}
    updates = {one.name: _updates_apart(one, other) for one, other in zip(ours, theirs, strict=True)}
    for what, apart_by, allowed in (("losses", losses, OF_LOSSES), ("updates", updates, of_updates)):
        furthest = max(apart_by, key=lambda name: apart_by[name])
        require(apart_by[furthest] < allowed, f"{what} of {furthest} differ by {apart_by[furthest]:.2g}")
    return {"losses_apart": max(losses.values()), "updates_apart": max(updates.values())}


def _updates_apart(one: Student, other: Student) -> float:
    """How far two students are from each other, relative to how far the other is from where both began."""
    began, ours, theirs = (
        torch.cat([tensor.detach().cpu().double().flatten() for tensor in each.student.parameters()])
        for each in (pupil(one.name), one, other)
    )
    return float((ours - theirs).norm() / (theirs - began).norm())
