"""Weights & Biases (extra ``wandb``)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.integrations.tracker import Cell, Pixels, TrackedRun

if TYPE_CHECKING:
    from wandb import Run


class WandbTracker:
    """Tracks a run as a W&B run, by the environment's account, entity and mode (``WANDB_MODE=offline``).

    A resumed run goes on in the same W&B run; points that it has are not logged again. Offline each part is a folder of
    its own, and both are of one id: ``wandb sync`` them in order.

    Args:
        project: its name. None is ``WANDB_PROJECT``, else W&B's own default.
        kept: what the run's folder keeps of it.
    """

    name = "wandb"
    _run: "Run"

    def __init__(self, project: str | None, kept: TrackedRun) -> None:
        self._project, self._kept = project, kept

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        from wandb.errors import Error

        return Error, OSError

    def start(self, name: str, settings: Mapping[str, Cell], step: int | None) -> None:
        import wandb

        self._run = wandb.init(
            project=self._project,
            name=name,
            id=self._kept.id,
            resume="allow",
            config=dict(settings),
            allow_val_change=True,  # a resumed run's data may have moved
            reinit="create_new",  # beside a run that the caller may have open
            settings=wandb.Settings(console="off"),  # the terminal shows a progress bar
        )
        self._kept.begin(self._run.id)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        new = self._kept.new(values, step)
        if new:
            self._run.log(new, step=step)
            self._kept.add(new, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        import wandb

        table = wandb.Table(columns=list(columns), data=[list(row) for row in rows])
        self._run.log({name: table}, commit=False)

    def image(self, name: str, image: Pixels) -> None:
        import wandb

        self._run.log({name: wandb.Image(image)}, commit=False)

    def page(self, name: str, path: Path) -> None:
        import wandb

        self._run.log({name: wandb.Html(path, inject=False)}, commit=False)

    def finish(self, complete: bool) -> None:
        self._run.finish(exit_code=0 if complete else 1)
