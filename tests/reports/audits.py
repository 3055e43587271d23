"""Made-up audits: a teacher and labels that err at random, on images that say nothing."""

import dataclasses
from collections.abc import Sequence
from unittest import mock

import torch

from preceptor.audit import MemberFacts, TeacherAudit
from preceptor.audit.examine import _audit, _Who
from preceptor.audit.opinion import SecondOpinion
from preceptor.data import Dataset, ImageSet
from tests.training_helpers import digits


def made_audit(
    names: Sequence[str],
    samples: int = 400,
    *,
    teacher_errors: float = 0.1,
    label_errors: float = 0.1,
    shape: tuple[int, int, int] = (1, 8, 8),
    tables: int = 1,
    teacher_accuracy: float | None = None,
    gold: bool = False,
    members: int = 0,
    unlabeled: int = 0,
) -> TeacherAudit:
    """An audit of noise as images, whose errors are drawn at these rates."""
    draw, classes = torch.Generator().manual_seed(0), len(names)
    truth = torch.arange(samples) % classes
    labels, answer = (_with_errors(truth, rate, classes, draw) for rate in (label_errors, teacher_errors))
    labels[:unlabeled] = -1
    images = torch.randint(0, 256, (samples, *shape), dtype=torch.uint8, generator=draw)
    dataset = dataclasses.replace(
        digits(), name="made", class_names=tuple(names), train=ImageSet(images, labels), test=None
    )
    logits = 3 * torch.nn.functional.one_hot(answer, classes) + torch.randn(samples, classes, generator=draw) / 2
    opinions = tuple(
        (2 * torch.nn.functional.one_hot(truth, classes) + torch.randn(samples, classes, generator=draw))
        .double()
        .softmax(dim=1)
        for _ in range(tables)
    )
    accuracy = float((opinions[0].argmax(dim=1) == labels)[labels >= 0].double().mean())
    checked = torch.where(torch.arange(samples) % 4 == 0, truth, torch.tensor(-1)) if gold else None
    facts = [
        MemberFacts(f"teacher-{number}", 0.9 - number / 10, 0.8, 2.5 if number else None) for number in range(members)
    ]
    opinion = SecondOpinion("a made-up classifier", opinions, accuracy)
    with mock.patch("preceptor.audit.examine.RESAMPLES", 10):
        who = _Who("made up", "0", facts)
        return _audit(dataset, who, logits, opinion, checked, teacher_accuracy, lambda stage, done, of: None)


def _with_errors(truth: torch.Tensor, rate: float, classes: int, draw: torch.Generator) -> torch.Tensor:
    wrong = torch.rand(len(truth), generator=draw) < rate
    other = (truth + torch.randint(1, classes, truth.shape, generator=draw)) % classes
    return torch.where(wrong, other, truth)


def with_names(audit: TeacherAudit, names: Sequence[str]) -> TeacherAudit:
    """The same audit of classes with other names."""
    per_class = [dataclasses.replace(part, name=name) for part, name in zip(audit.report.per_class, names, strict=True)]
    dataset: Dataset = dataclasses.replace(audit.dataset, class_names=tuple(names))
    return dataclasses.replace(audit, dataset=dataset, report=dataclasses.replace(audit.report, per_class=per_class))
