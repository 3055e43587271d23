"""Other processes at work on a cache."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from preceptor.data import CropFlip
from preceptor.errors import PreceptorError
from preceptor.teachers.cache import Layout, fill
from tests.teachers.cache.samples import FEW, VIEWS, Linear, cache_in, pictures


def in_another_process(work: Callable[..., None], *arguments: object) -> BaseProcess:
    """A process, forked so that nothing is loaded anew, that does the work."""
    child = multiprocessing.get_context("fork").Process(target=_and_leave, args=(work, *arguments))
    child.start()
    return child


def _and_leave(work: Callable[..., None], *arguments: object) -> None:
    """Without what the tests' process would do at its end."""
    try:
        work(*arguments)
    except PreceptorError:
        os._exit(1)
    os._exit(0)


def fill_it(folder: Path, report: Path, shift: float = 0.0, layout: Layout = FEW, batch_size: int = 4) -> None:
    """Fill a cache, and write down which entries the teacher was queried about."""
    teacher = Linear(layout.classes, shift=shift)
    views = CropFlip(4, True) if layout.views == 162 else VIEWS
    with cache_in(folder, teacher, layout, batch_size) as cache:
        fill(cache, pictures(layout.samples), views)
    report.write_text("\n".join(f"{sample} {view}" for sample, view in teacher.queried))
