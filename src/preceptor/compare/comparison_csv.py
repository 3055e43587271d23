"""A comparison's students as CSV, one a line."""

from pathlib import Path

from preceptor.compare.comparison_result import ComparisonResult
from preceptor.compare.findings import in_words
from preceptor.files import csv_line, write_whole

CSV_FILE = "compare.csv"

COLUMNS = (
    *("recipe", "teacher", "settings", "seed", "accuracy", "held_out", "nll", "ece", "aurc"),
    *("seconds", "queried", "folder"),
)
"""Measures as in :class:`~preceptor.compare.comparison_result.ArmResult`, seconds and queried as in its cost."""


def students_csv(result: ComparisonResult) -> str:
    """A line for each student that is trained, after one of :data:`COLUMNS`; what is not known is empty."""
    lines = [csv_line(COLUMNS)]
    for arm in result.arms:
        measures = (arm.accuracy, arm.held_out, arm.nll, arm.ece, arm.aurc, arm.cost.seconds)
        for place, (seed, folder) in enumerate(zip(arm.seeds, arm.folders, strict=True)):
            numbers = (None if one is None else one.values[place] for one in measures)
            queried = f"{arm.cost.queried.values[place]:.0f}"
            lines.append(csv_line([arm.recipe, arm.teacher, in_words(arm), seed, *numbers, queried, folder]))
    return "".join(f"{line}\n" for line in lines)


def save_students(result: ComparisonResult, folder: Path) -> Path:
    """Write the table into the comparison's folder, atomically; `MachineError` where it cannot be."""
    write_whole({folder / CSV_FILE: students_csv(result).encode("utf-8", errors="replace")})
    return folder / CSV_FILE
