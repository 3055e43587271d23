"""Teachers of the settings; one that several settings share is trained once."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from experiments.unreliable.alterations import LabelNoise, long_tail, noisy_labels
from experiments.unreliable.making import make_once
from experiments.unreliable.sources import Part, Source
from preceptor.data import subset
from preceptor.metrics.logits import network_logits
from preceptor.models import load_student
from preceptor.run import resolve, run

RUN_FOLDER = "run"
_DATA_FILE = "data.npz"
_SEED = 0
RARE_IMAGES = 10


@dataclass(frozen=True)
class TeacherSpec:
    """How a teacher is made.

    Attributes:
        about: what is special about it.
        source: name of the data.
        network: architecture.
        epochs, learning_rate: of its training.
        images: number of training images, a stratified draw; None is the whole part.
        noise: of its training labels.
        imbalance: how many times the first class is larger than the last; 1 is balanced.
        rare: a class of which it sees 10 images; with none, training is refused.
        augment: whether it is trained on random views; the shorter trainings do better without.
    """

    about: str
    source: str = "fashion-mnist"
    network: str = "convnet32"
    epochs: int = 5
    learning_rate: float = 0.05
    images: int | None = None
    noise: LabelNoise | None = None
    imbalance: float = 1.0
    rare: int | None = None
    augment: bool = False


COARSE = "cifar-100, 20 classes"

TEACHERS: dict[str, TeacherSpec] = {
    "good": TeacherSpec("54,000 images, 5 epochs", augment=True),
    "few-images": TeacherSpec("a tenth of the images", images=5400, epochs=8),
    "stopped-early": TeacherSpec("stopped after a tenth of an epoch", images=5400, epochs=1),
    "small": TeacherSpec("a network of a sixteenth of the student's weights", network="convnet4", epochs=3),
    "long-tailed": TeacherSpec("the first class 100 times as large as the last", imbalance=100, epochs=8),
    "missing-class": TeacherSpec("saw 10 images of one class", rare=6, images=27000),
    "swapped-pairs": TeacherSpec(
        "40 % of the labels swapped for those of the class that looks most alike",
        noise=LabelNoise("pairs", 0.4),
        images=27000,
    ),
    "cifar-human": TeacherSpec(
        "45,000 images with human labels", COARSE, "convnet64", 6, 0.1, noise=LabelNoise("human")
    ),
    "cifar-good": TeacherSpec("45,000 images with right labels", COARSE, "convnet64", 6, 0.1),
}


def training_set(spec: TeacherSpec, source: Source) -> tuple[Tensor, Tensor]:
    """The images and labels that a teacher learns from."""
    part = source.teacher
    assert part is not None, "a source with stored outputs trains no teacher"
    part = part.take(chosen_images(spec, part))
    labels = noisy_labels(
        part.labels, spec.noise, human=part.human, pairs=source.pairs, classes=len(source.class_names), seed=_SEED
    )
    return part.images, labels


def chosen_images(spec: TeacherSpec, part: Part) -> Int[Tensor, " some"]:
    """Which of the teacher's images it learns from."""
    index = torch.arange(len(part))
    if spec.images is not None:
        index = subset(part.labels, spec.images, _SEED)
    if spec.imbalance != 1:
        index = index[long_tail(part.labels[index], spec.imbalance, _SEED)]
    if spec.rare is not None:
        members = part.labels[index] == spec.rare
        index = index[~members | (members.cumsum(0) <= RARE_IMAGES)]
    return index


def train_teacher(name: str, spec: TeacherSpec, source: Source, out: Path) -> None:
    """Train a teacher into ``out / name / "run"``, unless it is there."""
    make_once(out / name, asdict(spec), partial(_train, spec, source))


def _train(spec: TeacherSpec, source: Source, folder: Path) -> None:
    images, labels = training_set(spec, source)
    write_data(folder / _DATA_FILE, source, images, labels)
    config = {
        "data": f"arrays:{folder / _DATA_FILE}",
        "student": spec.network,
        "recipe": "none",
        "training": {"epochs": spec.epochs, "learning_rate": spec.learning_rate},
        "validation": 0,
        "augment": spec.augment,
        "seed": _SEED,
        "device": "cpu",
    }
    run(resolve(config), folder / RUN_FOLDER, force=True)
    (folder / _DATA_FILE).unlink()  # 50 MB that every teacher would leave


def write_data(path: Path, source: Source, images: Tensor, labels: Tensor, test: Part | None = None) -> None:
    """An ``.npz`` file of training images, and test images, which default to the source's."""
    tested = test or source.test
    np.savez(
        path,
        train_images=images.permute(0, 2, 3, 1).numpy(),
        train_labels=labels.numpy(),
        test_images=tested.images.permute(0, 2, 3, 1).numpy(),
        test_labels=tested.labels.numpy(),
        class_names=np.array(source.class_names),
    )


def teacher_logits(folder: Path, images: UInt8[Tensor, "n channels height width"]) -> Float[Tensor, "n classes"]:
    """Logits of a trained teacher."""
    network, card = load_student(folder / RUN_FOLDER)
    return network_logits(network, card.normalization(), images)
