"""Distill, train and evaluate in Python: whole runs of networks and data that Preceptor knows nothing of."""

import dataclasses
import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

import preceptor
from preceptor.api import Trained
from preceptor.data import Normalization, load_dataset
from preceptor.data.images import Framing
from preceptor.errors import DoctorWarning, InputError, NetworkFitted
from preceptor.metrics.logits import network_logits
from preceptor.run import stopped_run
from preceptor.run.replay import replay
from preceptor.training import Callback, NotFinite, Trainer

QUICK: dict[str, Any] = {"epochs": 4, "batch_size": 16, "precision": "fp32", "device": "cpu", "progress": False}


def vectors(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Three clouds in eight dimensions."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centers = torch.eye(8)[:3] * 3
    return centers[labels] + torch.randn(count, 8, generator=generator), labels


def network(hidden: int = 16, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(8, hidden), nn.ReLU(), nn.Linear(hidden, 3))


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    trained = preceptor.train(network(64), vectors(240, 0), **QUICK)
    assert trained.validation is not None
    assert trained.validation.accuracy > 0.85
    return trained.student


def weights(trained: Trained) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in trained.student.parameters()]


def test_a_network_and_tensors_of_ones_own(teacher: nn.Module, tmp_path: Path) -> None:
    student, before = network(), [one.clone() for one in teacher.state_dict().values()]
    trained = preceptor.distill(
        teacher, student, TensorDataset(*vectors(200, 1)), "kd", test=vectors(300, 2), out=tmp_path / "run", **QUICK
    )
    assert trained.student is student
    assert not student.training
    assert trained.test is not None
    assert trained.test.accuracy > 0.85
    assert trained.teacher is not None
    assert trained.teacher.images == 180
    report = preceptor.evaluate(trained, vectors(300, 2))
    assert report.accuracy.value == pytest.approx(trained.test.accuracy)
    for now, then in zip(teacher.state_dict().values(), before, strict=True):
        assert torch.equal(now, then)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"run.yaml", "metrics.jsonl", "student.safetensors"} <= names
    assert "student.json" not in names


def test_every_kind_of_teacher_teaches_alike(teacher: nn.Module) -> None:
    """A module, a callable, an array of its outputs, and an ensemble of itself twice."""
    data = vectors(160, 3)
    rows = preceptor.outputs(teacher, data)
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "module": (teacher, {}),
        "callable": (lambda inputs: teacher(inputs), {}),
        "array": (rows, {"teacher_output": "logits"}),
        "tensor": (torch.from_numpy(rows), {"teacher_output": "logits"}),
        "ensemble": ([teacher, teacher], {"ensemble_mean": "logits"}),
    }
    taught = {
        name: weights(preceptor.distill(one, network(), data, "ka-ps", **QUICK, **settings))
        for name, (one, settings) in kinds.items()
    }
    for name, own in taught.items():
        for one, other in zip(own, taught["module"], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)


class Drawn(Dataset[Any]):
    """Vectors with noise that is drawn anew each time."""

    classes = ("a", "b", "c")

    def __init__(self, count: int, seed: int) -> None:
        self.inputs, self.targets = vectors(count, seed)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self.inputs[number] + 0.3 * torch.randn(8), int(self.targets[number])


class StopsAfter(Callback):
    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def on_epoch_start(self, trainer: Trainer, epoch: int, first: int) -> None:
        if epoch == self.left:
            raise KeyboardInterrupt


def test_a_stopped_training_goes_on_in_the_same_bits(teacher: nn.Module, tmp_path: Path) -> None:
    """With a data set that draws random numbers, and with other workers than before."""
    data = Drawn(120, 4)
    undisturbed = preceptor.distill(teacher, network(), data, "kd", out=tmp_path / "whole", **QUICK)
    with pytest.raises(KeyboardInterrupt):
        preceptor.distill(
            teacher,
            network(),
            data,
            "kd",
            out=tmp_path / "run",
            callbacks=[StopsAfter(2)],
            checkpoint_seconds=0,
            **QUICK,
        )
    resumed = preceptor.distill(teacher, network(), data, "kd", out=tmp_path / "run", workers=2, **QUICK)
    for one, other in zip(weights(undisturbed), weights(resumed), strict=True):
        assert torch.equal(one, other)


