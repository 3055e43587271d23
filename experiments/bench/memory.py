"""Peak memory of training by recipe: how much a method adds to a student alone.

Each recipe trains resnet8x4 for some steps under a live resnet32x4, batch 64, 32 x 32, in a process of its own: the
peak covers networks, images and training, not the imported code. A recipe that selects samples gets scores; the cost of
fitting a selection is in influence.json.
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from experiments.bench.common import MIB, RESULTS, in_its_own_process, table, write_json
from experiments.speed.cases import AUGMENTATION, PAIRS, VARIANTS, Case, random_data
from experiments.speed.machine import Machine, peak_bytes, this_machine
from experiments.speed.our_loop import Bench, Teachers
from experiments.training import new_student
from experiments.training import train as train_students
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.data import ImageSet
from preceptor.recipes import recipe_names
from preceptor.selections import RankedSelection
from preceptor.training import Student, TrainingConfig
from preceptor.training.device import choose_device, deterministic

PAIR = PAIRS["resnet32x4:resnet8x4"]
BATCH_SIZE, BATCHES = 64, 4
REPEATS = 3
ALONE = "none"
RESULT = RESULTS / "memory.json"

EXTRA = {
    "kd, from a cache": ("kd", "cache", 1),
    "kd, 8 students at once": ("kd", "live", 8),
}
"""Beside every recipe with one student under a live teacher: recipe, source of the teacher's outputs, students."""


def _any_selection_data(samples: int = 200) -> SelectionData:
    """Of a teacher that is mostly right: what components are fitted to matters no more than the weights."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2 * samples, PAIR.classes, generator=generator)
    label = (logits + torch.randn(logits.shape, generator=generator)).argmax(dim=1)
    snapshot = TeacherSnapshot(1.0, *(ModelOutputs(rows) for rows in logits.split(samples)))
    return SelectionData(
        torch.arange(samples), label[:samples], label[samples:], (snapshot,), has_bias=False, size=samples
    )


def student(recipe_name: str, number: int, images: int) -> Student:
    """A student of a recipe; a selection that is fitted beforehand takes the images in their order."""
    one = new_student(
        recipe_name, PAIR.student, channels=PAIR.channels, classes=PAIR.classes, seed=number, name=str(number)
    )
    if isinstance(one.loss.selection, RankedSelection):
        one.loss.selection.set_scores(torch.arange(images), -torch.arange(images).float(), images)
    if one.loss.needs_fit:
        one.loss.fit(_any_selection_data())
    return one


def measure(recipe_name: str, source: str, count: int, device: torch.device) -> dict[str, Any]:
    """Peak of a short training. In a process of its own."""
    before = peak_bytes(device)
    case = Case(replace(PAIR, size=BATCH_SIZE * (BATCHES + 1)), BATCH_SIZE, BATCHES)
    data = random_data(case)
    train = ImageSet(data.train.images.to(device), data.train.labels.to(device))
    students = [student(recipe_name, number, len(train)) for number in range(count)]
    uses_teacher = any(each.loss.uses_teacher for each in students)
    with tempfile.TemporaryDirectory(prefix="preceptor-bench-") as folder, deterministic():
        teachers = Teachers(Bench(case, data, train, device, "never"), Path(folder))
        teacher = teachers.of(VARIANTS[source]) if uses_teacher else None
        config = TrainingConfig(epochs=1, batch_size=BATCH_SIZE)
        arguments = students, train, data.index[: case.images], AUGMENTATION, PAIR.normalization, config
        train_students(*arguments, teacher=teacher, compile="never")
        teachers.close()
    return {"more_mib": (peak_bytes(device) - before) / MIB}


def repeated(case: tuple[str, str, int], device: torch.device, repeats: int) -> dict[str, Any]:
    """How much more was held at the peak than before, in several processes: they differ by some per cent."""
    more = [in_its_own_process(measure, *case, device)["more_mib"] for _ in range(repeats)]
    return {"students": case[2], "more_mib": more, "median_more_mib": statistics.median(more)}


def markdown(content: dict[str, Any]) -> str:
    """The result file as a table."""
    alone = content["cases"][ALONE]["median_more_mib"]
    rows = [
        [name, f"{case['median_more_mib']:.0f}", f"{case['median_more_mib'] / alone:.2f}"]
        for name, case in content["cases"].items()
    ]
    shown = table(["recipe", "peak while training, MiB", "times the student alone"], rows)
    machine = Machine.model_validate(content["machine"])
    made = f"Made by `python -m experiments.bench.memory` ({machine})."
    return f"{shown}\n\n{content['setting']}; median of {content['repeats']}. {made}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--recipe", action="append", choices=recipe_names(), help="may be repeated; default all")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"processes a case (default {REPEATS})")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error(f"--repeats {arguments.repeats}: at least 1")
    device = choose_device(arguments.device)
    cases = {name: (name, "live", 1) for name in arguments.recipe or recipe_names()}
    cases |= {} if arguments.recipe else EXTRA
    cases = {ALONE: (ALONE, "live", 1)} | cases
    result = {
        "kind": "memory",
        "setting": f"{PAIR.teacher} teaches {PAIR.student}, batch {BATCH_SIZE}, {BATCHES} steps, default precision, "
        "nothing compiled; networks and images included, the code that is imported not",
        "repeats": arguments.repeats,
        "machine": this_machine(device).model_dump(mode="json"),
        "cases": {name: repeated(case, device, arguments.repeats) for name, case in cases.items()},
    }
    write_json(result, arguments.out)
    print(markdown(result))


if __name__ == "__main__":
    main()
