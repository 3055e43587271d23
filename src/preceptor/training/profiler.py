"""Profiling of some training steps with torch.profiler: a trace to look at, and a table of where the time went."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from preceptor.errors import MachineError
from preceptor.files import write_whole
from preceptor.training.callbacks import Callback

if TYPE_CHECKING:
    from preceptor.training.step import Step
    from preceptor.training.trainer import Trainer

TRACE_FILE = "profile-trace.json.gz"
"""For https://ui.perfetto.dev or chrome://tracing."""

TABLE_FILE = "profile.txt"

SKIPPED, RECORDED = 10, 20
"""Steps before the first one recorded, so that one-off costs are over, and steps recorded."""

ROWS = 40


@contextmanager
def profiled(name: str) -> Iterator[None]:
    """Names a part of the step (batch, teacher, student, loss, backward, optimizer) for a profiler; next to free when
    none records."""
    if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
        with torch.profiler.record_function(name):
            yield
    else:
        yield


class Profiler(Callback):
    """Records some of the first steps, then writes ``TRACE_FILE`` and ``TABLE_FILE``; training goes on.

    In a training too short for that, a third of its steps is skipped and the rest recorded.

    Args:
        folder: where the files are written; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._profile: profile | None = None
        self._recorded = 0
        self._left = 0

    def on_train_start(self, trainer: "Trainer") -> None:
        steps = trainer.config.epochs * trainer.steps
        skipped = min(SKIPPED, max(1, steps // 3))
        recorded = max(1, min(RECORDED, steps - skipped))
        self._recorded, self._left = recorded, skipped + recorded
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (trainer.device.type == "cuda")
        # torch sets up its recording during a warm-up step, the last of those skipped.
        plan = schedule(wait=skipped - 1, warmup=1, active=recorded, repeat=1)
        self._profile = profile(activities=activities, schedule=plan)
        self._profile.start()

    def on_step_end(self, trainer: "Trainer", step: "Step") -> None:
        if self._profile is not None:
            self._profile.step()
            self._left -= 1
            if self._left == 0:
                self._write()

    def on_train_end(self, trainer: "Trainer") -> None:
        if self._profile is not None:
            self._write()

    def _write(self) -> None:
        assert self._profile is not None
        recording, self._profile = self._profile, None
        recording.stop()
        if self._left >= self._recorded:
            write_whole({self._folder / TABLE_FILE: b"no step was recorded: training ended too early\n"})
            return
        sort = "self_cuda_time_total" if ProfilerActivity.CUDA in recording.activities else "self_cpu_time_total"
        table = recording.key_averages().table(sort_by=sort, row_limit=ROWS, max_name_column_width=60)
        try:
            with TemporaryDirectory() as folder:
                trace = Path(folder) / "trace.json"
                recording.export_chrome_trace(str(trace))
                content = trace.read_bytes()
        except OSError as error:
            raise MachineError(
                f"the profiler's trace cannot be written to {gettempdir()}: {error.strerror}: set TMPDIR"
            ) from error
        # torch's own packing takes ten times as long.
        packed = gzip.compress(content, compresslevel=6)
        write_whole({self._folder / TRACE_FILE: packed, self._folder / TABLE_FILE: (table + "\n").encode()})
