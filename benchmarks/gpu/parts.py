"""Entries made of parts: each is measured as a whole and kept, and a later call goes on with those that are left."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.job import Job, note_progress

from preceptor.files import write_whole


def in_parts(job: Job, names: Sequence[str], measure: Callable[[str], Any], *, seconds: float) -> dict[str, Any] | None:
    """Measure the parts that are not measured yet, in order, while there is time.

    Args:
        job: of the entry.
        names: of the parts.
        measure: one of them, as JSON.
        seconds: that a part may take: none is begun with fewer left, unless it is the first of the call.

    Returns:
        what was measured, by part; None while some are left.
    """
    measured = 0
    for name in names:
        if _file(job.folder, name).exists():
            continue
        if measured and job.clock.left() < seconds:
            return None
        write_whole({_file(job.folder, name): json.dumps(measure(name)).encode()})
        measured += 1
        note_progress(job.folder, sum(_file(job.folder, each).exists() for each in names), len(names), "parts")
    return {name: json.loads(_file(job.folder, name).read_bytes()) for name in names}


def _file(folder: Path, part: str) -> Path:
    return folder / f"part-{part.replace(' ', '-')}.json"
