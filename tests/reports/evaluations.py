"""Made-up evaluations: a student and a teacher that err at random, on images that say nothing."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from preceptor.data import ImageSet
from preceptor.metrics import Predictions, full_report
from preceptor.models import ModelCard
from preceptor.models.costs import NetworkCost
from preceptor.run.evaluation import Evaluation, EvaluationData
from preceptor.run.history import EpochLine
from tests.training_helpers import digits

SMALL, LARGE = NetworkCost(100, 2_000, 900.0, 256, 9_000.0), NetworkCost(50_000, 1_500, 40.0, 16, 80.0)
"""The student's and the teacher's."""


def made_evaluation(
    names: Sequence[str],
    samples: int = 400,
    *,
    right: float = 0.7,
    teacher: bool = True,
    abstains: bool = False,
    unlabeled: int = 0,
    silent_below: float | None = None,
    files: Sequence[str] | None = None,
    epochs: int = 3,
    shape: tuple[int, int, int] = (1, 8, 8),
) -> Evaluation:
    """An evaluation of noise as images.

    Args:
        names: of the classes.
        samples: images.
        right: share that the student is right on.
        teacher: whether one is queried, which is right on 80 %.
        abstains: whether the student has a reservation.
        unlabeled: images without a label, the first.
        silent_below: confidence below which it abstains.
        files: names of the files.
        epochs: of its training.
        shape: of an image.
    """
    draw, classes = torch.Generator().manual_seed(0), len(names)
    truth = torch.arange(samples) % classes
    ours, theirs = (_logits(truth, share, classes, draw) for share in (right, 0.8))
    if abstains:
        ours = torch.cat([ours, torch.randn(samples, 1, generator=draw)], dim=1)
    labels = truth.clone()
    labels[:unlabeled] = -1
    images = torch.randint(0, 256, (samples, *shape), dtype=torch.uint8, generator=draw)
    known = Predictions(ours, abstains, teacher=theirs if teacher else None)
    report = full_report(known, labels, class_names=names, resamples=10)
    confidence = known.class_logits.double().softmax(dim=1).amax(dim=1)
    lines = [EpochLine(one, {"ce": 2 / one, "kl": 1 / one, "total": 3 / one}, 0.5, 0.4) for one in range(1, epochs + 1)]
    card = ModelCard(
        **{"architecture": "convnet4", "channels": shape[0], "classes": classes, "class_names": tuple(names)},
        **{"image_size": shape[1:], "mean": (0.5,) * shape[0], "std": (0.5,) * shape[0]},
        **{"data": "made", "preceptor": "0.1.0", "abstains": abstains},
    )
    some = ImageSet(images, labels, None if files is None else tuple(files))
    return Evaluation(
        data=EvaluationData(Path("runs/student"), nn.Identity(), card, "made", digits(), some, whole=False),
        predictions=known,
        report=report,
        warnings=(),
        abstained=None if silent_below is None else confidence < silent_below,
        decision=None,
        sets=None,
        held_out=0,
        teacher="runs/teacher" if teacher else None,
        no_teacher=None if teacher else "the run names no teacher",
        device="cpu",
        cost=SMALL,
        teacher_costs={"runs/teacher": LARGE} if teacher else {},
        epochs=lines,
    )


def _logits(truth: Tensor, right: float, classes: int, draw: torch.Generator) -> Tensor:
    wrong = torch.rand(len(truth), generator=draw) >= right
    other = (truth + torch.randint(1, classes, truth.shape, generator=draw)) % classes
    answer = nn.functional.one_hot(torch.where(wrong, other, truth), classes)
    return 4 * answer + torch.rand(len(truth), classes, generator=draw)
