"""Entry: students of one teacher by several recipes at once, from its cache, by the standard protocol on CIFAR-100."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks.gpu.entries import UNFINISHED
from benchmarks.gpu.job import entry_parser, job_of
from benchmarks.gpu.material import loaded_teacher, opened_bank
from benchmarks.gpu.outcome import course_outcome, measured
from benchmarks.gpu.slices import slice_of_training
from benchmarks.gpu.teacher import add_training_options, course_of

from preceptor.data import Dataset
from preceptor.loss import DistillationLoss
from preceptor.models import save_student, seeded_model
from preceptor.recipes import recipe
from preceptor.run.cards import student_card
from preceptor.training import Student

PAIR = "resnet8x4"
"""The student whose published figures are known, those of a resnet32x4 as teacher."""
PUBLISHED: dict[str, tuple[float, str]] = {
    "none": (0.7250, "Tian et al., 2020, arXiv:1910.10699 (CRD), table of its code, RepDistiller"),
    "kd": (0.7333, "the same table"),
    "dist": (0.7631, "Huang et al., 2022, arXiv:2205.10536 (DIST), table of its code"),
    "ka-ps": (0.7346, "swap ('LA') as re-run by the authors of RLD, ICCV 2025; read in a secondary source"),
    "label-revision": (0.7606, "LR as re-run by the authors of RLD, ICCV 2025; read in a secondary source"),
}
"""Test accuracies by recipe. Most papers of this protocol report the best epoch on the test set, which is some 0.3
points above the last one; here the last epoch counts."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = entry_parser(__doc__)
    parser.add_argument("--teacher", type=Path, required=True, help="folder of the trained network")
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder of its cache; what it lacks is asked and kept"
    )
    parser.add_argument("--student", default=PAIR)
    parser.add_argument("--recipes", default="none,kd", help="with commas between")
    add_training_options(parser)
    parser.set_defaults(unit=10)
    given = parser.parse_args(arguments)
    job = job_of(given)
    dataset = job.dataset()
    pupils = [_pupil(name, given.student, dataset, given.seed) for name in given.recipes.split(",")]
    live, weights = loaded_teacher(given.teacher, dataset, job.device)
    with opened_bank(given.cache, live.optimize_for_inference(image_size=dataset.size), weights, dataset) as cache:
        about = {
            "student": given.student,
            "teacher": weights,
            "precision_of_the_teacher": cache.metadata.key.precision,
        }
        course = course_of(job, dataset, pupils, given, teacher=cache, about=about)
        stand = slice_of_training(course, job.folder, job.clock, unit=given.unit)
    if not stand.over:
        return UNFINISHED
    found = {pupil.name: _kept(job.folder, pupil, given.student, dataset, job.device) for pupil in pupils}
    job.answer({"student": given.student, "students": found, **course_outcome(course, stand, given.unit)})
    return 0


def _pupil(name: str, architecture: str, dataset: Dataset, seed: int) -> Student:
    loss = DistillationLoss(**recipe(name))
    outputs = dataset.classes + loss.abstains
    return Student(name, seeded_model(architecture, channels=dataset.channels, classes=outputs, seed=seed), loss)


def _kept(folder: Path, pupil: Student, architecture: str, dataset: Dataset, device: torch.device) -> dict[str, Any]:
    """Keep a student, and say how good it is beside what is published."""
    abstains = pupil.loss.abstains
    save_student(folder / pupil.name, pupil.student, student_card(architecture, "cifar100", dataset, abstains))
    accuracy, source = PUBLISHED.get(pupil.name, (None, None)) if architecture == PAIR else (None, None)
    published = None if accuracy is None else {"accuracy": accuracy, "source": source}
    return {"test": measured(pupil.student, dataset, device, abstains), "published": published}


if __name__ == "__main__":
    sys.exit(main())