def test_a_stopped_training_is_not_taken_for_another(teacher: nn.Module, tmp_path: Path) -> None:
    data, out = vectors(120, 4), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        preceptor.distill(teacher, network(), data, "kd", out=out, callbacks=[StopsAfter(2)], **QUICK)
    with pytest.raises(InputError, match="holds a run of other settings"):
        preceptor.distill(teacher, network(), data, "ka-ps", out=out, **QUICK)
    with pytest.raises(InputError, match="started with other data"):
        preceptor.distill(teacher, network(), vectors(120, 5), "kd", out=out, **QUICK)
    config, _ = stopped_run(out)
    from preceptor.run import resume

    assert config.data == "python:tuple"
    with pytest.raises(InputError, match="the run was started in Python"):
        resume(out)


def test_a_complete_run_is_returned_rather_than_trained_again(teacher: nn.Module, tmp_path: Path) -> None:
    data, out = vectors(120, 4), tmp_path / "run"
    first = preceptor.distill(teacher, network(), data, "kd", out=out, test=vectors(60, 5), **QUICK)
    again = preceptor.distill(teacher, network(seed=9), data, "kd", out=out, test=vectors(60, 5), **QUICK)
    assert (again.validation, again.test, again.teacher) == (first.validation, first.test, first.teacher)
    for one, other in zip(weights(first), weights(again), strict=True):
        assert torch.equal(one, other)
    assert repr(again).startswith("Trained(Sequential: held out ")
    with pytest.raises(InputError, match="holds a run of other settings"):
        preceptor.distill(teacher, network(), data, "kd", out=out, **{**QUICK, "epochs": 5})
    with pytest.raises(InputError, match="was started with other data"):
        preceptor.distill(teacher, network(), vectors(120, 6), "kd", out=out, test=vectors(60, 5), **QUICK)
    with pytest.raises(InputError, match="was the student a network from Python"):
        preceptor.evaluate(out, data)


def test_settings_are_the_same_as_they_are_written(tmp_path: Path) -> None:
    given = {"optimizer": "adamw", "optimizer_options": {"betas": (0.9, 0.95)}, "out": tmp_path / "run", **QUICK}
    first, again = (preceptor.train(network(), vectors(60, 4), **given) for _ in range(2))
    for one, other in zip(weights(first), weights(again), strict=True):
        assert torch.equal(one, other)


def test_a_failed_step_of_a_network_in_python_is_not_sent_to_replay(tmp_path: Path) -> None:
    with pytest.raises(NotFinite) as caught:
        preceptor.train(network(), vectors(60, 4), learning_rate=1e38, out=tmp_path / "run", **QUICK)
    assert "replay" not in str(caught.value)
    with pytest.raises(InputError, match=r"a network from Python, which cannot be built here: torch.load .*state\.pt"):
        replay(tmp_path / "run")
    with pytest.raises(InputError, match="start a new run, mended or with on_nonfinite=skip"):
        stopped_run(tmp_path / "run")
    assert {"state", "inputs"} <= torch.load(tmp_path / "run" / "failure" / "state.pt", weights_only=True).keys()


def test_an_interrupt_says_how_to_go_on(teacher: nn.Module, tmp_path: Path) -> None:
    class Interrupts(Callback):
        def on_epoch_start(self, trainer: Trainer, epoch: int, first: int) -> None:
            if epoch == 2:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="stopped, with a checkpoint: the same call goes on"):
        preceptor.distill(teacher, network(), vectors(120, 4), "kd", out=tmp_path, callbacks=[Interrupts()], **QUICK)


def test_the_doctor_warns(teacher: nn.Module) -> None:
    unsure = nn.Sequential(teacher, nn.Softmax(dim=1))
    with pytest.warns(DoctorWarning, match="probabilities"):
        preceptor.distill(unsure, network(), vectors(120, 4), "kd", **QUICK)


