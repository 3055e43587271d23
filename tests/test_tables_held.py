"""Of many samples and classes no table is made but those that docs/memory.md names.

What is allocated is seen by a dispatch mode, so that the test says the same on every machine.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from preceptor import chunking
from preceptor.data import ImageSet, Normalization
from preceptor.metrics import Predictions, evaluate, full_report
from preceptor.metrics.logits import network_logits
from preceptor.models import seeded_model
from preceptor.registry import build_component
from preceptor.selections import RankedSelection, last_layer
from preceptor.teachers import NetworkTeacher, check_teacher, collect_selection_data

SAMPLES, CLASSES = 600, 120
TABLE = SAMPLES * CLASSES
HELD_OUT = 60
LARGE = TABLE - HELD_OUT * CLASSES
NORMALIZE = Normalization((0.5,), (0.25,))


class Tables(TorchDispatchMode):
    """Takes note of how many numbers each new tensor holds that is as large as a table of samples by classes.

    Images, and what networks make of them on the way, have four dimensions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.large: list[int] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operation(*args, **(kwargs or {}))
        given = {one.untyped_storage().data_ptr() for one in tensors((args, kwargs))}
        for one in tensors(made):
            if one.untyped_storage().data_ptr() not in given and one.dim() <= 3 and one.numel() >= LARGE:
                self.large.append(one.numel())
        return made


def tensors(thing: Any) -> Iterator[Tensor]:
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, list | tuple | dict):
        for one in thing.values() if isinstance(thing, dict) else thing:
            yield from tensors(one)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "ELEMENTS", 10 * CLASSES)
    monkeypatch.setattr(last_layer, "CHUNK", 10)


def made_by(work: Callable[[], object]) -> list[int]:
    with Tables() as tables:
        work()
    return tables.large


def random_logits(seed: int = 0) -> Tensor:
    return torch.randn(SAMPLES, CLASSES, generator=torch.Generator().manual_seed(seed))


def labels() -> Tensor:
    return torch.randint(CLASSES, (SAMPLES,), generator=torch.Generator().manual_seed(9))


def train() -> ImageSet:
    images = torch.randint(256, (SAMPLES, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(8))
    return ImageSet(images, labels())


def teacher() -> NetworkTeacher:
    return NetworkTeacher(seeded_model("convnet4", channels=1, classes=CLASSES, seed=0), NORMALIZE)


def test_a_table_that_is_made_is_seen() -> None:
    logits = random_logits()
    assert made_by(lambda: logits.softmax(dim=1)) == [TABLE]
    assert made_by(lambda: logits[:, 1:].T) == []


@pytest.mark.parametrize("outputs", [CLASSES, CLASSES + 1], ids=["classes", "and a reservation"])
def test_metrics(outputs: int) -> None:
    logits, truth = torch.cat([random_logits(), torch.zeros(SAMPLES, outputs - CLASSES)], dim=1), labels()
    assert made_by(lambda: evaluate(logits, truth, abstains=outputs > CLASSES)) == []


def report(logits: Tensor, teacher_logits: Tensor) -> Any:
    answers, few = Predictions(logits, teacher=teacher_logits), slice(0, 50)
    return full_report(answers, labels(), held_out=(Predictions(logits[few]), labels()[few]), resamples=3)


def test_a_report() -> None:
    logits, teacher_logits = random_logits(), random_logits(1)
    assert made_by(lambda: report(logits, teacher_logits)) == []


def test_a_report_in_blocks_says_what_one_as_a_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    given = random_logits(), random_logits(1)
    in_parts = asdict(report(*given))
    monkeypatch.setattr(chunking, "ELEMENTS", 10**9)
    whole = asdict(report(*given))
    for part in ("calibration", "scaled"):
        errors = [each[part].get("calibration", each[part]).pop("classwise_ece")["value"] for each in (in_parts, whole)]
        assert errors[0] == pytest.approx(errors[1], rel=1e-12)
    assert in_parts == whole


@pytest.mark.parametrize("name", ["random", "el2n", "teacher_loss", "correctness", "gradient_cosine", "influence"])
def test_a_selection_holds_the_logits_once(name: str) -> None:
    selection = build_component("selection", name, {"exact_up_to": 0, "steps": 1} if name == "influence" else {})
    assert isinstance(selection, RankedSelection)
    network_teacher, training_images, index = teacher(), train(), torch.arange(SAMPLES)

    def settle() -> None:
        how: dict[str, Any] = {"seed": 0, "features": selection.needs_features}
        held_out = index[:HELD_OUT] if selection.needs_held_out else index[:0]
        selection.fit(collect_selection_data(network_teacher, training_images, index[HELD_OUT:], held_out, **how))

    assert made_by(settle) == [LARGE]


def test_a_network_says_its_logits_once() -> None:
    network, images = teacher().network, train().images
    assert made_by(lambda: network_logits(network, NORMALIZE, images, batch_size=50)) == [TABLE]


def test_the_look_at_a_teacher_holds_none() -> None:
    network_teacher, training = teacher(), train()
    arguments = training.images, training.labels, CLASSES
    assert made_by(lambda: check_teacher(network_teacher, *arguments, batch_size=50)) == []
