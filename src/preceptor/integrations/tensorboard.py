"""TensorBoard: event files in a folder, written by torch's own writer (extra ``tensorboard``)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.errors import InputError
from preceptor.integrations.tracker import Cell, Pixels, TrackedRun

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

EVENTS = "events"
"""Stands for the run's id, which event files do without."""


class TensorBoardTracker:
    """Tracks a run in event files. What a resumed run logs again hides the earlier points, as TensorBoard provides for.

    Args:
        folder: of the event files; made if need be.
        kept: what the run's folder keeps of it.

    Raises:
        InputError: from ``start``: the folder holds the events of another run.
    """

    name = "tensorboard"
    errors: tuple[type[Exception], ...] = (OSError,)
    _writer: "SummaryWriter"

    def __init__(self, folder: Path, kept: TrackedRun) -> None:
        self._folder, self._kept = folder, kept

    def start(self, name: str, settings: Mapping[str, Cell], step: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        resumed = self._kept.id is not None
        if not resumed and any(self._folder.glob("events.out.tfevents.*")):
            raise InputError(f"{self._folder}: holds the events of another run: choose another --track tensorboard:DIR")
        self._writer = SummaryWriter(str(self._folder), purge_step=step + 1 if resumed and step is not None else None)
        if not resumed:
            self.table("settings", ("setting", "value"), list(settings.items()))
            self._kept.begin(EVENTS)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # a process that is killed leaves what came before its last checkpoint

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        lines = [columns, ["---"] * len(columns), *rows]
        self._writer.add_text(name, "\n".join("|" + "|".join(map(_in_markdown, line)) + "|" for line in lines))

    def image(self, name: str, image: Pixels) -> None:
        self._writer.add_image(name, image, dataformats="HWC" if image.ndim == 3 else "HW")

    def page(self, name: str, path: Path) -> None:
        """TensorBoard shows no HTML: the place of the page is logged."""
        self._writer.add_text(name, f"`{path.resolve()}`")

    def finish(self, complete: bool) -> None:
        self._writer.close()


def _in_markdown(cell: Cell) -> str:
    """A cell of a Markdown table, in which a bar or a line's end would end it."""
    return "" if cell is None else " ".join(str(cell).replace("|", "\\|").split())
