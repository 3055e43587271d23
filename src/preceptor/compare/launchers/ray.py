"""Tasks of Ray (extra ``ray``): on the cluster that ``RAY_ADDRESS`` names, or on this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preceptor.compare.launchers import RemoteCall
from preceptor.compare.parallel import Call, Outcome, Report, Results
from preceptor.errors import InputError, MachineError, first_line
from preceptor.extras import import_extra

_SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Ray:
    """A launcher that makes each call a task.

    A task whose process dies is begun again by Ray, three times at most, and its runs go on from their last
    checkpoints. What still runs is canceled when the launcher is closed, as by Ctrl-C.

    Args:
        settings: of a task, by Ray's own names: ``num_cpus`` (default 1), ``num_gpus``, ``memory`` and others.

    Raises:
        InputError: an unknown setting.
        MachineError: Ray is missing.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._task()

    def __call__(self, calls: Sequence[Call[Outcome]], jobs: int | None, report: Report) -> Results[Outcome]:
        """See :class:`~preceptor.compare.launchers.Launcher`; by default Ray gets all calls, and decides."""
        task = self._task()
        import ray

        begins = not ray.is_initialized()
        if begins:
            ray.init(log_to_driver=False, logging_level="ERROR")
        waiting = list(enumerate(calls))
        running: dict[Any, int] = {}
        try:
            while waiting or running:
                now = waiting[: (jobs or len(calls)) - len(running)]
                del waiting[: len(now)]
                running |= {task.remote(RemoteCall(call)): number for number, call in now}
                done, _ = ray.wait(list(running), timeout=_SECONDS_BETWEEN_LOOKS)
                for reference in done:
                    yield running.pop(reference), _outcome(reference)
                report(0)
        finally:
            for reference in running:
                ray.cancel(reference)
            if begins:
                ray.shutdown()

    def _task(self) -> Any:
        ray = import_extra("ray", "ray", "--launcher ray")
        try:
            return ray.remote(**{"num_cpus": 1, **self.settings})(_run)
        except (ValueError, TypeError) as error:
            raise InputError(f"settings of Ray: {first_line(error)}") from error


def _run(call: RemoteCall[Outcome]) -> Outcome:
    return call()


def _outcome(reference: Any) -> Any:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        return MachineError(
            f"a task of Ray failed: {type(cause).__name__}: {first_line(cause)}; Ray's logs: "
            "/tmp/ray/session_latest/logs, or ray logs"
        )