def test_some_classes_may_be_missing_in_what_is_measured(teacher: nn.Module) -> None:
    inputs, labels = vectors(120, 7)
    some = labels > 0
    report = preceptor.evaluate(teacher, (inputs[some], labels[some]))
    assert (report.n, report.classes) == (80, 3)


def test_photographs_ask_how_a_network_in_python_normalizes_them(tmp_path: Path) -> None:
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(15):
            color = (90 * label + 5 * number, 40, 40)
            Image.new("RGB", (9 + number, 12), color).save(tmp_path / "photos" / name / f"{number}.png")
    student = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2))
    with pytest.raises(InputError, match="whether the network normalizes them itself cannot be known"):
        preceptor.train(student, tmp_path / "photos", image_size=8, **QUICK)
    trained = preceptor.train(student, tmp_path / "photos", image_size=8, normalization="measured", **QUICK)
    assert preceptor.evaluate(trained, tmp_path / "photos", framing=Framing(8)).n == 30


COLORS = {"cat": (200, 30, 30), "dog": (30, 200, 30), "owl": (30, 30, 200)}


def photographs(folder: Path, names: Sequence[str], side: int = 8) -> Path:
    """Noise of one color a class."""
    generator = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.array(COLORS[name]) + generator.integers(-20, 20, (side, side, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def test_the_classes_of_the_data_are_matched_to_the_students_by_name(tmp_path: Path) -> None:
    own = {**QUICK, "epochs": 8, "out": tmp_path / "run"}
    trained = preceptor.train("convnet4", photographs(tmp_path / "all", ["cat", "dog", "owl"]), **own)
    some, inputs = photographs(tmp_path / "some", ["dog", "owl"]), load_dataset(f"folder:{tmp_path / 'some'}").train
    without_card = dataclasses.replace(trained, folder=tmp_path)
    measured: list[tuple[Any, Any, dict[str, Any]]] = [
        (trained, some, {}),
        (tmp_path / "run", some, {}),
        (without_card, some, {}),
        (trained, (inputs.images, inputs.labels), {"class_names": ["dog", "owl"]}),
    ]
    for student, data, options in measured:
        with pytest.warns(NetworkFitted, match="the 2 classes of .* are matched by name to its 3"):
            report = preceptor.evaluate(student, data, **options)
        assert (report.n, report.classes, report.accuracy.value) == (24, 3, 1.0)
        with pytest.raises(InputError, match=r"has no class 'dog', 'owl' of .*; it has 'cat'"):
            preceptor.evaluate(dataclasses.replace(without_card, class_names=("cat", "a", "b")), data, **options)


def test_what_is_known_of_a_trained_teacher_goes_with_it(tmp_path: Path) -> None:
    """Its normalization, size and classes: these data have others."""
    own = {**QUICK, "epochs": 8}
    folder = photographs(tmp_path / "all", ["cat", "dog", "owl"])
    trained = preceptor.train("convnet4", folder, out=tmp_path / "run", **own)
    inputs = load_dataset(f"folder:{photographs(tmp_path / 'some', ['dog', 'owl'], side=12)}").train
    data, stated = (inputs.images, inputs.labels), Normalization((0.0,) * 3, (1 / 255,) * 3)
    without_card = dataclasses.replace(trained, folder=tmp_path)
    for teacher in (trained, tmp_path / "run", without_card, [trained, without_card]):
        student = nn.Sequential(nn.Flatten(), nn.Linear(3 * 144, 2))
        taught = preceptor.distill(
            teacher, student, data, "kd", class_names=["dog", "owl"], normalization=stated, **QUICK
        )
        assert taught.teacher is not None
        assert taught.teacher.accuracy > 0.9


def test_the_normalization_of_a_teacher_by_name_is_stated(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photos", ["cat", "dog"])
    trained = preceptor.train("convnet4", folder, out=tmp_path / "run", **{**QUICK, "epochs": 8})
    card = trained.normalization
    for stated in (Normalization(card.mean, card.std), {"mean": card.mean, "std": card.std}):
        weights = tmp_path / "run" / "student.safetensors"
        given = {"teacher_weights": weights, "teacher_normalization": stated}
        taught = preceptor.distill("convnet4", "convnet4", folder, "kd", **given, **QUICK)
        assert taught.teacher is not None
        assert taught.teacher.accuracy > 0.9
    with pytest.raises(InputError, match="teacher_normalization is 'measured'; of a teacher in Python expected"):
        preceptor.distill(trained.student, "convnet4", folder, "kd", teacher_normalization="measured", **QUICK)


def test_photographs_are_framed_as_on_the_students_card(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photos", ["cat", "dog"], side=12)
    framed = {"image_size": 8, "crop": 0.5, "interpolation": "bilinear"}
    trained = preceptor.train("convnet4", folder, **framed, **{**QUICK, "epochs": 1})
    seen = load_dataset(f"folder:{folder}", framing=Framing(8, 0.5, "bilinear")).train.images
    expected = network_logits(trained.student, trained.normalization, seen)
    for student in (trained, trained.folder):
        np.testing.assert_allclose(preceptor.outputs(student, folder), expected, rtol=1e-4, atol=1e-5)


class Bag(nn.Module):
    """A classifier of token ids with a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 8), nn.Linear(8, 2)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        kept = self.embedding(ids) * mask[:, :, None]
        logits: Tensor = self.head(kept.sum(dim=1) / mask.sum(dim=1, keepdim=True))
        return logits


def test_inputs_of_several_tensors_by_name() -> None:
    generator = torch.Generator().manual_seed(0)
    items = []
    for number in range(120):
        label = number % 2
        ids = torch.randint(10 * label, 10 * label + 12, (6,), generator=generator).clamp(max=19)
        items.append({"ids": ids, "mask": torch.ones(6), "label": label})
    trained = preceptor.train(Bag(), items, views=1, **{**QUICK, "epochs": 8}, learning_rate=0.2)
    report = preceptor.evaluate(trained, items)
    assert report.accuracy.value > 0.8
    taught = preceptor.distill(trained.student, Bag(), items, "kd", **QUICK)
    assert taught.teacher is not None
    assert taught.teacher.accuracy is not None
    assert taught.teacher.accuracy > 0.8


def test_uint8_images_ask_how_they_are_normalized(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    labels = np.arange(80) % 2
    images = (generator.integers(0, 100, (80, 8, 8)) + 120 * labels[:, None, None]).astype(np.uint8)
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with pytest.raises(InputError, match="whether the network normalizes them itself cannot be known"):
        preceptor.train(student, (images, labels), **QUICK)
    trained = preceptor.train(student, (images, labels), normalization="measured", **QUICK)
    assert trained.validation is not None
    assert trained.validation.accuracy == 1
    itself = nn.Sequential(nn.Flatten(), ToUnit(), nn.Linear(64, 2))
    teacher = preceptor.train(itself, (images, labels), normalization=None, augment=False, **QUICK)
    for one, given in ((teacher, {}), (itself, {"teacher_normalization": None})):
        taught = preceptor.distill(one, "convnet4", (images, labels), "kd", normalization="measured", **given, **QUICK)
        assert taught.teacher is not None
        assert taught.teacher.accuracy > 0.9
    with pytest.raises(InputError, match="an architecture by name does not normalize its images"):
        preceptor.distill(itself, "convnet4", (images, labels), "kd", normalization=None, **QUICK)
    by_name = preceptor.train(
        "convnet4", (images, labels), class_names=["dark", "light"], out=tmp_path / "run", **QUICK
    )
    assert (by_name.folder / "student.json").is_file()
    report = preceptor.evaluate(tmp_path / "run", (images, labels))
    assert by_name.validation is not None
    assert report.accuracy.value > 0.5


class ToUnit(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.float() / 255


def test_data_and_teachers_by_name(tmp_path: Path) -> None:
    own = {**QUICK, "epochs": 1, "train_images": 200}
    preceptor.train("convnet4", "digits", out=tmp_path / "teacher", **own)
    trained = preceptor.distill(tmp_path / "teacher", "convnet4", "digits", "kd", **own)
    assert trained.test is not None
    rows = preceptor.outputs(tmp_path / "teacher", "digits", out=tmp_path / "rows.npy")
    again = preceptor.distill(
        str(tmp_path / "rows.npy"), "convnet4", "digits", "kd", teacher_output="logits", augment=False, **own
    )
    assert rows.shape == (1348, 10)
    assert again.teacher is not None
    assert trained.teacher is not None
    assert again.teacher.wrong == trained.teacher.wrong


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student": nn.Linear(8, 4)}, "gives outputs of shape .4,. an image; expected 3"),
        ({"student": nn.Linear(9, 3)}, "model 'Linear' cannot take inputs"),
        ({"teacher": nn.Linear(8, 5)}, "the teacher has 5 classes, the data set 3"),
        ({"teacher": 3}, "the teacher: a int cannot teach"),
        ({"teacher": np.zeros((30, 3))}, 'give teacher_output="logits"'),
        ({"teacher": [nn.Linear(8, 3), "run"]}, "some are paths and some are objects"),
        ({"train": [1, 2, 3]}, "an item is a int"),
        ({"train": (torch.zeros(4, 8), torch.zeros(3, dtype=torch.int64))}, "4 inputs and 3 labels"),
        (
            {"train": (torch.zeros(4, 8), torch.eye(4, dtype=torch.int64))},
            r"one an image: \.argmax\(axis=1\) of one-hot",
        ),
        ({"train": (torch.zeros(0, 8), torch.zeros(0, dtype=torch.int64))}, "train: holds no item"),
        ({"normalization": "measured"}, "these inputs are of another kind"),
        ({"epoch": 3}, "did you mean training.epochs"),
        ({"pretrained": True}, "pretrained: for architectures by name"),
        (
            {"student": "convnet4", "normalization": None},
            "convnet4: an architecture by name does not normalize its images",
        ),
        (
            {"recipe": {"selection": {"name": "tracin"}, "terms": {"kl": {"loss": "kl"}}}},
            "select 'tracin' sums over the teacher's training, and a network from Python has no checkpoints",
        ),
        ({"train": "digits", "test": "digits"}, "digits: brings its own sets"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_step(
    teacher: nn.Module, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    own = {"teacher": teacher, "student": network(), "train": vectors(30, 0), "recipe": "kd", **QUICK, **changes}
    with pytest.raises(InputError, match=message):
        preceptor.distill(**own, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_hugging_face_data_set_is_read_as_photographs_are(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    generator = np.random.default_rng(0)
    rows: dict[str, list[Any]] = {"image": [], "label": []}
    for number in range(40):
        label = number % 2
        pixels = (generator.integers(0, 90, (20 + number, 24, 3)) + 150 * label).astype(np.uint8)
        rows["image"].append(Image.fromarray(pixels))
        rows["label"].append(label)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["dark", "light"])})
    photographs = datasets.Dataset.from_dict(rows, features=features)
    trained = preceptor.train("convnet4", photographs, image_size=16, out=tmp_path / "run", **QUICK)
    assert trained.validation is not None
    assert trained.validation.accuracy == 1
    card = json.loads((tmp_path / "run" / "student.json").read_text())
    assert (card["class_names"], card["image_size"]) == (["dark", "light"], [16, 16])
    for student in (trained, trained.folder):
        report = preceptor.evaluate(student, photographs.select([1, 3, 5]), resamples=10)
        assert (report.n, report.accuracy.value) == (3, 1)
    texts = datasets.Dataset.from_dict({"text": ["a", "b"] * 10, "label": [0, 1] * 10})
    with pytest.raises(InputError, match="an input is a batch of list, as of texts"):
        preceptor.train(network(), texts, **QUICK)
