"""The progress bar of a training run: loss terms, images a second, time left."""

from types import TracebackType

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


class ProgressBar:
    """A watcher that draws on standard error, and only on a terminal.

    Args:
        title: shown before the bar.
        quiet: draw nothing.
    """

    def __init__(self, title: str, quiet: bool = False) -> None:
        self._title = title
        self._losses: dict[str, str] = {}
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[epoch]}"),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}", style="dim"),
            console=console,
            disable=quiet or not console.is_terminal,
            refresh_per_second=4,
        )
        self._task: TaskID | None = None
        self._epochs = 0

    def __enter__(self) -> "ProgressBar":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, epochs: int, steps: int, images: int) -> None:
        """Start a bar over all images of all epochs."""
        self._epochs = epochs
        self._losses.clear()
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(self._title, total=epochs * images, epoch="", losses="")

    def retitle(self, title: str) -> None:
        """The title of the next bar."""
        self._title = title

    def step(self, epoch: int, images: int) -> None:
        """Move on by so many images."""
        assert self._task is not None, "begin() comes first"
        self._progress.update(self._task, advance=images, epoch=f"epoch {epoch}/{self._epochs}")

    def losses(self, pupil: str, losses: dict[str, float]) -> None:
        """Show a pupil's mean losses; a class of pupils shows their totals."""
        assert self._task is not None, "begin() comes first"
        self._losses[pupil] = f"{pupil} {losses['total']:.3f}"
        alone = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self._progress.update(self._task, losses=alone if len(self._losses) == 1 else "  ".join(self._losses.values()))
