"""Time and memory of training by recipe, against recipe kd.

Each recipe trains resnet20 for some steps under a live resnet56, batch 64, 32 x 32, in a process of its own. First the
peak of memory: networks, images and training, not the imported code. Then the time, in turns with recipe kd, so that
other load affects both alike: the ratio counts. A recipe that selects samples gets scores; the cost of fitting a
selection is in influence.json.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from experiments.bench.common import MIB, RESULTS, in_its_own_process, table, write_json
from experiments.speed.cases import AUGMENTATION, PAIRS, VARIANTS, Case, random_data
from experiments.speed.machine import Machine, peak_bytes, seconds_for, this_machine
from experiments.speed.our_loop import Bench, Teachers
from experiments.speed.result import Spread
from experiments.training import new_student
from experiments.training import train as train_students
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.data import ImageSet, TwoViews
from preceptor.recipes import recipe_names
from preceptor.selections import RankedSelection
from preceptor.training import Student, TrainingConfig
from preceptor.training.device import choose_device, deterministic

PAIR = PAIRS["resnet56:resnet20"]
WIDTH = 64
"""Of the teacher's last maps, to which simkd's student is projected."""
TWO_VIEWS = ("crld", "mlkd-lsk", "mlkd-views", "sld-views")
BATCH_SIZE, BATCHES = 64, 4
ROUNDS = 5
ALONE, YARDSTICK = "none", "kd"
RESULT = RESULTS / "cost.json"

OPTIMIZER = TrainingConfig().optimizer
CASES = {name: (name, "live", 1, OPTIMIZER) for name in (ALONE, YARDSTICK, *recipe_names())} | {
    "kd, with optimizer dot": ("kd", "live", 1, "dot"),
    "deepkd, with its optimizer": ("deepkd", "live", 1, "deepkd"),
    "kd, from a cache": ("kd", "cache", 1, OPTIMIZER),
    "kd, 8 students at once": ("kd", "live", 8, OPTIMIZER),
}
"""Recipe, source of the teacher's outputs, students and optimizer of each row."""


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
    architecture = f"simkd{WIDTH}-{PAIR.student}" if recipe_name == "simkd" else PAIR.student
    one = new_student(
        recipe_name, architecture, channels=PAIR.channels, classes=PAIR.classes, seed=number, name=str(number)
    )
    if isinstance(one.loss.selection, RankedSelection):
        one.loss.selection.set_scores(torch.arange(images), -torch.arange(images).float(), images)
    if one.loss.needs_fit:
        one.loss.fit(_any_selection_data())
    return one


def measure(
    recipe_name: str, source: str, count: int, optimizer: str, rounds: int, device: torch.device
) -> dict[str, Any]:
    """Peak of a short training; then its time over that of recipe kd, per student. In a process of its own."""
    before = peak_bytes(device)
    case = Case(replace(PAIR, size=BATCH_SIZE * (BATCHES + 1)), BATCH_SIZE, BATCHES)
    data = random_data(case)
    train = ImageSet(data.train.images.to(device), data.train.labels.to(device))

    def seconds(name: str, way: str, students: int, optimizer: str) -> float:
        """Of the training alone: components are fitted once, before it."""
        taught = [student(name, number, len(train)) for number in range(students)]
        teacher = teachers.of(VARIANTS[way]) if any(each.loss.uses_teacher for each in taught) else None
        views = TwoViews(AUGMENTATION, AUGMENTATION) if name in TWO_VIEWS else AUGMENTATION
        config = TrainingConfig(epochs=1, batch_size=BATCH_SIZE, optimizer=optimizer)
        arguments = taught, train, data.index[: case.images], views, PAIR.normalization, config
        return seconds_for(lambda: train_students(*arguments, teacher=teacher, compile="never"), device) / students

    with tempfile.TemporaryDirectory(prefix="preceptor-bench-") as folder, deterministic():
        teachers = Teachers(Bench(case, data, train, device, "never"), Path(folder))
        seconds(recipe_name, source, count, optimizer)
        more = (peak_bytes(device) - before) / MIB
        seconds(*CASES[YARDSTICK])
        turns = [(seconds(recipe_name, source, count, optimizer), seconds(*CASES[YARDSTICK])) for _ in range(rounds)]
        teachers.close()
    ratios = [own / other for own, other in turns]
    return {"students": count, "more_mib": more, "times_kd": Spread.of(ratios).model_dump()}


def markdown(content: dict[str, Any]) -> str:
    """The result file as a table."""
    yardstick = content["cases"][YARDSTICK]["more_mib"]
    rows = [
        [name, _times(case["times_kd"]), f"{case['more_mib']:.0f}", f"{case['more_mib'] / yardstick:.2f}"]
        for name, case in content["cases"].items()
    ]
    shown = table(["recipe", "time, times kd", "peak while training, MiB", "times kd"], rows)
    machine = Machine.model_validate(content["machine"])
    made = f"Made by `python -m experiments.bench.cost` ({machine})."
    turns = f"times are medians of {content['rounds']} turns, quartiles in brackets"
    return f"{shown}\n\n{content['setting']}; {turns}. {made}"


def _times(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f} [{spread['low']:.2f}, {spread['high']:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--row",
        action="append",
        choices=CASES,
        metavar="ROW",
        help="may be repeated, and other rows of --out stay (default: all rows anew)",
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns a case (default {ROUNDS})")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds {arguments.rounds}: at least 1")
    device = choose_device(arguments.device)
    names = [ALONE, YARDSTICK, *arguments.row] if arguments.row else list(CASES)
    measured = {name: in_its_own_process(measure, *CASES[name], arguments.rounds, device) for name in names}
    if arguments.row and arguments.out.exists():
        measured = json.loads(arguments.out.read_text())["cases"] | measured
    result = {
        "kind": "cost",
        "setting": f"{PAIR.teacher} teaches {PAIR.student}, batch {BATCH_SIZE}, {BATCHES} steps, default precision, "
        "nothing compiled; networks and images included, the code that is imported not",
        "rounds": arguments.rounds,
        "machine": this_machine(device).model_dump(mode="json"),
        "cases": {name: measured[name] for name in CASES if name in measured},
    }
    write_json(result, arguments.out)
    print(markdown(result))


if __name__ == "__main__":
    main()
