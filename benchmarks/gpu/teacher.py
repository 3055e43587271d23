"""Entry: train a network on CIFAR-100 by the standard protocol, to be a teacher."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import torch
from benchmarks.gpu.entries import UNFINISHED
from benchmarks.gpu.job import Job, entry_parser, job_of
from benchmarks.gpu.outcome import course_outcome, measured
from benchmarks.gpu.slices import Course, slice_of_training

from preceptor.data import Dataset
from preceptor.loss import DistillationLoss
from preceptor.models import save_student, seeded_model
from preceptor.recipes import recipe
from preceptor.run.cards import student_card
from preceptor.training import PRESETS, Student

PUBLISHED = {"resnet32x4": 0.7942}
"""Test accuracy of the teachers that the literature shares (RepDistiller's checkpoints; Tian et al., 2020,
arXiv:1910.10699), each one training."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = entry_parser(__doc__)
    parser.add_argument("--architecture", default="resnet32x4")
    add_training_options(parser)
    given = parser.parse_args(arguments)
    job = job_of(given)
    dataset = job.dataset()
    network = seeded_model(given.architecture, channels=dataset.channels, classes=dataset.classes, seed=given.seed)
    course = labels_only(job, dataset, network, given)
    stand = slice_of_training(course, job.folder, job.clock, unit=given.unit)
    if not stand.over:
        return UNFINISHED
    save_student(job.folder, network, student_card(given.architecture, "cifar100", dataset))
    result: dict[str, Any] = {
        "architecture": given.architecture,
        "test": measured(network, dataset, job.device),
        "published_accuracy": PUBLISHED.get(given.architecture),
        **course_outcome(course, stand, given.unit),
    }
    job.answer(result)
    return 0


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """What every training of the list may be told otherwise."""
    parser.add_argument("--epochs", type=int, default=PRESETS["standard"].epochs)
    parser.add_argument("--batch-size", type=int, default=PRESETS["standard"].batch_size)
    parser.add_argument("--unit", type=int, default=20, help="epochs after which the state is saved")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--deterministic", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--compile", choices=("never", "graph"), help="default: graph on CUDA, never on a CPU")


def course_of(job: Job, dataset: Dataset, pupils: Sequence[Student], given: argparse.Namespace, **more: Any) -> Course:
    """All training images, the data set's own views, and the standard protocol but for what was told."""
    training = PRESETS["standard"].model_copy(update={"epochs": given.epochs, "batch_size": given.batch_size})
    return Course(
        pupils=pupils,
        train=job.on_device(dataset.train),
        positions=torch.arange(len(dataset.train)),
        rule=dataset.augmentation,
        normalize=dataset.normalization,
        training=training,
        seed=given.seed,
        precision=given.precision,
        deterministic=given.deterministic,
        compile=given.compile or ("graph" if job.device.type == "cuda" else "never"),
        **more,
    )


def labels_only(job: Job, dataset: Dataset, network: torch.nn.Module, given: argparse.Namespace) -> Course:
    pupil = Student("teacher", network, DistillationLoss(**recipe("none")))
    return course_of(job, dataset, [pupil], given, about={"architecture": given.architecture})


if __name__ == "__main__":
    sys.exit(main())
