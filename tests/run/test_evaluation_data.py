import dataclasses

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from preceptor.data import ImageSet
from preceptor.errors import InputError, MachineError, NetworkFitted
from preceptor.metrics.logits import network_logits
from preceptor.models import load_student, save_student
from preceptor.run import cards
from tests.measured import measure_student
from tests.training_helpers import digits


def test_metrics_are_those_of_the_students_logits(teacher):
    network, card = load_student(teacher)
    for split, images in (("test", digits().test), ("train", digits().train)):
        said = network_logits(network, card.normalization(), images.images).argmax(dim=1)
        metrics, _ = measure_student(teacher, split=split)
        assert metrics.n == len(images)
        assert metrics.accuracy == pytest.approx(accuracy_score(images.labels, said))


def test_the_students_own_normalization_is_used(teacher, tmp_path):
    network, card = load_student(teacher)
    save_student(tmp_path, network, card.model_copy(update={"mean": (0.9,), "std": (0.05,)}))
    assert measure_student(tmp_path)[0] != measure_student(teacher)[0]


def test_another_data_set(teacher, tmp_path):
    test = digits().test
    np.savez(
        tmp_path / "some.npz",
        train_images=test.images[:150, 0].numpy(),
        train_labels=test.labels[:150].numpy(),
        class_names=np.array(digits().class_names),
    )
    spec = f"arrays:{tmp_path / 'some.npz'}"
    metrics, card = measure_student(teacher, data=spec, split="train")
    assert metrics.n == 150
    assert card.data == "digits"
    assert measure_student(teacher, data=spec)[0] == metrics


def test_the_students_own_data_without_a_test_set(teacher, monkeypatch):
    monkeypatch.setattr(cards, "load_dataset", lambda *_, **__: dataclasses.replace(digits(), test=None))
    with pytest.raises(InputError, match="digits has no test set: use --split train"):
        measure_student(teacher)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"class_names": (*"0123456789", "10")}, "has no class '10' of digits"),
        ({"train": ImageSet(digits().train.images.expand(-1, 3, -1, -1), digits().train.labels)}, "3"),
    ],
)
def test_data_that_does_not_fit(teacher, monkeypatch, change, told):
    monkeypatch.setattr(cards, "load_dataset", lambda *_, **__: dataclasses.replace(digits(), **change))
    with pytest.raises(InputError, match=told) as caught:
        measure_student(teacher)
    assert f"student {teacher}" in str(caught.value)


def test_a_folders_images_are_brought_to_the_students_size(teacher, tmp_path):
    from PIL import Image

    for number, name in enumerate(digits().class_names):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((20, 14), 10 * number, dtype=np.uint8)).save(tmp_path / name / "one.png")
    assert measure_student(teacher, data=f"folder:{tmp_path}", split="train")[0].n == 10
    with pytest.warns(NetworkFitted, match=r"sees images of 8x8 pixels: those of .*, of 12x12, are resized for it"):
        resized = measure_student(teacher, data=f"folder:{tmp_path}", split="train", image_size=12)[0]
    assert resized.n == 10


def test_cuda_where_there_is_none(teacher, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(MachineError, match="no CUDA device"):
        measure_student(teacher, device="cuda")
