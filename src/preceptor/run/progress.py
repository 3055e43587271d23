"""Progress bars on standard error: of a training run, and of any other work on images."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from preceptor.training.callbacks import Callback

if TYPE_CHECKING:
    from preceptor.training import Step, Trainer


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} images/s" if task.speed else "", style="cyan")


SECONDS_BETWEEN_LINES = 30.0
"""Time between lines where there is no terminal to draw on."""


class _Shown:
    """What a rich progress draws while the block runs."""

    _progress: Progress

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


class ImageBar(_Shown):
    """A bar with images a second and the time left; plain lines where there is no terminal, nothing when quiet."""

    def __init__(self, *columns: ProgressColumn, quiet: bool = False) -> None:
        console = Console(stderr=True, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            *columns,
            console=console,
            disable=quiet or not console.is_terminal,
            refresh_per_second=4,
            speed_estimate_period=60,
        )
        self._task: TaskID | None = None
        self._quiet, self._writes_lines = quiet, not quiet and not console.is_terminal
        self._last_line = time.monotonic()

    def start(self, name: str, images: int, **fields: Any) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=images, **fields)

    def advance(self, images: int, **fields: Any) -> None:
        assert self._task is not None, "start comes first"
        self._progress.update(self._task, advance=images, **fields)
        if self._writes_lines and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._progress.console.print(plain_line(self._progress.tasks[0]), highlight=False)

    def line(self, text: str) -> None:
        """Print a line above the bar, unless it is quiet."""
        if not self._quiet:
            self._progress.console.print(text, highlight=False, markup=False)

    def move_to(self, images: int) -> None:
        assert self._task is not None, "start comes first"
        self._progress.update(self._task, completed=images)

    def counter(self, name: str) -> Callable[[int, int], None]:
        """Told how many images of how many are done, it starts a bar and moves it."""
        before: int | None = None

        def progress(done: int, images: int) -> None:
            nonlocal before
            if before is None:
                self.start(name, images)
            self.advance(done - (before or 0))
            before = done

        return progress


class StatusLine(_Shown):
    """What is being done, on one line with a clock; nothing where there is no terminal, or when quiet."""

    def __init__(self, verb: str = "", quiet: bool = False) -> None:
        self._verb, console = verb, Console(stderr=True, soft_wrap=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )

    def __call__(self, what: str) -> None:
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._progress.add_task(self._verb + what, total=None)


def plain_line(task: Task) -> str:
    """A bar as a line of text."""
    rate = f"{task.speed:,.0f} images/s" if task.speed else ""
    left = f"{task.time_remaining / 60:.0f} min left" if task.time_remaining is not None else ""
    shown = [task.fields.get("epoch", ""), f"{task.percentage:.0f} %", rate, left, task.fields.get("losses", "")]
    return f"{task.description}: {', '.join(part for part in shown if part)}"


class ProgressBar(ImageBar, Callback):
    """The bar of a training run, with the epoch and the losses too."""

    def __init__(self, title: str, quiet: bool = False) -> None:
        super().__init__(
            TextColumn("{task.fields[epoch]}"), TextColumn("{task.fields[losses]}", style="dim"), quiet=quiet
        )
        self._title = title

    def on_train_start(self, trainer: "Trainer") -> None:
        self.start(self._title, trainer.config.epochs * len(trainer.data.index), epoch="", losses="")

    def on_epoch_start(self, trainer: "Trainer", epoch: int, first: int) -> None:
        """On a resume, count what was done before."""
        self.move_to(epoch * len(trainer.data.index) + first * trainer.config.batch_size)

    def on_step_end(self, trainer: "Trainer", step: "Step") -> None:
        images = len(step.batch.label) // trainer.data.rows_per_sample
        self.advance(images, epoch=f"epoch {step.epoch + 1}/{trainer.config.epochs}")

    def on_log(self, trainer: "Trainer", losses: Mapping[str, Mapping[str, float]]) -> None:
        means = [f"{name} {value:.3f}" for student in losses.values() for name, value in student.items()]
        self.advance(0, losses=" ".join(means))
