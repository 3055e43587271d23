"""The interface of experiment trackers, and what a run's folder keeps of a tracker's run."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import UInt8

from preceptor.errors import InputError
from preceptor.files import read_json, write_whole

_ID = re.compile(r"[\w-]{1,256}", re.ASCII)
"""Of a run in any of the libraries, some of which make a path of it."""

TRACKERS = ("tensorboard", "mlflow", "wandb")
"""The libraries that a run can be tracked with; each is the name of an extra, too."""

Pixels = UInt8[np.ndarray, "height width"] | UInt8[np.ndarray, "height width 3"]
Cell = str | int | float | None


class Tracker(Protocol):
    """One run in an experiment tracker.

    Attributes:
        name: of the library.
        errors: what the library raises where it cannot do as asked.
    """

    name: str

    @property
    def errors(self) -> tuple[type[Exception], ...]: ...

    def start(self, name: str, settings: Mapping[str, Cell], step: int | None) -> None:
        """Begin a run, or go on with the one that this run's folder names.

        Args:
            name: to show.
            settings: of the run, by dotted key.
            step: completed steps of training. Later ones that were logged already will be logged again: each tracker
                sees to it that it shows them once. None after training.
        """

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers after a step of training, counted from 1 over all epochs."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Log a table; None is an empty cell."""

    def image(self, name: str, image: Pixels) -> None:
        """Log an image of gray or RGB pixels."""

    def page(self, name: str, path: Path) -> None:
        """Log an HTML file."""

    def finish(self, complete: bool) -> None:
        """End the tracker's run; ``complete`` is whether the run came to its end, or may be resumed."""


class TrackedRun:
    """What a run's folder keeps of a tracker's run, so that a resumed run goes on in it.

    A resumed run makes the steps after its checkpoint again, in the same bits. A library that only appends must leave
    out those that it has.

    Args:
        path: the JSON file that holds it, absent in a new run.

    Attributes:
        id: the library's name of the run; None where it has none yet.

    Raises:
        InputError: the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        content: Any = read_json(path) if path.is_file() else {"id": None, "steps": {}}
        if not _is_tracked_run(content):
            raise InputError(f"{path}: holds no id and steps of a tracker's run: remove it to begin another one there")
        self.id: str | None = content["id"]
        self._steps: dict[str, int] = content["steps"]

    def begin(self, run_id: str) -> None:
        """Keep the id of a run that has begun."""
        self.id = run_id
        self._save()

    def new(self, values: Mapping[str, float], step: int) -> dict[str, float]:
        """Those of some scalars that have not been logged at this step or a later one."""
        return {name: value for name, value in values.items() if step > self._steps.get(name, -1)}

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Keep that scalars have been logged."""
        self._steps.update(dict.fromkeys(values, step))
        self._save()

    def _save(self) -> None:
        write_whole({self._path: json.dumps({"id": self.id, "steps": self._steps}).encode()})


def _is_tracked_run(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and content.keys() == {"id", "steps"}
        and (content["id"] is None or (isinstance(content["id"], str) and _ID.fullmatch(content["id"]) is not None))
        and isinstance(content["steps"], dict)
        and all(isinstance(step, int) for step in content["steps"].values())
    )
