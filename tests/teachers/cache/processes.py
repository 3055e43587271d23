"""Other processes at work on a cache."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from preceptor.data import CropFlip
from preceptor.errors import PreceptorError
from preceptor.teachers.cache import Layout, fill
from tests.teachers.cache.vault import FEW, RULE, Weighing, cache_in, pictures


def beside(work: Callable[..., None], *given: object) -> BaseProcess:
    """A process, forked so that nothing is loaded anew, that does the work."""
    child = multiprocessing.get_context("fork").Process(target=_and_leave, args=(work, *given))
    child.start()
    return child


def _and_leave(work: Callable[..., None], *given: object) -> None:
    """Without what the tests' process would do at its end."""
    try:
        work(*given)
    except PreceptorError:
        os._exit(1)
    os._exit(0)


def fill_it(folder: Path, report: Path, shift: float = 0.0, layout: Layout = FEW, batch_size: int = 4) -> None:
    """Fill a cache, and write which cells the teacher was asked about."""
    live = Weighing(layout.classes, shift=shift)
    rule = CropFlip(4, True) if layout.views == 162 else RULE
    with cache_in(folder, live, layout) as cache:
        fill(cache, pictures(layout.samples), rule, batch_size=batch_size)
    report.write_text("\n".join(f"{sample} {view}" for sample, view in live.asked))
