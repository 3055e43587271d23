"""The metrics of a student in a run folder, without intervals."""

from pathlib import Path
from typing import Any

from preceptor.metrics import Metrics, evaluate
from preceptor.models import ModelCard
from preceptor.run.evaluation import load_evaluation_data


def measure_student(folder: Path, *, device: str = "cpu", **options: Any) -> tuple[Metrics, ModelCard]:
    """Options are those of `load_evaluation_data`."""
    data = load_evaluation_data(folder, **options)
    return evaluate(data.outputs(data.images.images, device), data.images.labels, data.card.abstains), data.card
