"""A study as it comes out of the digits demo, and images with a teacher's real mistakes."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

from preceptor.compare.result import ArmRow, ExampleImage, Measure, StudyResult, TeacherRow
from preceptor.corrections import LabelRevision, LabelSmoothing, ProbabilityShift

BASELINE = (0.8917, 0.8694, 0.9028)
ACCURACY = {
    "none": (0.9250, 0.9139, 0.9361),
    "kd": BASELINE,
    "label-revision": (0.9500, 0.9444, 0.9583),
    "ka-ps": (0.9444, 0.9333, 0.9528),
    "ka-lsr": (0.9389, 0.9306, 0.9361),
    "drop-wrong": (0.9472, 0.9361, 0.9528),
}
ABOUT = {
    "none": "labels only, no teacher",
    "kd": "plain distillation",
    "label-revision": "labels and logits where the teacher is right, revised probabilities where it is wrong",
    "ka-ps": "where the teacher is wrong, its top class and the true one change places; no label term",
    "ka-lsr": "where the teacher is wrong, a smoothed label takes its place; no label term",
    "drop-wrong": "plain distillation where the teacher is right, labels alone where it is wrong",
}
AFFECTED = [38, 44, 41]
NOT_AFFECTED = ("none", "kd")


def study_row(
    recipe: str, accuracy: tuple[float, ...], baseline: tuple[float, ...] = BASELINE, teacher: str = "faulty"
) -> ArmRow:
    is_baseline = recipe == "kd"
    return ArmRow(
        teacher=teacher,
        arm=recipe,
        recipe=recipe,
        about=ABOUT.get(recipe, "made up for a test"),
        baseline=None if is_baseline else "kd",
        measures={"accuracy": Measure.of(accuracy, None if is_baseline else baseline)},
        affected=None if recipe in NOT_AFFECTED else AFFECTED[: len(accuracy)],
    )


def study_rows(accuracy: Mapping[str, tuple[float, ...]] = ACCURACY, teacher: str = "faulty") -> list[ArmRow]:
    return [study_row(recipe, values, accuracy["kd"], teacher) for recipe, values in accuracy.items()]


@pytest.fixture(scope="session")
def result() -> StudyResult:
    """Three seeds; the best correction is clearly above the baseline, but not above the control."""
    generator = np.random.default_rng(0)
    error = np.array([0.02, 0.31, 0.03, 0.38, 0.29, 0.24, 0.19, 0.22, 0.41, 0.27])
    return StudyResult(
        study="demo",
        title="A student of a faulty teacher, on handwritten digits",
        setting=(
            "A teacher learned handwritten digits from labels in which look-alike digits were taken for each other: "
            "1 and 7, 3 and 8, 4 and 9, 5 and 6; in these classes 40 % of its labels are wrong. The students are given "
            "a small part of the same images, with the right labels."
        ),
        shows="Whether correcting a faulty teacher gives a better student than plain distillation.",
        does_not_show="How large the gain is for your data: the digits are tiny, and the teacher is faulty on purpose.",
        config={"data": "digits", "rate": 0.4, "seeds": [0, 1, 2], "teacher_training": {"epochs": 20}},
        class_names=tuple("0123456789"),
        training_images=200,
        baseline="kd",
        teachers=[
            TeacherRow(
                name="faulty",
                about="40 % of the labels swapped",
                images=1293,
                wrong_labels=[416, 409, 421],
                accuracy=[0.7917, 0.7639, 0.7806],
                accuracy_on_training_images=[0.81, 0.78, 0.795],
                error_by_class=[np.clip(error + generator.normal(0, 0.05, 10), 0, 1).tolist() for _ in range(3)],
            )
        ],
        rows=study_rows(),
        versions={"preceptor": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "machine": "x86_64, 2 threads, no GPU"},
        seconds=97.0,
    )


def with_another_teacher(result: StudyResult, accuracy: Mapping[str, tuple[float, ...]]) -> StudyResult:
    """The result with a second kind of teacher, "clean", whose students came to these accuracies."""
    clean = result.teachers[0].model_copy(update={"name": "clean", "about": "every label right"})
    rows = [*result.rows, *study_rows(accuracy, "clean")]
    return result.model_copy(update={"teachers": [*result.teachers, clean], "rows": rows})


@pytest.fixture(scope="session")
def examples() -> list[ExampleImage]:
    """Digits that a linear classifier, taught with swapped labels, is surely wrong about."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    images, labels = load_digits(return_X_y=True)
    swapped = np.array([0, 7, 2, 8, 9, 6, 5, 1, 3, 4])
    taught = np.where(np.random.default_rng(0).random(len(labels)) < 0.4, swapped[labels], labels)
    probs = LogisticRegression(C=0.1).fit(images[:600] / 16, taught[:600]).predict_proba(images / 16)
    wrong = np.flatnonzero(probs.argmax(axis=1) != labels)
    surest = wrong[np.argsort(-probs[wrong].max(axis=1))][:8]
    pixels = np.rint(images * 255 / 16).astype(np.uint8).reshape(-1, 8, 8)
    return [example(pixels[position], int(labels[position]), probs[position].tolist()) for position in surest]


def example(pixels: np.ndarray, label: int, teacher_probs: list[float]) -> ExampleImage:
    """An example with the targets that the package's own corrections make."""
    corrections: dict[str, Callable[..., torch.Tensor]] = {
        "label_revision": LabelRevision(),
        "probability_shift": ProbabilityShift(),
        "label_smoothing": LabelSmoothing(correct_prob=0.9),
    }
    log_probs = torch.tensor([teacher_probs]).log()
    arguments = log_probs, torch.tensor([label]), log_probs.argmax(dim=1)
    corrected = {name: correct(*arguments).exp()[0].tolist() for name, correct in corrections.items()}
    return ExampleImage(pixels=pixels, label=label, teacher_probs=teacher_probs, corrected_probs=corrected)
