import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from preceptor.run import RunConfig, resolve, run

CPU_RUN = {
    "student": "convnet4",
    "device": "cpu",
    "precision": "fp32",
    "training": {"epochs": 3, "batch_size": 64},
}

Changed = Callable[..., Path]


@pytest.fixture(scope="session")
def able_teacher(tmp_path_factory) -> Path:
    """The folder of an accurate teacher on digits; not to be changed."""
    folder = tmp_path_factory.mktemp("doctor") / "teacher"
    run(resolve({**CPU_RUN, "student": "convnet8", "seed": 3, "training": {"epochs": 6, "batch_size": 64}}), folder)
    return folder


@pytest.fixture
def changed(able_teacher, tmp_path) -> Changed:
    """A copy of the teacher with rows of its last layer in another order, or with something else on its card."""

    def change(order: list[int] | None = None, **card) -> Path:
        folder = tmp_path / "changed"
        folder.mkdir()
        for name in ("student.safetensors", "student.json"):
            shutil.copy(able_teacher / name, folder)
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
    """A run that distills from a teacher."""
    recipe = {} if teacher is None else {"recipe": "ka-ps", "teacher": teacher}
    return resolve({**CPU_RUN, **recipe, **settings})
