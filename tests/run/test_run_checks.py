"""Whatever is wrong is found before anything is written: no folder is left behind."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from preceptor.data import hold_out, subset
from preceptor.errors import InputError, MachineError
from preceptor.models import build_model
from preceptor.run import resolve, resume, run, train
from preceptor.run.lock import held
from preceptor.training import Step
from preceptor.training.student import StudentTrainer
from tests.training_helpers import SMALL_RUN, digits


def refused(tmp_path: Path, *told: str, **settings) -> None:
    config = resolve({**SMALL_RUN, **settings})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as caught:
        run(config, tmp_path / "out")
    for words in told:
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def changed_teacher(teacher, tmp_path) -> Path:
    """A copy of the teacher to be spoilt."""
    return Path(shutil.copytree(teacher, tmp_path / "teacher"))


def change_card(folder: Path, **changes) -> None:
    content = json.loads((folder / "student.json").read_text()) | changes
    (folder / "student.json").write_text(json.dumps(content))


def test_no_teacher(tmp_path):
    refused(tmp_path, "the recipe needs a teacher: give --teacher RUN_FOLDER", recipe="kd")


def test_no_such_teacher(tmp_path):
    refused(tmp_path, "nowhere: no such folder", recipe="kd", teacher=tmp_path / "nowhere")


def test_a_teacher_without_a_class_of_the_data(tmp_path, changed_teacher):
    names = list(digits().class_names)
    change_card(changed_teacher, class_names=[names[0], "1b", *names[2:]])
    spec = tmp_path / "named.npz"
    named = [f"class {name}" for name in names]
    np.savez(
        spec,
        train_images=digits().train.images[:, 0].numpy(),
        train_labels=digits().train.labels.numpy(),
        class_names=named,
    )
    told = f"teacher {changed_teacher} has no class 'class 0', 'class 1', 'class 2' and 7 more of arrays:{spec}; it has"
    refused(tmp_path, told, recipe="kd", teacher=changed_teacher, data=f"arrays:{spec}")


def test_a_teacher_of_other_classes(tmp_path, changed_teacher):
    tensors = load_file(changed_teacher / "student.safetensors")
    tensors["head.weight"], tensors["head.bias"] = tensors["head.weight"][:7].clone(), tensors["head.bias"][:7].clone()
    save_file(tensors, changed_teacher / "student.safetensors")
    change_card(changed_teacher, classes=7, class_names=list(digits().class_names)[:7])
    told = f"teacher {changed_teacher} has 7 classes, digits has 10"
    refused(tmp_path, told, recipe="kd", teacher=changed_teacher)


def test_a_teacher_of_colour_images(tmp_path, changed_teacher):
    save_file(build_model("convnet4", channels=3, classes=10).state_dict(), changed_teacher / "student.safetensors")
    change_card(changed_teacher, channels=3, mean=[0.5] * 3, std=[0.2] * 3)
    told = f"teacher {changed_teacher} takes images of 3 channels, digits has 1"
    refused(tmp_path, told, recipe="kd", teacher=changed_teacher)


def test_a_teacher_whose_logits_are_not_finite(tmp_path, changed_teacher):
    tensors = load_file(changed_teacher / "student.safetensors")
    tensors["head.weight"][3, 2] = torch.nan
    save_file(tensors, changed_teacher / "student.safetensors")
    labels = digits().train.labels
    pool, _ = hold_out(labels, 0.1, 0)
    first = int(pool[subset(labels[pool], 60, 0)][0])
    told = f"the teacher's logits are not finite for 60 of 60 training images, the first at index {first}:"
    refused(tmp_path, told, recipe="kd", teacher=changed_teacher)


def test_a_teacher_that_nobody_asks_is_not_looked_at(tmp_path):
    result = run(resolve({**SMALL_RUN, "recipe": "none", "teacher": tmp_path / "nowhere"}), tmp_path / "out")
    assert result.teacher is None


def test_labels_that_do_not_fit(tmp_path):
    labels = digits().train.labels.numpy()
    path = tmp_path / "labels.npy"
    np.save(path, labels[:-1])
    refused(tmp_path, f"{path}: {len(labels) - 1} labels for {len(labels)} training images", train_labels=path)
    np.save(path, np.where(np.arange(len(labels)) == 7, 10, labels))
    refused(tmp_path, "train label 10 at index 7 is out of range; expected 0 to 9, or -1", train_labels=path)
    np.save(path, np.where(labels == 4, 5, labels))
    refused(tmp_path, "no training image of class '4' (label 4)", train_labels=path)


def test_more_images_than_there_are(tmp_path):
    told = ("train_images = 2000: digits has 1213 training images left after 135 were held out", "ask for fewer")
    refused(tmp_path, *told, train_images=2000)


def test_an_unknown_data_set(tmp_path):
    refused(tmp_path, "unknown data set 'digit': did you mean 'digits'", data="digit")


def test_an_unknown_student(tmp_path):
    refused(tmp_path, "unknown model 'convnett8': did you mean 'convnet8'", student="convnett8")


def test_a_student_that_cannot_be(tmp_path):
    refused(tmp_path, "6n+2", student="resnet9")


def test_an_unknown_stage(tmp_path):
    terms = {"kl": {"loss": "klx"}}
    refused(tmp_path, "unknown loss component 'klx': did you mean 'kl'", recipe={"terms": terms})


def test_a_wrong_option_of_a_stage(tmp_path):
    recipe = {"correction": {"name": "label_revision", "eta": "much"}, "terms": {"kl": {"loss": "kl"}}}
    refused(tmp_path, "label_revision.eta = 'much'", recipe=recipe)


def test_a_folder_that_is_not_empty_is_found_before_the_work(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "student.json").write_text("dear")
    refused(tmp_path, "not empty; a run never overwrites", data="never looked at")


def test_cuda_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MachineError, match="device cuda: torch finds no CUDA device: use --device cpu"):
        run(resolve({**SMALL_RUN, "device": "cuda"}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_that_diverges_keeps_its_record(tmp_path):
    """What was written until then stays to be looked at, and no student is left that nobody should use."""
    training = {"epochs": 3, "batch_size": 8, "learning_rate": 1e18}
    with pytest.raises(InputError, match=r"epoch 1, step \d+ of 8: .* lower the learning rate"):
        run(resolve({**SMALL_RUN, "training": training}), tmp_path / "out")
    assert (tmp_path / "out" / "run.yaml").is_file()
    assert not (tmp_path / "out" / "student.json").exists()


@pytest.fixture
def full_at(monkeypatch) -> Callable[[int], None]:
    """The memory is full at a step of the training."""

    def fill(number: int) -> None:
        steps, train_step = itertools.count(1), StudentTrainer.train_step

        def full(self: StudentTrainer, step: Step) -> None:
            if next(steps) == number:
                torch.empty(2**58)
            train_step(self, step)

        monkeypatch.setattr(StudentTrainer, "train_step", full)

    return fill


@pytest.mark.parametrize("exists", [False, True])
def test_what_fails_before_anything_comes_of_it_leaves_nothing(tmp_path, full_at, exists):
    full_at(1)
    if exists:
        (tmp_path / "out").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        run(resolve(SMALL_RUN), tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("seconds", [0.0, 60.0], ids=["with a checkpoint", "with an epoch"])
def test_what_fails_later_is_kept_to_go_on_from(tmp_path, full_at, seconds):
    full_at(2 if seconds == 0 else 3)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        run(resolve(SMALL_RUN), tmp_path / "out", checkpoint_seconds=seconds)
    resume(tmp_path / "out")
    run(resolve(SMALL_RUN), tmp_path / "whole")
    weights = [(tmp_path / name / "student.safetensors").read_bytes() for name in ("out", "whole")]
    assert weights[0] == weights[1]


def test_a_folder_that_another_run_holds_is_left_to_it(tmp_path, monkeypatch):
    """Also where it took it after this one had looked."""
    monkeypatch.setattr(train, "check_unheld", lambda folder: None)
    monkeypatch.setattr(train, "check_free", lambda folder: None)
    with held(tmp_path / "out"):
        (tmp_path / "out" / "run.yaml").write_text("theirs")
        with pytest.raises(InputError, match="is running here"):
            run(resolve(SMALL_RUN), tmp_path / "out")
        assert (tmp_path / "out" / "run.yaml").read_text() == "theirs"
