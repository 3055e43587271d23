"""Progress bars on standard error: of one training run, and of a study."""

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} images/s" if task.speed else "", style="cyan")


SECONDS_BETWEEN_LINES = 30.0
"""Where there is no terminal to draw on, a line is written this often."""


class _Bar:
    """A bar with images a second and the time left; plain lines where there is no terminal, nothing when quiet."""

    def __init__(self, *columns: ProgressColumn, quiet: bool) -> None:
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
        self._writes_lines = not quiet and not console.is_terminal
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def _begin(self, title: str, images: int, **fields: Any) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(title, total=images, **fields)

    def _update(self, images: int, **fields: Any) -> None:
        assert self._task is not None, "begin comes first"
        self._progress.update(self._task, advance=images, **fields)
        if self._writes_lines and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._progress.console.print(plain_line(self._progress.tasks[0]), highlight=False)


def plain_line(task: Task) -> str:
    """What a bar shows, as a line of text."""
    rate = f"{task.speed:,.0f} images/s" if task.speed else ""
    left = f"{task.time_remaining / 60:.0f} min left" if task.time_remaining is not None else ""
    shown = [task.fields.get("epoch", ""), f"{task.percentage:.0f} %", rate, left, task.fields.get("losses", "")]
    return f"{task.description}: {', '.join(part for part in shown if part)}"


class ProgressBar(_Bar):
    """A training run: also the epoch and the loss terms.

    Args:
        title: shown before the bar.
        quiet: draw nothing.
    """

    def __init__(self, title: str, quiet: bool = False) -> None:
        super().__init__(
            TextColumn("{task.fields[epoch]}"), TextColumn("{task.fields[losses]}", style="dim"), quiet=quiet
        )
        self._title = title
        self._epochs = 0

    def begin(self, epochs: int, steps: int, images: int) -> None:
        """Start a bar over all images of all epochs."""
        self._epochs = epochs
        self._begin(self._title, epochs * images, epoch="", losses="")

    def step(self, epoch: int, images: int) -> None:
        """Move on by so many images."""
        self._update(images, epoch=f"epoch {epoch}/{self._epochs}")

    def losses(self, pupil: str, losses: dict[str, float]) -> None:
        """Show the pupil's mean losses of this epoch so far."""
        self._update(0, losses=" ".join(f"{name} {value:.3f}" for name, value in losses.items()))


class StudyBar(_Bar):
    """A study: all images of all seeds.

    Args:
        quiet: draw nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)

    def begin_study(self, name: str, images: int) -> None:
        """Start a bar over all images of all seeds."""
        self._begin(name, images)

    def advance(self, images: int) -> None:
        """Move on by so many images."""
        self._update(images)


class BenchBar(_Bar):
    """A bench: all images that go through all variants of a case, in all rounds.

    Args:
        quiet: draw nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)

    def begin_case(self, name: str, images: int) -> None:
        """Start a bar over all images of the case."""
        self._begin(name, images)

    def advance(self, images: int) -> None:
        """Move on by so many images."""
        self._update(images)


class PredictionBar(_Bar):
    """Images that a student is asked about.

    Args:
        quiet: draw nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)

    def begin_images(self, images: int) -> None:
        """Start a bar over so many images."""
        self._begin("predicting", images)

    def advance(self, images: int) -> None:
        """Move on by so many images."""
        self._update(images)
