"""What the studies on Fashion-MNIST have in common."""

from typing import Any

from experiments.studies.engine import TeacherKind
from preceptor.training import TrainingConfig

COMMON: dict[str, Any] = {
    "data": "fashion-mnist",
    "held_out": 0.75,
    "augment": False,
    "teacher": "convnet32",
    "student": "convnet16",
    "teacher_training": TrainingConfig(epochs=4),
    "student_training": TrainingConfig(epochs=8),
    "seeds": (0, 1, 2),
}
"""Settings; teachers learn from the quarter of the training images that is not held out.

Everything is small and short, so that all studies together take less than an hour and a half of two cores. Short
training does better without random views.
"""

LIMITS = (
    "Anything about the full data set or a published schedule: the networks are small, the runs are short, and recipes "
    "run with their published settings, tuned for nothing here."
)

CLEAN = TeacherKind(name="clean", about="every label right")


def faulty(per_cent: int) -> TeacherKind:
    """A teacher trained with this share of wrong labels."""
    return TeacherKind(
        name=f"{per_cent} % wrong",
        about=f"{per_cent} % of the labels swapped for those of the class that looks most like it",
        rate=per_cent / 100,
    )


def setting(training_images: int) -> str:
    """The setting that the studies share, as text."""
    return (
        "Teachers learned from 15,000 images of Fashion-MNIST in 4 epochs; students are given "
        f"{training_images:,} of the same images, with the right labels, for 8 epochs."
    )
