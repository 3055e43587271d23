"""Jobs of Slurm, by submitit (extra ``slurm``); or of submitit's local executor, which runs the same without Slurm."""

import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from preceptor.compare.launchers import RemoteCall
from preceptor.compare.parallel import Call, Outcome, Report, Results
from preceptor.errors import InputError, Interrupted, MachineError, first_line, unknown_name
from preceptor.extras import import_extra

if TYPE_CHECKING:
    from submitit import Executor, Job

MINUTES = 24 * 60
"""Limit of a job's time where ``time`` is not set: submitit's own is 5 minutes."""

MOST_TIMEOUTS = 20
"""How often a job that meets its limit is put back into the queue; submitit's own number is 3."""

_SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Submitit:
    """A launcher that makes each call a job.

    A job that meets its time limit, or is preempted, is put back into the queue, and its runs go on from their last
    checkpoints. What still runs is canceled when the launcher is closed, as by Ctrl-C.

    Args:
        cluster: "slurm", or "local": processes of this machine.
        folder: of the jobs' scripts and logs, seen by all machines; what is written there is removed when all jobs
            have ended well.
        settings: of sbatch, with underscores: ``partition``, ``time`` in minutes (default 24 hours), ``gpus_per_node``,
            ``cpus_per_task``, ``mem``, ``account``, ``qos``, ``constraint`` and others.

    Raises:
        InputError: an unknown setting.
        MachineError: submitit or Slurm is missing.
    """

    cluster: Literal["local", "slurm"]
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import_extra("submitit", "slurm", "a job")
        if self.cluster == "slurm":
            self._slurm(self.folder)

    def __call__(self, calls: Sequence[Call[Outcome]], jobs: int | None, report: Report) -> Results[Outcome]:
        """See :class:`~preceptor.compare.launchers.Launcher`; by default Slurm gets all calls, and decides."""
        folder = self.folder.absolute() / f"{datetime.now():%Y-%m-%d-%H-%M-%S-%f}"
        executor = self._slurm(folder) if self.cluster == "slurm" else _local(folder)
        waiting = list(enumerate(calls))
        at_once = jobs or (len(calls) if self.cluster == "slurm" else 1)
        running: dict[int, Job[Outcome]] = {}
        failed = False
        try:
            while waiting or running:
                now = waiting[: at_once - len(running)]
                del waiting[: len(now)]
                if now:
                    running.update(zip([number for number, _ in now], _submit(executor, now), strict=True))
                for number, job in [*running.items()]:
                    if job.done():
                        del running[number]
                        outcome = _outcome(job)
                        failed = failed or isinstance(outcome, Exception)
                        yield number, outcome
                report(0)
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            for job in running.values():
                job.cancel(check=False)
        if not failed:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # another command may have jobs there
                self.folder.rmdir()

    def _slurm(self, folder: Path) -> "Executor":
        from submitit import SlurmExecutor

        if not isinstance(self.settings.get("time", MINUTES), int):
            raise InputError(f"time of a Slurm job is {self.settings['time']!r}; expected whole minutes, such as 240")
        try:
            executor = SlurmExecutor(folder, max_num_timeout=MOST_TIMEOUTS)
        except RuntimeError as error:
            raise MachineError(
                "srun is not on the path, so that there is no Slurm here: log in to a machine of the cluster, or try "
                "--launcher local"
            ) from error
        try:
            executor.update_parameters(**{"job_name": "preceptor", "time": MINUTES, **self.settings})
        except ValueError as error:  # of many lines: it lists all there are, with their defaults
            known = re.findall(r"^\s*- (\w+) \(default", str(error), re.MULTILINE)
            unknown = next(name for name in self.settings if name not in known)
            raise unknown_name("setting of Slurm", unknown, known) from error
        return executor


def _local(folder: Path) -> "Executor":
    """Its jobs see all GPUs, and have no limit: submitit's own are none, and 2 minutes."""
    from submitit import LocalExecutor

    executor = LocalExecutor(folder)
    executor.update_parameters(timeout_min=10**7, gpus_per_node=torch.cuda.device_count())
    return executor


class _Job(RemoteCall[Outcome]):
    """A call as submitit wants it."""

    def __call__(self) -> Outcome:
        try:
            return super().__call__()
        except Interrupted as error:  # by SIGTERM: as a result it would keep Slurm's own requeue from being waited for
            sys.exit(str(error))

    def checkpoint(self) -> Any:
        """What submitit puts back into the queue: the same call, which goes on from what is on disk."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _submit(executor: "Executor", calls: Sequence[tuple[int, Call[Outcome]]]) -> "list[Job[Outcome]]":
    """To Slurm they are an array of jobs."""
    try:
        jobs: list[Job[Outcome]] = executor.submit_array([_Job(call) for _, call in calls])
    except (RuntimeError, OSError) as error:
        raise MachineError(f"sbatch took no job: {first_line(error)}: change the Slurm settings (--slurm)") from error
    return jobs


def _outcome(job: "Job[Outcome]") -> Outcome | MachineError:
    try:
        result: Outcome = job.result()
        return result
    except Exception:  # submitit's errors hold the whole log
        logs = [path for path in (job.paths.stderr, job.paths.stdout) if path.is_file() and path.stat().st_size]
        lines = logs[0].read_text(errors="replace").strip().splitlines() if logs else []
        last = lines[-1] if lines else "it wrote nothing"
        where = logs[0] if logs else job.paths.folder
        return MachineError(f"job {job.job_id} failed ({job.state.lower()}): {last}; its log: {where}")
