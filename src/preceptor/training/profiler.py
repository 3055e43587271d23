"""Profile some steps of training: a trace to look at, and tables of where the time went."""

import dataclasses
import gzip
import json
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from types import TracebackType
from typing import Self

import torch
from torch.profiler import ProfilerActivity, profile, schedule, supported_activities

from preceptor.errors import InputError, MachineError
from preceptor.files import write_whole
from preceptor.training.callbacks import Callback
from preceptor.training.step_profile import Profile, as_text, profile_of
from preceptor.training.trace import read_trace

TRACE_FILE = "profile-trace.json.gz"
"""For https://ui.perfetto.dev or chrome://tracing."""

TABLE_FILE = "profile.txt"
DATA_FILE = "profile.json"

SKIPPED = 10
RECORDED = 20


class Profiler:
    """A watcher that profiles some of the first steps, and hands everything on to another watcher.

    Steps are skipped until the one-off costs are over, then recorded by ``torch.profiler``, on CUDA too where
    training uses it; then the trace and the tables are written, and training goes on as without a profiler. In a
    short training a third of the steps is skipped and all others are recorded. Only the first training that it
    watches is profiled.

    Use it as a context around training, or call ``close`` at its end, so that recording is stopped whatever happens.

    Args:
        inner: told everything that this is told.
        folder: where ``TRACE_FILE``, ``TABLE_FILE`` and ``DATA_FILE`` are written; made if need be.
        skip: steps before the first one recorded, at least 1.
        record: how many are recorded, at least 1.

    Raises:
        InputError: fewer than 1 step to skip or to record.
    """

    def __init__(self, inner: Callback, folder: Path, *, skip: int = SKIPPED, record: int = RECORDED) -> None:
        if skip < 1 or record < 1:
            raise InputError(f"profiler: skip {skip}, record {record} steps: at least 1 each")
        self.profile: Profile | None = None
        self._inner = inner
        self._folder = folder
        self._asked = skip, record
        self._begun = False
        self._planned = range(0)
        self._steps = 0
        self._epoch = 0
        self._epoch_begins: set[int] = set()
        self._stack = ExitStack()
        self._recording: profile | None = None

    def begin(self, epochs: int, steps: int, images: int) -> None:
        """Choose the steps to record."""
        self._inner.begin(epochs, steps, images)
        self._begun = True
        if not self._planned:
            self._steps = 0
            self._planned = _planned(epochs * steps, *self._asked)
            self._start_in_time()

    def step(self, epoch: int, images: int) -> None:
        """Count; start or stop recording when it is time."""
        self._inner.step(epoch, images)
        if self._steps >= self._planned.stop:
            return
        if epoch != self._epoch:
            self._epoch = epoch
            self._epoch_begins.add(self._steps)
        self._steps += 1
        if self._recording is None:
            self._start_in_time()
        elif self._steps < self._planned.stop:
            self._recording.step()
        else:
            self._finish()

    def losses(self, pupil: str, losses: dict[str, float]) -> None:
        """Hand them on."""
        self._inner.losses(pupil, losses)

    def close(self) -> None:
        """Stop recording if training ended before its time, and write what there is, or why there is nothing.

        Raises:
            MachineError: it cannot be written.
        """
        self._finish()
        if self._begun and self.profile is None:
            write_whole({self._folder / TABLE_FILE: self.summary().encode()})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def summary(self) -> str:
        """The tables as text, or why there are none."""
        if self.profile is not None:
            return as_text(self.profile)
        return f"nothing was profiled: training ended with step {self._steps}, and the first ones only warm up\n"

    def _start_in_time(self) -> None:
        """Start one step early: torch sets up its recording during a step that it leaves out."""
        if self._planned and self._steps == self._planned.start - 1:
            plan = schedule(wait=0, warmup=1, active=len(self._planned), repeat=1)
            self._recording = self._stack.enter_context(profile(activities=_activities(), schedule=plan))

    def _finish(self) -> None:
        recording, self._recording = self._recording, None
        self._stack.close()
        recorded = range(self._planned.start, self._steps)
        if recording is not None and recorded:
            self._write(recording, recorded)

    def _write(self, recording: profile, recorded: range) -> None:
        trace = _exported(recording)
        begins = {step - recorded.start for step in self._epoch_begins}
        self.profile = profile_of(read_trace(trace), steps=len(recorded), skipped=recorded.start, epoch_begins=begins)
        contents = {
            TRACE_FILE: gzip.compress(trace, compresslevel=6),
            DATA_FILE: json.dumps(dataclasses.asdict(self.profile), indent=1).encode(),
            TABLE_FILE: self.summary().encode(),
        }
        write_whole({self._folder / name: content for name, content in contents.items()})


def _planned(total: int, skip: int, record: int) -> range:
    """Which of all steps are recorded, counted from 0."""
    first = min(skip, max(1, total // 3))
    return range(first, min(first + record, total))


def _activities() -> list[ProfilerActivity]:
    """CUDA only where training has begun to use it: asking for it would take up a device."""
    uses_cuda = torch.cuda.is_initialized() and ProfilerActivity.CUDA in supported_activities()
    return [ProfilerActivity.CPU, ProfilerActivity.CUDA] if uses_cuda else [ProfilerActivity.CPU]


def _exported(recording: profile) -> bytes:
    """The trace, unpacked: torch's own packing takes ten times as long as all of this."""
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            recording.export_chrome_trace(str(path))
            return path.read_bytes()
    except OSError as error:
        raise MachineError(
            f"the profiler's trace cannot be written to {gettempdir()}: {error.strerror}: set TMPDIR to another place"
        ) from error
