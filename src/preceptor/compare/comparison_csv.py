"""A comparison's students as CSV, one a line."""

import csv
from io import StringIO
from pathlib import Path

from preceptor.compare.comparison_result import ComparisonResult
from preceptor.compare.findings import in_words
from preceptor.files import write_whole

CSV_FILE = "compare.csv"

COLUMNS = (
    *("recipe", "teacher", "settings", "seed", "accuracy", "held_out", "nll", "ece", "aurc"),
    *("seconds", "queried", "folder"),
)
"""Measures as in :class:`~preceptor.compare.comparison_result.ArmResult`, seconds and queried as in its cost."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet read a cell as a formula; OWASP, "CSV Injection"."""


def students_csv(result: ComparisonResult) -> str:
    """A line for each student that is trained, after one of :data:`COLUMNS`; what is not known is empty.

    Text that a spreadsheet would take for a formula starts with an apostrophe.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for arm in result.arms:
        measures = (arm.accuracy, arm.held_out, arm.nll, arm.ece, arm.aurc, arm.cost.seconds)
        for place, (seed, folder) in enumerate(zip(arm.seeds, arm.folders, strict=True)):
            numbers = ("" if one is None else one.values[place] for one in measures)
            queried = f"{arm.cost.queried.values[place]:.0f}"
            names = map(_text, (arm.recipe, arm.teacher or "", in_words(arm)))
            writer.writerow([*names, seed, *numbers, queried, folder])
    return text.getvalue()


def _text(name: str) -> str:
    return f"'{name}" if name.startswith(_FORMULA) else name


def save_students(result: ComparisonResult, folder: Path) -> Path:
    """Write the table into the comparison's folder, atomically; `MachineError` where it cannot be."""
    write_whole({folder / CSV_FILE: students_csv(result).encode("utf-8", errors="replace")})
    return folder / CSV_FILE
