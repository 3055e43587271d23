from dataclasses import dataclass

import pytest
from torch import nn

from preceptor.export import Export, export_student, some_of
from preceptor.models import ModelCard
from tests.export.students import decision, median_threshold, student
from tests.training_helpers import digits


@dataclass(frozen=True)
class Deployment:
    """A student that may abstain, in every format."""

    network: nn.Module
    card: ModelCard
    exports: dict[str, Export]


@pytest.fixture(scope="session")
def deployment() -> Deployment:
    """Of a student that is sure of half of the images; not to be changed."""
    network, card = student(abstains=True)
    card = card.model_copy(update={"decision": decision(threshold=median_threshold(network, card, "softmax_response"))})
    made = export_student(network, card, some_of(digits().test.images), ("onnx", "pt2", "state-dict"))
    return Deployment(network, card, {export.format: export for export in made})
