"""Entry: fill a cache with what a teacher says of every view of every training image, and look at what was filled."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from benchmarks.gpu.entries import UNFINISHED
from benchmarks.gpu.job import Job, entry_parser, job_of, note_progress
from benchmarks.gpu.material import layout_of, loaded_teacher, opened_bank
from torch import Tensor

from preceptor.context import predicted_class
from preceptor.data import Dataset
from preceptor.files import write_whole
from preceptor.teachers import NetworkTeacher, check_teacher
from preceptor.teachers.cache import LogitCache, fill, info, verify

SPENT_FILE = "spent.json"
SECONDS_TO_LOOK = 60.0
"""What going through a full cache is left at least."""


class _TimeIsUp(Exception):
    """The cache stays as it is and is filled further in the next call."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = entry_parser(__doc__)
    parser.add_argument("--teacher", type=Path, required=True, help="folder of the trained network")
    parser.add_argument("--batch-size", type=int, default=1024)
    given = parser.parse_args(arguments)
    job = job_of(given)
    dataset = job.dataset()
    plain, weights = loaded_teacher(given.teacher, dataset, job.device)
    fast = plain.optimize_for_inference(image_size=dataset.size)
    train = job.on_device(dataset.train)
    with opened_bank(job.folder / "cache", fast, weights, dataset) as cache:
        fill_while_there_is_time(job, cache, train.images, dataset, given.batch_size)
        if info(cache).share < 1 or job.clock.left() < SECONDS_TO_LOOK:
            return UNFINISHED
        whole = torch.arange(len(train))
        look = check_teacher(
            cache, train.images, train.labels, dataset.classes, positions=whole, view=dataset.augmentation.identity
        )
        result = {
            **_size(cache, dataset),
            **_spent(job.folder),
            "damaged": verify(cache),
            "on_the_training_images": asdict(look),
            "optimize_for_inference": str(fast.report),
            "on_the_test_images": _compared(plain, fast, job, dataset),
        }
    job.answer(result)
    return 0


def fill_while_there_is_time(job: Job, cache: LogitCache, images: Tensor, dataset: Dataset, batch_size: int) -> None:
    """Fill on; how many seconds it took is added up over the calls."""
    before, started = info(cache).filled, time.monotonic()

    def stop_in_time(done: int, of: int) -> None:
        if job.clock.left() < SECONDS_TO_LOOK:
            raise _TimeIsUp

    try:
        cache.batch_size = batch_size
        fill(cache, images, dataset.augmentation, progress=stop_in_time)
    except _TimeIsUp:
        cache.store.flush()
    filled, spent = info(cache).filled, _spent(job.folder)
    spent["seconds"] += time.monotonic() - started
    spent["asked"] += filled - before
    write_whole({job.folder / SPENT_FILE: json.dumps(spent).encode()})
    note_progress(job.folder, filled, cache.layout.entries, "cells")


def _spent(folder: Path) -> dict[str, Any]:
    path = folder / SPENT_FILE
    return json.loads(path.read_bytes()) if path.is_file() else {"seconds": 0.0, "asked": 0}


def _size(cache: LogitCache, dataset: Dataset) -> dict[str, Any]:
    planned, found = layout_of(dataset), info(cache)
    return {
        "planned_bytes": planned.bytes,
        "bytes": found.bytes_used,
        "bytes_against_plan": found.bytes_used / planned.bytes,
        "cells": planned.entries,
    }


def _compared(plain: NetworkTeacher, fast: NetworkTeacher, job: Job, dataset: Dataset) -> dict[str, Any] | None:
    """What making the teacher fast changed, on images it was not trained on."""
    if dataset.test is None:
        return None
    test = job.on_device(dataset.test)
    said, quickly = (torch.cat([each(part) for part in test.images.split(512)]) for each in (plain, fast))
    right = {
        name: float((predicted_class(logits) == test.labels).float().mean())
        for name, logits in (("accuracy", said), ("accuracy_made_fast", quickly))
    }
    return {
        **right,
        "same_class": float((predicted_class(said) == predicted_class(quickly)).float().mean()),
        "relative_difference_of_logits": float((quickly - said).norm() / said.norm()),
    }


if __name__ == "__main__":
    sys.exit(main())
