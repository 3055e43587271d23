"""A setting prepared for a seed: a folder with the students' data and the teacher's outputs."""

import json
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from experiments.unreliable.alterations import noisy_labels, swapped_columns
from experiments.unreliable.making import make_once
from experiments.unreliable.settings import STORED, Setting
from experiments.unreliable.sources import Part, Source
from experiments.unreliable.teachers import teacher_logits, write_data
from preceptor.context import UNLABELED, predicted_class
from preceptor.data import subset
from preceptor.data.image_corruption import blurred, contrast_scaled
from preceptor.files import read_json, write_whole

DATA_FILE, LABELED_FILE, TEACHER_FILE, TEST_FILE = "data.npz", "labeled.npz", "teacher.npy", "teacher-test.npy"
MEASURES_FILE = "teacher.json"

HELD_OUT = 0.2
"""Share of the students' images that choose the learning rate: a tenth of so few would be too few."""


@dataclass(frozen=True)
class Prepared:
    """A folder that students can be taught from.

    Attributes:
        folder: its place.
        setting, seed: that it follows from.
    """

    folder: Path
    setting: Setting
    seed: int

    def config(self, uses_teacher: bool) -> dict[str, Any]:
        """The settings of a run, but for recipe, teacher and learning rate; split and weights follow from the seed."""
        own, epochs = self.setting, self.setting.epochs
        labels_alone = not uses_teacher and own.unlabeled > 0
        if labels_alone and own.labeled_epochs is not None:
            epochs = own.labeled_epochs
        config = {
            "data": f"arrays:{self.folder / (LABELED_FILE if labels_alone else DATA_FILE)}",
            "student": own.student,
            "training": {"epochs": epochs},
            "augment": False,
            "validation": HELD_OUT,
            "seed": self.seed,
            "split_seed": self.seed,
            "device": "cpu",
        }
        if uses_teacher:
            config["teacher_output"] = "probabilities" if own.teacher == STORED else "logits"
        return config

    @property
    def measures(self) -> dict[str, float]:
        """Accuracy and mean confidence of the teacher on the students' and the test images; of the students' labels,
        the share that is wrong and the share that the teacher agrees with."""
        measures: dict[str, float] = read_json(self.folder / MEASURES_FILE)
        return measures

    def on_test(self) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
        """The right labels of the test images, and the classes that the teacher names."""
        with np.load(self.folder / DATA_FILE, allow_pickle=False) as file:
            labels = torch.from_numpy(file["test_labels"])
        return labels, predicted_class(torch.from_numpy(np.load(self.folder / TEST_FILE, allow_pickle=False)))


def prepare(setting: Setting, seed: int, source: Source, teachers: Path, out: Path) -> Prepared:
    """Make ``out / NAME / "seed-N"``, unless it is there.

    Args:
        setting: its teacher is trained already.
        seed: draws the students' images and the noise of their labels.
        source: the setting's data.
        teachers: folder of the teachers.
        out: folder of all settings.
    """
    folder = out / setting.name / f"seed-{seed}"
    made_of = {name: value for name, value in asdict(setting).items() if name != "more_seeds"}  # changes no seed's data
    make_once(folder, {**made_of, "seed": seed}, partial(_fill, setting, seed, source, teachers))
    return Prepared(folder, setting, seed)


def students_images(setting: Setting, seed: int, source: Source) -> Int[Tensor, " some"]:
    """Indices, in the students' part, of the labeled images and then of those without a label."""
    part = source.students
    labeled = subset(part.labels, setting.labels, seed)
    others = torch.ones(len(part), dtype=torch.bool)
    others[labeled] = False
    rest = others.nonzero().flatten()
    return torch.cat([labeled, rest[subset(part.labels[rest], setting.unlabeled, seed)]])


def students_labels(setting: Setting, seed: int, source: Source, part: Part) -> Int[Tensor, " n"]:
    """The labels that students are given: some may be wrong, those of the last images are missing."""
    labels = noisy_labels(
        part.labels, setting.noise, human=part.human, pairs=source.pairs, classes=len(source.class_names), seed=seed
    ).clone()
    labels[setting.labels :] = UNLABELED
    return labels


def teacher_outputs(setting: Setting, source: Source, part: Part, teachers: Path) -> Float[Tensor, "n classes"]:
    """The teacher's outputs on images that are shifted already."""
    if setting.teacher == STORED:
        assert part.outputs is not None, "a source with stored outputs"
        return part.outputs
    logits = setting.scale * teacher_logits(teachers / setting.teacher, part.images)
    return swapped_columns(logits, source.pairs[: setting.swapped])


def shifted(setting: Setting, part: Part) -> Part:
    """The same part with the setting's shift of the images."""
    images = contrast_scaled(blurred(part.images, setting.blur), setting.contrast, around=128)
    return Part(images, part.labels, part.human, part.outputs)


def _fill(setting: Setting, seed: int, source: Source, teachers: Path, folder: Path) -> None:
    own = shifted(setting, source.students.take(students_images(setting, seed, source)))
    test, on_test = _test_images(setting, source, teachers)
    labels = students_labels(setting, seed, source, own)
    write_data(folder / DATA_FILE, source, own.images, labels, test)
    if setting.unlabeled:
        write_data(folder / LABELED_FILE, source, own.images[: setting.labels], labels[: setting.labels], test)
    outputs = teacher_outputs(setting, source, own, teachers)
    np.save(folder / TEACHER_FILE, outputs.numpy())
    np.save(folder / TEST_FILE, on_test.numpy())
    given = labels != UNLABELED
    measures = {
        **_measures("students", outputs, own.labels, setting),
        **_measures("test", on_test, test.labels, setting),
        "wrong_labels": float((labels[given] != own.labels[given]).double().mean()),
        "agreement": float((predicted_class(outputs)[given] == labels[given]).double().mean()),
    }
    write_whole({folder / MEASURES_FILE: json.dumps(measures, indent=1).encode()})


@lru_cache(maxsize=1)
def _test_images(setting: Setting, source: Source, teachers: Path) -> tuple[Part, Float[Tensor, "n classes"]]:
    """The test images of a setting and the teacher's outputs on them: all seeds have the same."""
    test = shifted(setting, source.test)
    return test, teacher_outputs(setting, source, test, teachers)


def _measures(
    where: str, outputs: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], setting: Setting
) -> dict[str, float]:
    probabilities = outputs if setting.teacher == STORED else outputs.softmax(dim=1)
    return {
        f"accuracy_on_{where}": float((predicted_class(outputs) == labels).double().mean()),
        f"confidence_on_{where}": float(probabilities.amax(dim=1).double().mean()),
    }
