"""Runs with mixup, cutmix and named augmentations: resumed in the same bits, and refused before anything is written."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from preceptor.data import Composition, CropFlip, NumberedTransform, ResizedCrops, transforms
from preceptor.data.items import ItemViews
from preceptor.errors import InputError, Interrupted, MachineError
from preceptor.run import resolve, resume, run
from preceptor.run import train as single_module
from preceptor.run.config import read_config
from preceptor.run.set_up import augmentation
from preceptor.run.together import pass_of
from tests.run.test_resume import StopsAfter, epochs
from tests.training_helpers import SMALL_RUN, digits

MIXED = {**SMALL_RUN, "recipe": "kd", "training": {**SMALL_RUN["training"], "mixup": 0.4, "cutmix": 1.0}}


def test_a_stopped_run_ends_as_if_it_had_never_stopped(torchvision_ops, tmp_path, monkeypatch, teacher):
    config = resolve({**MIXED, "teacher": str(teacher), "augment": "crop-flip+randaugment:5"})
    with monkeypatch.context() as patch:
        patch.setattr(single_module, "CheckpointCallback", StopsAfter)
        with pytest.raises(Interrupted):
            run(config, tmp_path / "stopped")
    resume(tmp_path / "stopped")
    run(config, tmp_path / "whole")
    assert (tmp_path / "stopped/student.safetensors").read_bytes() == (
        tmp_path / "whole/student.safetensors"
    ).read_bytes()
    assert epochs(tmp_path / "stopped") == epochs(tmp_path / "whole")
    run(resolve({**MIXED, "teacher": str(teacher), "augment": "crop-flip"}), tmp_path / "other")
    assert epochs(tmp_path / "other") != epochs(tmp_path / "whole")


@pytest.mark.parametrize("what", ["cache", "file", "audit", "recipe"])
def test_what_cannot_be_mixed_is_refused_before_anything_is_written(tmp_path, teacher, what):
    settings = {**MIXED, "teacher": str(teacher)}
    rows = tmp_path / "rows.npy"
    np.save(rows, np.zeros((len(digits().train), 10), dtype=np.float32))
    settings |= {
        "cache": {"cache": str(tmp_path / "cache")},
        "file": {"teacher": str(rows), "teacher_output": "logits"},
        "audit": {"audit": str(tmp_path / "audit")},
        "recipe": {"recipe": "ka-ps"},
    }[what]
    complaint = {
        "audit": "an audit judges single images",
        "recipe": "correction probability_shift compares the teacher's class with the label",
    }.get(what, "outputs are looked up by image and view")
    with pytest.raises(InputError, match=complaint):
        run(resolve(settings), tmp_path / "out")
    assert list(tmp_path.iterdir()) == [rows]


def test_runs_of_other_mixing_are_not_taught_together():
    plain, mixed = (resolve({**SMALL_RUN, "recipe": "kd"}, [("training.mixup", a)]) for a in (0.0, 0.2))
    assert pass_of(plain) != pass_of(mixed)
    assert pass_of(mixed) == pass_of(resolve({**SMALL_RUN, "recipe": "none"}, [("training.mixup", 0.2)]))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, digits().augmentation),
        ("true", digits().augmentation),
        (False, CropFlip(0, flip=False)),
        ("False", CropFlip(0, flip=False)),
        ("resized-crop+flip", ResizedCrops()),
        (
            "resized-crop+flip+randaugment+erasing",
            Composition((ResizedCrops(), NumberedTransform("randaugment:9+erasing"))),
        ),
    ],
)
def test_the_augmentation_of_a_run(torchvision_ops, tmp_path, value, expected):
    config = resolve({"augment": value})
    assert augmentation(config, digits()) == expected
    (tmp_path / "run.yaml").write_text(json.dumps(config.model_dump(mode="json", exclude_none=True)))
    assert resolve(read_config(tmp_path / "run.yaml")) == config


def test_a_data_set_that_makes_its_own_views_takes_no_names():
    own = replace(digits(), augmentation=ItemViews(8))
    assert augmentation(resolve({"augment": True}), own) == ItemViews(8)
    with pytest.raises(InputError, match="digits makes its views by itself: give true, or false"):
        augmentation(resolve({"augment": "flip"}), own)


@pytest.mark.parametrize("value", ["fliip", "flip+flip", "randaugment:99", "erasing+erasing", 3, None])
def test_an_unknown_augmentation_is_refused(value):
    with pytest.raises(InputError, match="the configuration: augment"):
        resolve({"augment": value})


def test_a_missing_torchvision_is_told_before_anything_is_written(tmp_path, monkeypatch):
    transforms._built.cache_clear()
    monkeypatch.setitem(sys.modules, "torchvision.transforms.v2", None)
    with pytest.raises(MachineError, match=r"pip install 'preceptor\[vision\]'"):
        run(resolve({**SMALL_RUN, "augment": "erasing"}), tmp_path / "out")
    assert not list(Path(tmp_path).iterdir())
