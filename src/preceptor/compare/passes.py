"""The runs of a comparison: taught together in passes, several passes side by side, and gone on with after a stop."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from preceptor.compare.answers import MeasuredImages, measured_images, read_answers, write_answers
from preceptor.compare.comparison import Cell
from preceptor.compare.parallel import Counter
from preceptor.models import seeded_model
from preceptor.run.resume import run_entries, run_state
from preceptor.run.set_up import training_data
from preceptor.run.together import pass_of, run_together, teacher_of
from preceptor.training import StudentFailed
from preceptor.training.device import choose_device

COPIES = 8
"""Copies of a student's weights in training at most: gradients, optimizer, guard, checkpoint, moving average."""

SHARE_OF_MEMORY = 0.25
"""What students that are taught together may take of the memory, beside images, activations and the teacher."""

Pass = tuple[Cell, ...]
"""Runs whose students are taught together."""


def divide(cells: Sequence[Cell], largest: int) -> list[Pass]:
    """Divide runs into passes of ``largest`` students at most; each has one teacher, or none.

    Recipes of labels alone join the students of a teacher, whichever comes first.
    """
    taught: dict[tuple[str, str | None], list[Cell]] = {}
    for cell in cells:
        if teacher_of(cell.config) is not None:
            taught.setdefault((pass_of(cell.config), teacher_of(cell.config)), []).append(cell)
    for cell in cells:
        if teacher_of(cell.config) is None:
            key = pass_of(cell.config)
            home = next((one for one in taught if one[0] == key), (key, None))
            taught.setdefault(home, []).append(cell)
    return [
        tuple(group[start : start + largest]) for group in taught.values() for start in range(0, len(group), largest)
    ]


def largest_pass(cells: Sequence[Cell], channels: int, classes: int, jobs: int, device: torch.device) -> int:
    """How many students fit into memory together, by the size of the largest."""
    sizes = [
        sum(
            parameter.nbytes
            for parameter in seeded_model(
                name, channels=channels, classes=classes, seed=0, weights="later"
            ).parameters()
        )
        for name in {cell.config.student for cell in cells}
    ]
    memory = SHARE_OF_MEMORY * _memory(device) / jobs
    return max(1, int(memory / (COPIES * max(sizes))))


def _memory(device: torch.device) -> int:
    """Bytes of the device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 2**32  # Windows does not tell without a further package


def train_pass(cells: Pass, out: Path, checkpoint_seconds: float, counter: Counter) -> None:
    """Train the students of a pass, or go on with them, and ask each for its answers."""
    folders = {out / cell.place: cell.config for cell in cells}
    while left := {one: config for one, config in folders.items() if run_state(one) in ("absent", "stopped")}:
        try:
            run_together(left, [counter], checkpoint_seconds=checkpoint_seconds, force=True)
        except StudentFailed:  # its folder says so, and the others go on without it
            continue
    ask_students(cells, out)


def epochs_done(cells: Pass, out: Path) -> int:
    """Epochs of a pass that are in its run folders."""
    return max(len([1 for entry in run_entries(out / cell.place) if entry["event"] == "epoch"]) for cell in cells)


def ask_students(cells: Sequence[Cell], out: Path) -> None:
    """Keep the answers of students that were not asked yet; all cells have one data set."""
    config = cells[0].config
    measured: MeasuredImages | None = None
    for cell in cells:
        folder = out / cell.place
        if run_state(folder) == "complete":
            measured = measured or measured_images(config, training_data(config))
            if read_answers(folder, len(measured.images)) is None:
                write_answers(folder, measured, choose_device(config.device))
