"""The settings: which supervision is unreliable, and how.

Students have few labels and train briefly without random views: a student takes seconds, and a good teacher helps it by
plain distillation. Where that does not help, a correction of it means nothing.
"""

from dataclasses import dataclass, replace
from typing import Literal

from experiments.unreliable.alterations import LabelNoise
from experiments.unreliable.teachers import COARSE

Kind = Literal["natural", "artificial", "control"]
Wrong = Literal["teacher", "labels", "both", "none"]

STORED = "stored"
"""In place of a teacher's name: the outputs come with the data."""


@dataclass(frozen=True)
class Setting:
    """A situation in which students learn.

    Attributes:
        name: short, of letters that a folder's name may have.
        about: what it is, in a sentence.
        kind: "natural" as it happens to users, "artificial" as it is made for experiments, "control".
        wrong: the side that errs beyond what a good teacher on clean labels does.
        source: name of the data.
        teacher: name of the teacher; "stored" where the data come with outputs.
        labels: number of the students' labeled images, those held out included.
        unlabeled: number of images without a label.
        noise: of the students' labels.
        blur, contrast: shift of the students' and the test images.
        scale: factor of the teacher's logits.
        swapped: number of pairs of look-alike classes that the teacher takes for each other.
        student: architecture.
        epochs: of the students.
        labeled_epochs: of students without a teacher, who learn from the labeled images alone; None is ``epochs``.
        more_seeds: beyond those of every setting, where it decides.
    """

    name: str
    about: str
    kind: Kind
    wrong: Wrong
    source: str = "fashion-mnist"
    teacher: str = "good"
    labels: int = 300
    unlabeled: int = 0
    noise: LabelNoise | None = None
    blur: float = 0.0
    contrast: float = 1.0
    scale: float = 1.0
    swapped: int = 0
    student: str = "convnet16"
    epochs: int = 40
    labeled_epochs: int | None = None
    more_seeds: int = 0


FROM_ELSEWHERE = (
    Setting("good-teacher", "A good teacher and 300 clean labels.", "control", "none"),
    Setting(
        "blur-0.5", "The teacher knows sharper images: yours are blurred by 0.5 pixels.", "natural", "teacher", blur=0.5
    ),
    Setting(
        "blur-0.6", "The teacher knows sharper images: yours are blurred by 0.6 pixels.", "natural", "teacher", blur=0.6
    ),
    Setting(
        "blur-0.8", "The teacher knows sharper images: yours are blurred by 0.8 pixels.", "natural", "teacher", blur=0.8
    ),
    Setting(
        "contrast",
        "The teacher knows images on black: yours are hazy, at nine tenths of the contrast.",
        "natural",
        "teacher",
        contrast=0.9,
    ),
)

FAULTY_TEACHERS = (
    Setting(
        "few-images", "The teacher learned from a tenth of the images.", "natural", "teacher", teacher="few-images"
    ),
    Setting("stopped-early", "The teacher was stopped early.", "natural", "teacher", teacher="stopped-early"),
    Setting("small-teacher", "The teacher is much smaller than the student.", "natural", "teacher", teacher="small"),
    Setting(
        "long-tailed",
        "The teacher's classes were long-tailed, the first 100 times as large as the last.",
        "natural",
        "teacher",
        teacher="long-tailed",
    ),
    Setting(
        "missing-class",
        "The teacher hardly ever saw one of the classes and never names it.",
        "natural",
        "teacher",
        teacher="missing-class",
    ),
    Setting("unsure", "The good teacher, over-smoothed: logits times 0.3.", "artificial", "teacher", scale=0.3),
    Setting("oversure", "The good teacher, over-sharp: logits times 3.", "artificial", "teacher", scale=3.0),
    Setting(
        "swapped-classes",
        "The good teacher takes the classes of two look-alike pairs for each other.",
        "artificial",
        "teacher",
        swapped=2,
    ),
    Setting(
        "swapped-labels",
        "The teacher learned from labels of which 40 % were swapped within look-alike pairs.",
        "artificial",
        "teacher",
        teacher="swapped-pairs",
    ),
)

