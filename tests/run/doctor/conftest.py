import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from preceptor.data import hold_out
from preceptor.models import save_student
from preceptor.run import RunConfig, resolve
from preceptor.run.cards import student_card
from preceptor.training import Student, TrainingConfig, fit
from tests.classroom import digits, network
from tests.examples import ready

CPU_RUN = {"student": "convnet4", "device": "cpu", "training": {"epochs": 3, "batch_size": 64}}

Changed = Callable[..., Path]


@pytest.fixture(scope="session")
def able_teacher(tmp_path_factory) -> Path:
    """The folder of a teacher that knows its digits; not to be changed."""
    data = digits()
    student = network(seed=3)
    positions, _ = hold_out(data.train.labels, 0.1, 0)
    training = TrainingConfig(epochs=6, batch_size=64)
    pupil = Student("teacher", student, ready("none", len(data.train)))
    for _ in fit([pupil], data.train, positions, data.augmentation, data.normalization, training):
        pass
    folder = tmp_path_factory.mktemp("doctor") / "teacher"
    save_student(folder, student, student_card("convnet8", "digits", data))
    return folder


@pytest.fixture
def changed(able_teacher, tmp_path) -> Changed:
    """A copy of the teacher with rows of its last layer in another order, or with something else on its card."""

    def change(order: list[int] | None = None, **card) -> Path:
        folder = Path(shutil.copytree(able_teacher, tmp_path / "changed"))
        if order is not None:
            tensors = load_file(folder / "student.safetensors")
            for name in ("head.weight", "head.bias"):
                tensors[name] = tensors[name][torch.tensor(order)].clone()
            save_file(tensors, folder / "student.safetensors")
        content = json.loads((folder / "student.json").read_text()) | card
        (folder / "student.json").write_text(json.dumps(content))
        return folder

    return change


def about(teacher: Path | None, **settings) -> RunConfig:
    """A run that distils from a teacher."""
    taught = {} if teacher is None else {"recipe": "ka-ps", "teacher": teacher}
    return resolve({**CPU_RUN, **taught, **settings})
