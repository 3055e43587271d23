"""Feeds an experiment tracker from a run while it trains."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from preceptor.errors import MachineError, first_line
from preceptor.integrations.content import mosaic, numbers, result_tables, settings_to_track
from preceptor.integrations.tracker import Tracker
from preceptor.models.store import CARD_FILE, read_card
from preceptor.training import Callback, Step, Trainer


class TrackerCallback(Callback):
    """Logs a run in a tracker: its settings, losses, every line of ``metrics.jsonl``, and at the end tables.

    Losses are means of the epoch so far, some times an epoch, under ``loss/TERM``. The line of an epoch is under
    ``epoch/``, its held-out accuracy included, the metrics of the result under ``validation/`` and ``test/``. The first
    batch is shown as the student saw it. Used as a context manager, so that the tracker's run ends however the run
    does.

    Args:
        tracker: the tracker.
        folder: of the run.

    Raises:
        MachineError: from training: the tracker cannot log. The run can be resumed, with the tracker or without.
    """

    def __init__(self, tracker: Tracker, folder: Path) -> None:
        self._tracker, self._folder = tracker, folder
        self._started = self._complete = False
        self._steps_an_epoch = 0
        self._steps = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._started:
            with self._naming_the_tracker():
                self._tracker.finish(self._complete)

    def on_train_start(self, trainer: Trainer) -> None:
        self._steps_an_epoch, self._steps = trainer.steps, trainer.config.epochs * trainer.steps
        self._start(trainer.completed_steps)

    def on_step_end(self, trainer: Trainer, step: Step) -> None:
        if trainer.completed_steps == 1:
            with self._naming_the_tracker():
                self._tracker.image("first_batch", mosaic(step.batch.inputs))

    def on_log(self, trainer: Trainer, losses: Mapping[str, Mapping[str, float]]) -> None:
        (terms,) = losses.values()
        values = {f"loss/{term}": value for term, value in terms.items()}
        with self._naming_the_tracker():
            self._tracker.scalars(values, trainer.completed_steps)

    def on_entry(self, folder: Path, entry: Mapping[str, Any]) -> None:
        """Log the line of an epoch, and that of the result."""
        with self._naming_the_tracker():
            match entry["event"]:
                case "epoch":
                    measured = {name: value for name, value in entry.items() if name != "epoch"}
                    self._tracker.scalars(numbers(measured, "epoch/"), entry["epoch"] * self._steps_an_epoch)
                case "end":
                    self._log_result(entry)
                    self._complete = True

    def log_page(self, path: Path) -> None:
        """Log a page that was made of the complete run, such as that of its evaluation."""
        self._start(None)
        with self._naming_the_tracker():
            self._tracker.page(path.stem, path)
        self._complete = True

    def _start(self, step: int | None) -> None:
        settings = settings_to_track(self._folder)
        with self._naming_the_tracker():
            self._tracker.start(self._folder.resolve().name, settings, step)
        self._started = True

    def _log_result(self, entry: Mapping[str, Any]) -> None:
        self._tracker.scalars(numbers(entry), self._steps)
        card = self._folder / CARD_FILE  # there is none of a network from Python
        class_names = read_card(card).class_names if card.exists() else None
        for name, (columns, rows) in result_tables(entry, class_names).items():
            self._tracker.table(name, columns, rows)

    @contextmanager
    def _naming_the_tracker(self) -> Iterator[None]:
        try:
            yield
        except self._tracker.errors as error:
            raise MachineError(
                f"{self._tracker.name}: {first_line(error)}: mend it, or leave --track {self._tracker.name} out; a run "
                f"that was stopped goes on by preceptor resume {self._folder}"
            ) from error
