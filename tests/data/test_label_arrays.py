"""Labels in .npz archives and in CIFAR-N's .pt dictionaries."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from preceptor.data.labels import read_labels
from preceptor.errors import InputError
from preceptor.run import resolve
from preceptor.run.set_up import training_data
from tests.training_helpers import digits

CLEAN = np.array([0, 1, 2, 3, 4, 0])
CIFAR10N = {
    "clean_label": CLEAN,
    "aggre_label": np.array([0, 1, 2, 3, 4, 1]),
    "worse_label": np.array([4, 1, 2, 0, 4, 1]),
    **{f"random_label{number}": (CLEAN + number) % 5 for number in (1, 2, 3)},
}
"""As CIFAR-10_human.pt, which torch.save wrote from NumPy arrays."""


def human(folder: Path, content: Any = None, name: str = "CIFAR-10_human.pt") -> Path:
    torch.save(CIFAR10N if content is None else content, folder / name)
    return folder / name


@pytest.mark.parametrize("key", CIFAR10N)
def test_cifar_n_by_key(tmp_path: Path, key: str) -> None:
    human(tmp_path)
    labels = read_labels(tmp_path / f"CIFAR-10_human.pt:{key}", 6, own=torch.from_numpy(CLEAN))
    assert labels.dtype == torch.int64
    assert labels.tolist() == CIFAR10N[key].tolist()


@pytest.mark.parametrize("kind", [torch.from_numpy, np.int32, list])
def test_a_file_of_one_array_needs_no_key(tmp_path: Path, kind: Any) -> None:
    values = kind([1, 0, 2]) if kind is list else kind(np.array([1, 0, 2]))
    assert read_labels(human(tmp_path, values, "labels.pt"), 3).tolist() == [1, 0, 2]
    assert read_labels(human(tmp_path, {"noisy": values, "note": "by hand"}, "labels.pth"), 3).tolist() == [1, 0, 2]


def test_an_npz_of_one_array_needs_no_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "labels.npz", np.array([1, 0, 2]))
    assert read_labels(tmp_path / "labels.npz", 3).tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", r"holds clean_label, aggre_label, .*; name one of them, as in CIFAR-10_human\.pt:clean_label"),
        (":worst_label", r"unknown array of .*CIFAR-10_human\.pt 'worst_label': did you mean 'worse_label'"),
    ],
)
def test_a_key_is_needed(tmp_path: Path, key: str, message: str) -> None:
    human(tmp_path)
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / f"CIFAR-10_human.pt{key}", 6)


def test_another_order_is_noticed_by_the_clean_labels(tmp_path: Path) -> None:
    human(tmp_path)
    own = torch.from_numpy(CLEAN).flip(0)
    with pytest.raises(
        InputError, match=r"its clean_label is not the data's own label at 4 of 6 images: .* another order"
    ):
        read_labels(tmp_path / "CIFAR-10_human.pt:worse_label", 6, own=own)


def test_unlabeled_images_have_no_order_to_compare(tmp_path: Path) -> None:
    human(tmp_path)
    own = torch.tensor([-1, 1, -1, 3, 4, 0])
    assert read_labels(tmp_path / "CIFAR-10_human.pt:worse_label", 6, own=own)[0] == 4


def test_another_count(tmp_path: Path) -> None:
    human(tmp_path)
    with pytest.raises(InputError, match="6 labels for 5 training images"):
        read_labels(tmp_path / "CIFAR-10_human.pt:worse_label", 5, own=torch.zeros(5, dtype=torch.int64))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"note": "none"}, "holds no array of labels"),
        ({"noisy": torch.zeros(3)}, "noisy is float32 of shape"),
        ({"noisy": [0.5, 1.0]}, "holds no array of labels"),
    ],
)
def test_a_file_of_something_else(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_labels(human(tmp_path, content, "labels.pt"), 3)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", b"\x80\x02."])
@pytest.mark.parametrize("ending", ["pt", "npz"])
def test_a_damaged_file(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"labels.{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_labels(path, 3)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_trains_on_them(tmp_path: Path) -> None:
    own = digits().train.labels
    noisy = (own + 1) % 10
    torch.save({"clean_label": own.numpy(), "noisy_label": noisy.numpy()}, tmp_path / "human.pt")
    settings = {"data": "digits", "train_labels": f"{tmp_path / 'human.pt'}:noisy_label"}
    assert torch.equal(training_data(resolve(settings)).train.labels, noisy)
    torch.save({"noisy_label": (noisy + 5).numpy()}, tmp_path / "human.pt")
    with pytest.raises(InputError, match=r"train label .* is out of range"):
        training_data(resolve(settings))
