"""What tests launch; importable by jobs and tasks."""

import os
import signal
import sys
import time
from pathlib import Path

import torch

from preceptor.compare.parallel import Counter
from preceptor.compare.passes import Pass, train_pass
from preceptor.errors import InputError, Interrupted
from preceptor.training import Step, Trainer


def doubled(number: int, counter: Counter) -> int:
    assert torch.get_num_threads() == 1
    return 2 * number


def where(counter: Counter) -> str:
    return str(Path.cwd())


def without_data(counter: Counter) -> int:
    raise InputError("no data there")


def killed(counter: Counter) -> int:
    print("a line of its own", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def killed_once(marker: Path, counter: Counter) -> str:
    if not marker.exists():
        marker.touch()
        killed(counter)
    return "done"


def told_to_end(counter: Counter) -> int:
    raise Interrupted("stopped, with a checkpoint")


def asleep(started: Path, counter: Counter) -> int:
    """For two minutes, unless it is interrupted; then there is another file."""
    started.write_text(str(os.getpid()))
    try:
        for _ in range(600):
            time.sleep(0.2)
    finally:
        started.with_suffix(".ended").touch()
    return 0


def preempted_once(marker: Path, counter: Counter) -> str:
    """The first time the job is told that it is preempted."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(60)
    return "done"


class _Preempted(Counter):
    def __init__(self, marker: Path) -> None:
        super().__init__(lambda images: None)
        self._marker = marker

    def on_step_end(self, trainer: Trainer, step: Step) -> None:
        if self._marker.exists():
            with self._marker.open("a") as file:
                print(step.epoch, file=file)
        elif step.epoch == 3:
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGUSR2)


def preempted_pass(cells: Pass, out: Path, marker: Path, counter: Counter) -> None:
    """A pass that is preempted once, in its fourth epoch; its later steps are noted in the marker."""
    train_pass(cells, out, 0, _Preempted(marker))
