"""MLflow, by its light client (extra ``mlflow``)."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.files import csv_line
from preceptor.integrations.tracker import Cell, Pixels, TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MOST_PARAMS = 100
"""That MLflow takes at once."""

_LONGEST_VALUE = 6000
"""Letters of a parameter's value that MLflow takes."""


class MLflowTracker:
    """Tracks a run as an MLflow run, in the experiment of ``MLFLOW_EXPERIMENT_NAME`` or ``MLFLOW_EXPERIMENT_ID``.

    A resumed run goes on in the same MLflow run; points that it has are not logged again. No global state of MLflow is
    touched. Tables are CSV files, tables, images and pages artifacts.

    Args:
        uri: of the store or server. None is ``MLFLOW_TRACKING_URI``, else MLflow's own default.
        kept: what the run's folder keeps of it.
    """

    name = "mlflow"
    _client: "MlflowClient"
    _id: str

    def __init__(self, uri: str | None, kept: TrackedRun) -> None:
        self._uri, self._kept = uri, kept

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """ImportError too: some stores need packages that the light client comes without."""
        from mlflow.exceptions import MlflowException

        return MlflowException, OSError, ImportError

    def start(self, name: str, settings: Mapping[str, Cell], step: int | None) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient(self._uri)
        if self._kept.id is not None:
            self._id = self._kept.id
            self._client.update_run(self._id, status="RUNNING")
            return
        self._id = self._client.create_run(self._experiment(), run_name=name).info.run_id
        self._log_settings(settings)
        self._kept.begin(self._id)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        new = self._kept.new(values, step)
        if new:
            now = int(time.time() * 1000)
            metrics = [Metric(_allowed(name), float(value), now, step) for name, value in new.items()]
            self._client.log_batch(self._id, metrics=metrics)
            self._kept.add(new, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        text = "".join(f"{csv_line(line)}\n" for line in (columns, *rows))
        self._client.log_text(self._id, text, f"tables/{name}.csv")

    def image(self, name: str, image: Pixels) -> None:
        self._client.log_image(self._id, image, f"images/{name}.png")

    def page(self, name: str, path: Path) -> None:
        self._client.log_artifact(self._id, str(path), "pages")

    def finish(self, complete: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if complete else "KILLED")

    def _experiment(self) -> str:
        """The id of the experiment that the environment names, made if need be."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME")
        if name is None:
            return os.environ.get("MLFLOW_EXPERIMENT_ID", "0")
        experiment = self._client.get_experiment_by_name(name)
        return self._client.create_experiment(name) if experiment is None else str(experiment.experiment_id)

    def _log_settings(self, settings: Mapping[str, Cell]) -> None:
        from mlflow.entities import Param

        params = [Param(_allowed(key), str(value)[:_LONGEST_VALUE]) for key, value in settings.items()]
        for first in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._id, params=params[first : first + _MOST_PARAMS])


def _allowed(name: str) -> str:
    """A name without the characters that MLflow refuses."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)