NOISY_LABELS = (
    Setting(
        "noisy-labels-20",
        "A good teacher; 20 % of your labels are wrong, any class for any other.",
        "artificial",
        "labels",
        noise=LabelNoise("uniform", 0.2),
    ),
    Setting(
        "noisy-labels-40",
        "A good teacher; 40 % of your labels are swapped within look-alike pairs.",
        "artificial",
        "labels",
        noise=LabelNoise("pairs", 0.4),
    ),
    Setting(
        "both-noisy",
        "The teacher learned from labels of which 40 % were swapped within look-alike pairs; 20 % of yours are, too.",
        "artificial",
        "both",
        teacher="swapped-pairs",
        noise=LabelNoise("pairs", 0.2),
    ),
)

LABEL_BUDGETS = (
    Setting("100-labels", "A good teacher and 100 clean labels.", "control", "none", labels=100, epochs=60),
    Setting(
        "100-labels-2000-unlabeled",
        "A good teacher, 100 clean labels and 2,000 images without a label.",
        "control",
        "none",
        labels=100,
        unlabeled=2000,
        epochs=5,
        labeled_epochs=60,
    ),
    Setting("5000-labels", "A good teacher and 5,000 clean labels.", "control", "none", labels=5000, epochs=3),
)

UNLABELED = (
    Setting(
        "blur-0.5-unlabeled",
        "As blur-0.5, with 2,000 more images without a label.",
        "natural",
        "teacher",
        unlabeled=2000,
        blur=0.5,
        epochs=12,
        labeled_epochs=40,
    ),
    Setting(
        "blur-0.6-unlabeled",
        "As blur-0.6, with 2,000 more images without a label.",
        "natural",
        "teacher",
        unlabeled=2000,
        blur=0.6,
        epochs=12,
        labeled_epochs=40,
    ),
    Setting(
        "contrast-unlabeled",
        "As contrast, with 2,000 more images without a label.",
        "natural",
        "teacher",
        unlabeled=2000,
        contrast=0.9,
        epochs=12,
        labeled_epochs=40,
    ),
    Setting(
        "long-tailed-unlabeled",
        "As long-tailed, with 2,000 more images without a label.",
        "natural",
        "teacher",
        teacher="long-tailed",
        unlabeled=2000,
        epochs=12,
        labeled_epochs=40,
    ),
    Setting(
        "stopped-early-unlabeled",
        "As stopped-early, with 2,000 more images without a label.",
        "natural",
        "teacher",
        teacher="stopped-early",
        unlabeled=2000,
        epochs=12,
        labeled_epochs=40,
    ),
)

CIFAR = (
    Setting(
        "stored-outputs",
        "Stored probabilities of a real model, CIFAR-100, 2,500 labels.",
        "natural",
        "teacher",
        source="cifar-100, stored outputs",
        teacher=STORED,
        labels=2500,
        epochs=10,
    ),
    Setting(
        "human-labeled-teacher",
        "The teacher learned from 45,000 images with human labels, a quarter of them wrong; 2,000 of yours are clean.",
        "natural",
        "teacher",
        source=COARSE,
        teacher="cifar-human",
        labels=2000,
        epochs=15,
    ),
    Setting(
        "human-labels",
        "A teacher of clean labels; yours are human ones, a quarter of them wrong.",
        "natural",
        "labels",
        source=COARSE,
        teacher="cifar-good",
        labels=2000,
        noise=LabelNoise("human"),
        epochs=15,
    ),
)

TUNED_ON = ("good-teacher", "blur-0.6", "swapped-classes", "noisy-labels-20", "human-labeled-teacher")
"""Settings on which learning rates are chosen for all others of the same data; without one of these, on all of them."""

DECIDING = 2
"""Further seeds of the natural settings on Fashion-MNIST: does a checked recipe beat labels alone and ``kd`` there?"""

SETTINGS: dict[str, Setting] = {
    setting.name: replace(setting, more_seeds=DECIDING)
    if setting.kind == "natural" and setting not in CIFAR
    else setting
    for setting in (*FROM_ELSEWHERE, *FAULTY_TEACHERS, *NOISY_LABELS, *LABEL_BUDGETS, *UNLABELED, *CIFAR)
}
