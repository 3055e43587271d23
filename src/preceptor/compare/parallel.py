"""Calls side by side in processes of one thread each, which on few cores beats one run with all threads."""

import multiprocessing
import os
import queue
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from ctypes import c_bool
from functools import partial
from typing import Any, TypeVar

import torch

from preceptor.errors import Interrupted, MachineError
from preceptor.malloc import tune_malloc
from preceptor.threads import one_thread
from preceptor.training import Callback, Step, Trainer

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
        self._images += len(step.batch.label) // trainer.data.rows_per_sample
        if time.monotonic() - self._last > _SECONDS_BETWEEN_REPORTS:
            self.flush()

    def flush(self) -> None:
        """Report what has not been reported."""
        self._report(self._images)
        self._images, self._last = 0, time.monotonic()


Call = Callable[[Counter], Outcome]
"""Something to run, with the counter as its training's callback: a function and arguments that can be pickled."""

Results = Generator[tuple[int, Outcome | Exception], None, None]
"""As each call ends its number and its outcome, or the error that it ended with."""

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
    outcomes: dict[int, Outcome] = {}
    with closing(processes([partial(run, seed) for seed in seeds], jobs, report)) as results:
        for number, outcome in results:
            if isinstance(outcome, Exception):
                raise outcome
            outcomes[number] = outcome
            on_done(outcome)
    return [outcomes[number] for number in range(len(seeds))]


def processes(calls: Sequence[Call[Outcome]], jobs: int | None, report: Report) -> Results[Outcome]:
    """Run calls in processes of this machine, each with one CPU thread: the launcher where no other is asked for.

    A process that dies, or is killed, takes its call with it and no other.

    Args:
        calls: picklable when ``jobs`` is above 1.
        jobs: calls at a time; 1 stays in this process, and raises what a call raises; None is :func:`default_jobs`.
        report: called in this process.
    """
    if jobs is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        jobs = default_jobs(len(calls), cores or 1)
    if min(jobs, len(calls)) == 1:
        with one_thread():
            for number, call in enumerate(calls):
                yield number, _counted(call, report)
        return
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    ending: Any = context.Value(c_bool, False, lock=False)

    def new_pool() -> ProcessPoolExecutor:  # of one process: a pool ends all of its own where one is killed
        return ProcessPoolExecutor(1, mp_context=context, initializer=_begin_worker, initargs=(messages, ending))

    before = set(multiprocessing.active_children())
    waiting = list(enumerate(calls))
    idle = [new_pool() for _ in range(min(jobs, len(calls)))]
    running: dict[Future[Outcome], tuple[int, ProcessPoolExecutor]] = {}
    try:
        while waiting or running:
            while waiting and idle:
                number, call = waiting.pop(0)
                pool = idle.pop()
                with _interrupts_blocked():
                    running[pool.submit(_in_worker, call)] = number, pool
            _forward(messages, report)
            for future in [one for one in running if one.done()]:
                number, pool = running.pop(future)
                outcome = _outcome(future)
                if isinstance(outcome, MachineError):
                    pool.shutdown(wait=False)
                    pool = new_pool()
                idle.append(pool)
                yield number, outcome
    except BaseException:
        ending.value = True
        for worker in set(multiprocessing.active_children()) - before:
            worker.terminate()
        raise
    finally:
        for pool in [*idle, *(pool for _, pool in running.values())]:
            pool.shutdown()


def _outcome(future: "Future[Outcome]") -> Outcome | Exception:
    try:
        return future.result()
    except BrokenProcessPool:
        return MachineError(
            "a process ended before it was done, perhaps for lack of memory; close other programs, or run fewer at a "
            "time (jobs=1)"
        )
    except Interrupted as error:  # it alone was told to end: this process would be in the midst of its own interrupt
        return MachineError(f"a process was told to end: {error}")
    except Exception as error:
        return error


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


def _counted(call: Call[Outcome], report: Report) -> Outcome:
    counter = Counter(report)
    outcome = call(counter)
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
    messages.cancel_join_thread()  # a worker that was killed may hold the queue's lock: nobody waits for it at the end
    torch.set_num_threads(1)
    tune_malloc()
    warnings.filterwarnings("ignore", module=r"PIL\.")  # as the command line does, which started this process
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker once its parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "the worker was started by processes"
    parent.join()
    os._exit(1)


def _in_worker(call: Call[Outcome]) -> Outcome:
    assert _messages is not None, "the worker was started by processes"
    try:
        return _counted(call, _messages.put)
    finally:
        # A training that is told to end writes its checkpoint first. Then this worker must not wait for another call.
        if _ending.value:
            os._exit(1)
