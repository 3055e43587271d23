"""Seeds side by side: on few cores, runs of one thread each beat one run with all threads."""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

from preceptor.errors import MachineError
from preceptor.training.device import one_thread
from preceptor.training.memory import tune_malloc

Outcome = TypeVar("Outcome", covariant=True)

Report = Callable[[int], None]
"""Told how many images were trained on since it was last called."""

_SECONDS_BETWEEN_REPORTS = 0.25


class SeedRun(Protocol[Outcome]):
    """A picklable callable that runs one seed."""

    def __call__(self, seed: int, watcher: "Counter") -> Outcome:
        """Run one seed, counting images as they are trained on."""


class Counter:
    """A watcher that counts images, and reports a few times a second."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._waiting = 0
        self._last = time.monotonic()

    def begin(self, epochs: int, steps: int, images: int) -> None:
        """Nothing: the whole is known to whoever started the seeds."""

    def step(self, epoch: int, images: int) -> None:
        """Count."""
        self._waiting += images
        if time.monotonic() - self._last > _SECONDS_BETWEEN_REPORTS:
            self.flush()

    def losses(self, pupil: str, losses: dict[str, float]) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Report what is waiting."""
        self._report(self._waiting)
        self._waiting, self._last = 0, time.monotonic()


def run_seeds(run: SeedRun[Outcome], seeds: Sequence[int], report: Report, jobs: int | None = None) -> list[Outcome]:
    """Run every seed with one CPU thread, several side by side; the outcomes in the order of the seeds.

    One thread each makes the numbers the same however many run at a time.

    Args:
        run: must survive pickling when ``jobs`` is above 1.
        seeds: one call each.
        report: told about progress, in this process.
        jobs: how many at a time; 1 stays in this process; None chooses, see :func:`usual_jobs`.

    Raises:
        MachineError: a seed's process ended without a word. What a seed itself raises comes through at once, and
            no process outlives it, nor an interrupt.
    """
    if jobs is None:
        jobs = usual_jobs(len(seeds), available_cores())
    if min(jobs, len(seeds)) == 1:
        with one_thread():
            return [_counted(run, seed, report) for seed in seeds]
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin_worker, initargs=(messages,)) as pool:
        others = set(multiprocessing.active_children())
        with _interrupts_held_back():
            waiting = [pool.submit(_in_worker, run, seed) for seed in seeds]
        try:
            return _outcomes(waiting, lambda: _pass_on(messages, report))
        except BaseException:
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise


def _outcomes(waiting: "Sequence[Future[Outcome]]", meanwhile: Callable[[], None]) -> list[Outcome]:
    """What the seeds come to, or the first error that one raises."""
    try:
        while len(outcomes := [future.result() for future in waiting if future.done()]) < len(waiting):
            meanwhile()
    except BrokenProcessPool as error:
        raise MachineError(
            "the process of a seed ended before it was done, perhaps for lack of memory: "
            "close other programs, or run fewer seeds at a time (jobs=1)"
        ) from error
    return outcomes


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Processes started within it never see Ctrl-C: ending them is left to this one, which sees it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def usual_jobs(seeds: int, cores: int) -> int:
    """All seeds at once up to two a core, so that no core waits for a last seed; beyond that, one a core."""
    if cores == 1:
        return 1
    return seeds if seeds <= 2 * cores else cores


def available_cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _counted(run: SeedRun[Outcome], seed: int, report: Report) -> Outcome:
    counter = Counter(report)
    outcome = run(seed, counter)
    counter.flush()
    return outcome


def _pass_on(messages: "multiprocessing.Queue[int]", report: Report) -> None:
    try:
        report(messages.get(timeout=_SECONDS_BETWEEN_REPORTS))
    except queue.Empty:
        return


_messages: "multiprocessing.Queue[int] | None" = None


def _begin_worker(messages: "multiprocessing.Queue[int]") -> None:
    global _messages
    _messages = messages
    torch.set_num_threads(1)
    tune_malloc()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Nobody wants the outcome once the parent has been killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "the worker was started by run_seeds"
    parent.join()
    os._exit(1)


def _in_worker(run: SeedRun[Outcome], seed: int) -> Outcome:
    assert _messages is not None, "the worker was started by run_seeds"
    return _counted(run, seed, _messages.put)
