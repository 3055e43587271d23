"""Seeds side by side in processes of one thread each, which on few cores beats one run with all threads."""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from ctypes import c_bool
from functools import partial
from typing import Any, TypeVar

import torch

from preceptor.errors import MachineError
from preceptor.threads import one_thread
from preceptor.training import Callback, Step, Trainer
from preceptor.training.memory import tune_malloc

Outcome = TypeVar("Outcome")

Report = Callable[[int], None]
"""Takes the number of images trained on since the last call."""

_SECONDS_BETWEEN_REPORTS = 0.25


class Counter(Callback):
    """A callback that counts images and reports a few times a second."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._images = 0
        self._last = time.monotonic()

    def on_step_end(self, trainer: Trainer, step: Step) -> None:
        """Count."""
        self._images += len(step.batch.label)
        if time.monotonic() - self._last > _SECONDS_BETWEEN_REPORTS:
            self.flush()

    def flush(self) -> None:
        """Report what has not been reported."""
        self._report(self._images)
        self._images, self._last = 0, time.monotonic()


SeedRun = Callable[[int, Counter], Outcome]
"""Runs one seed, with the counter as its callback."""


def run_seeds(
    run: SeedRun[Outcome],
    seeds: Sequence[int],
    report: Report,
    jobs: int | None = None,
    on_done: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run every seed with one CPU thread, several side by side; the outcomes in the order of the seeds.

    With one thread each, the numbers do not depend on how many run at a time.

    Args:
        run: picklable when ``jobs`` is above 1.
        seeds: one call each.
        report: called in this process.
        jobs: seeds at a time; 1 stays in this process; None is :func:`default_jobs`.
        on_done: called in this process with each outcome as it comes.

    Raises:
        MachineError: a seed's process died. An exception of a seed is raised at once; no process outlives it, nor an
            interrupt.
    """
    if jobs is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        jobs = default_jobs(len(seeds), cores or 1)
    if min(jobs, len(seeds)) == 1:
        outcomes = []
        with one_thread():
            for seed in seeds:
                outcomes.append(_counted(run, seed, report))
                on_done(outcomes[-1])
        return outcomes
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    ending: Any = context.Value(c_bool, False, lock=False)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin_worker, initargs=(messages, ending)) as pool:
        before = set(multiprocessing.active_children())
        with _interrupts_blocked():
            futures = [pool.submit(_in_worker, run, seed) for seed in seeds]
        try:
            return _outcomes(futures, partial(_forward, messages, report), on_done)
        except BaseException:
            ending.value = True
            for worker in set(multiprocessing.active_children()) - before:
                worker.terminate()
            raise


def _outcomes(
    futures: "Sequence[Future[Outcome]]", meanwhile: Callable[[], None], on_done: Callable[[Outcome], None]
) -> list[Outcome]:
    """The outcomes of all seeds, or the first exception that one raises."""
    waiting = list(futures)
    try:
        while waiting:
            meanwhile()
            for future in [one for one in waiting if one.done()]:
                on_done(future.result())
                waiting.remove(future)
    except BrokenProcessPool as error:
        raise MachineError(
            "the process of a seed ended before it was done, perhaps for lack of memory; "
            "close other programs, or run fewer seeds at a time (jobs=1)"
        ) from error
    return [future.result() for future in futures]


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started within it ignore Ctrl-C; this process, which gets it afterwards, ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def default_jobs(seeds: int, cores: int) -> int:
    """All seeds at once up to two a core, so that no core idles while the last seed runs; beyond that, one a core."""
    if cores == 1:
        return 1
    return seeds if seeds <= 2 * cores else cores


def _counted(run: SeedRun[Outcome], seed: int, report: Report) -> Outcome:
    counter = Counter(report)
    outcome = run(seed, counter)
    counter.flush()
    return outcome


def _forward(messages: "multiprocessing.Queue[int]", report: Report) -> None:
    with suppress(queue.Empty):
        report(messages.get(timeout=_SECONDS_BETWEEN_REPORTS))


_messages: "multiprocessing.Queue[int] | None" = None
_ending: Any = None


def _begin_worker(messages: "multiprocessing.Queue[int]", ending: Any) -> None:
    global _messages, _ending
    _messages, _ending = messages, ending
    torch.set_num_threads(1)
    tune_malloc()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker once its parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "the worker was started by run_seeds"
    parent.join()
    os._exit(1)


def _in_worker(run: SeedRun[Outcome], seed: int) -> Outcome:
    assert _messages is not None, "the worker was started by run_seeds"
    try:
        return _counted(run, seed, _messages.put)
    finally:
        # A training that is told to end writes its checkpoint first. Then this worker must not wait for another seed:
        # a worker that was ended in its midst may hold the lock of that queue forever.
        if _ending.value:
            os._exit(1)
