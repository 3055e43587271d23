"""Where the calls of a comparison or a search run: in processes of this machine, as jobs of Slurm, on a Ray cluster."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch

from preceptor.compare.parallel import Call, Counter, Outcome, Report, Results, processes
from preceptor.errors import MachineError, unknown_name
from preceptor.malloc import tune_malloc
from preceptor.models.custom import ALLOWED

Result = TypeVar("Result")

JOBS = "jobs"
"""The folder of the jobs' logs, in that of a comparison or a search."""


class Launcher(Protocol):
    """Runs calls somewhere: :func:`~preceptor.compare.parallel.processes`, ``launchers.submitit``, ``launchers.ray``.

    One of your own is a generator function: its ``finally`` ends what still runs when it is closed.
    """

    def __call__(self, calls: Sequence[Call[Outcome]], jobs: int | None, report: Report, /) -> Results[Outcome]:
        """Run all calls; of each yield its number and its outcome as it ends.

        Args:
            calls: picklable; see :class:`RemoteCall` to run one on another machine.
            jobs: calls at a time; None: as many as the launcher sees fit.
            report: to be called in this process about once a second, with the number of images trained on since the
                last time; with 0 where the launcher doesn't know: then the run folders are looked at.

        Yields:
            The call's number and its outcome; an exception where it ended with one: a `MachineError` where that
            concerns this call alone, such as the end of its process.
        """


def collect(results: Results[Outcome], on_done: Callable[[int, Outcome], None] = lambda number, outcome: None) -> None:
    """Take outcomes as they come.

    Raises:
        MachineError: the first that a call ended with, when all others are done. Any other exception of a call, and an
            interrupt, is raised at once, and what still runs is ended.
    """
    first: MachineError | None = None
    with closing(results):
        for number, outcome in results:
            if isinstance(outcome, MachineError):
                first = first or outcome
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                on_done(number, outcome)
    if first is not None:
        raise first


def watching(advance: Callable[[int], None], done: Callable[[], int]) -> Report:
    """A report for calls that may run elsewhere: images that the launcher counts, or else those that are ``done``.

    Args:
        advance: takes the number of images since the last call.
        done: images done in all, by what is on disk.
    """
    counted, before = 0, done()

    def report(images: int) -> None:
        nonlocal counted
        images = images or max(0, done() - before - counted)
        counted += images
        advance(images)

    return report


LAUNCHERS = ("processes", "local", "slurm", "ray")


def make_launcher(name: str, out: Path, settings: Mapping[str, Any]) -> Launcher:
    """The launcher of a name.

    Args:
        name: one of ``LAUNCHERS``; "local" is submitit's local executor.
        out: folder of the comparison or search.
        settings: what each job asks Slurm or Ray for.

    Raises:
        InputError: an unknown name or setting.
        MachineError: a package or Slurm is missing.
    """
    if name not in LAUNCHERS:
        raise unknown_name("launcher", name, LAUNCHERS)
    if name == "processes":
        return processes
    if name == "ray":
        from preceptor.compare.launchers.ray import Ray

        return Ray(settings)
    from preceptor.compare.launchers.submitit import Submitit

    return Submitit("slurm", out / JOBS, settings) if name == "slurm" else Submitit("local", out / JOBS)


@dataclass(frozen=True)
class RemoteCall(Generic[Result]):
    """A call for another machine: in this process's working directory, with what it allows, on one thread."""

    call: Call[Result]
    directory: Path = field(default_factory=Path.cwd)
    allowed: str = field(default_factory=lambda: os.environ.get(ALLOWED, ""))

    def __call__(self) -> Result:
        os.chdir(self.directory)
        os.environ[ALLOWED] = self.allowed
        tune_malloc()
        torch.set_num_threads(1)
        return self.call(Counter(lambda images: None))
