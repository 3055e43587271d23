"""The peak of memory while training, by recipe: how much a method adds to a student alone.

Each recipe trains resnet8x4 for some steps under a live resnet32x4, batch 64, 32 x 32, in a process of its own, so that
its peak is its own: what networks, images and training take, beyond the code that is imported. A recipe that selects
samples is given scores: what fitting a selection takes is in influence.json. ``python benchmarks/memory.py`` writes
results/bench/memory.json.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from preceptor.data import ImageSet
from preceptor.loss import DistillationLoss
from preceptor.models import seeded_model
from preceptor.recipes import recipe, recipe_names
from preceptor.selections import RankedSelection
from preceptor.speed.machine import Machine, this_machine
from preceptor.speed.our_loop import Bench
from preceptor.speed.our_teachers import Teachers
from preceptor.speed.pairs import PAIRS, RULE, Case, made_up
from preceptor.speed.peak import peak_bytes
from preceptor.speed.variants import VARIANTS
from preceptor.training import Student, TrainingConfig, fit
from preceptor.training.device import choose_device, deterministic

PAIR = PAIRS["resnet32x4:resnet8x4"]
BATCH_SIZE, BATCHES = 64, 4
REPEATS = 3
ALONE = "none"
MIB = 2**20
RESULT = Path(__file__).parents[1] / "results" / "bench" / "memory.json"

EXTRA = {
    "kd, from a cache": ("kd", "cache", 1),
    "kd, 8 students at once": ("kd", "live", 8),
}
"""Beside every recipe with one student under a live teacher: recipe, source of the teacher's word, students."""


def ready(recipe_name: str, images: int) -> DistillationLoss:
    """The chain of a recipe; a selection that is fitted beforehand takes the images as they come."""
    loss = DistillationLoss(**recipe(recipe_name))
    if isinstance(loss.selection, RankedSelection):
        loss.selection.set_scores(torch.arange(images), -torch.arange(images).float(), images)
    return loss


def pupil(recipe_name: str, number: int, images: int) -> Student:
    loss = ready(recipe_name, images)
    outputs = PAIR.classes + loss.abstains
    return Student(str(number), seeded_model(PAIR.student, channels=PAIR.channels, classes=outputs, seed=number), loss)


def measure(recipe_name: str, source: str, students: int, device: torch.device) -> dict[str, Any]:
    """Peak of a short training. In a process of its own."""
    before = peak_bytes(device)
    case = Case(replace(PAIR, size=BATCH_SIZE * (BATCHES + 1)), BATCH_SIZE, BATCHES)
    material = made_up(case)
    train = ImageSet(material.train.images.to(device), material.train.labels.to(device))
    pupils = [pupil(recipe_name, number, len(train)) for number in range(students)]
    uses_teacher = any(each.loss.uses_teacher for each in pupils)
    with tempfile.TemporaryDirectory(prefix="preceptor-bench-") as folder, deterministic():
        teachers = Teachers(Bench(case, material, train, device, "never"), Path(folder))
        teacher = teachers.of(VARIANTS[source]) if uses_teacher else None
        training = TrainingConfig(epochs=1, batch_size=BATCH_SIZE)
        how: dict[str, Any] = {"teacher": teacher, "compile": "never"}
        list(fit(pupils, train, material.positions[: case.images], RULE, PAIR.normalization, training, **how))
        teachers.close()
    return {"more_mib": (peak_bytes(device) - before) / MIB}


def apart(work: Callable[..., dict[str, Any]], *given: object) -> dict[str, Any]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def repeated(case: tuple[str, str, int], device: torch.device, repeats: int) -> dict[str, Any]:
    """How much more was held at the peak than before, in several processes: they differ by some per cent."""
    more = [apart(measure, *case, device)["more_mib"] for _ in range(repeats)]
    return {"students": case[2], "more_mib": more, "median_more_mib": statistics.median(more)}


def markdown(content: dict[str, Any]) -> str:
    """The result file as a table."""
    alone = content["cases"][ALONE]["median_more_mib"]
    lines = [["recipe", "peak while training, MiB", "times the student alone"], ["---", "---:", "---:"]]
    lines += [
        [name, f"{case['median_more_mib']:.0f}", f"{case['median_more_mib'] / alone:.2f}"]
        for name, case in content["cases"].items()
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    machine = Machine.model_validate(content["machine"])
    made = f"{content['setting']}; median of {content['repeats']}. Made by `python benchmarks/memory.py` ({machine})."
    return f"{table}\n\n{made}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--recipe", action="append", choices=recipe_names(), help="may be repeated; default all")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"processes a case (default {REPEATS})")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    if given.repeats < 1:
        parser.error(f"--repeats {given.repeats}: at least 1")
    device = choose_device(given.device)
    cases = {name: (name, "live", 1) for name in given.recipe or recipe_names()}
    cases |= {} if given.recipe else EXTRA
    cases = {ALONE: (ALONE, "live", 1)} | cases
    result = {
        "kind": "memory",
        "setting": f"{PAIR.teacher} teaches {PAIR.student}, batch {BATCH_SIZE}, {BATCHES} steps, default precision, "
        "nothing compiled; networks and images included, the code that is imported not",
        "repeats": given.repeats,
        "machine": this_machine(device).model_dump(mode="json"),
        "cases": {name: repeated(case, device, given.repeats) for name, case in cases.items()},
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))


if __name__ == "__main__":
    main()
