import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from preceptor.data.torchvision_sets import read_with_torchvision
from preceptor.errors import InputError, MachineError


class StandIn:
    """What torchvision's data set classes have in common: arguments, ``data``, ``targets``."""

    asked: list[dict[str, Any]] = []  # noqa: RUF012
    failure: Exception | None = None

    def __init__(self, root: str, train: bool, download: bool) -> None:
        if self.failure is not None:
            raise self.failure
        self.asked.append({"root": root, "train": train, "download": download})
        print("Files already downloaded and verified")
        n = 20 if train else 10
        self.fill(np.random.default_rng(n), n)

    def fill(self, draw: np.random.Generator, n: int) -> None:
        self.data: Any = draw.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        self.targets: Any = [label % 10 for label in range(n)]


class GrayStandIn(StandIn):
    def fill(self, draw: np.random.Generator, n: int) -> None:
        self.data = torch.from_numpy(draw.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        self.targets = torch.arange(n) % 10


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    class Fresh(StandIn):
        asked: list[dict[str, Any]] = []  # noqa: RUF012

    package, datasets = ModuleType("torchvision"), ModuleType("torchvision.datasets")
    datasets.CIFAR10 = Fresh  # type: ignore[attr-defined]
    datasets.MNIST = GrayStandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)
    return Fresh


def test_colour_sets_come_channels_first(torchvision: type[StandIn], tmp_path: Path) -> None:
    contents = read_with_torchvision("CIFAR10", tmp_path, download=False)
    expected = np.random.default_rng(20).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(contents.train.images.numpy(), expected.transpose(0, 3, 1, 2))
    assert contents.train.labels.tolist() == [label % 10 for label in range(20)]
    assert contents.test is not None
    assert len(contents.test) == 10
    assert torchvision.asked == [
        {"root": str(tmp_path), "train": True, "download": False},
        {"root": str(tmp_path), "train": False, "download": False},
    ]


@pytest.mark.usefixtures("torchvision")
def test_greyscale_sets_get_a_channel(tmp_path: Path) -> None:
    contents = read_with_torchvision("MNIST", tmp_path, download=True)
    expected = np.random.default_rng(20).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(contents.train.images.numpy(), expected[:, None])
    assert contents.train.labels.dtype == torch.int64


@pytest.mark.usefixtures("torchvision")
def test_its_chatter_stays_off_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_with_torchvision("CIFAR10", tmp_path, download=False)
    said = capsys.readouterr()
    assert said.out == ""
    assert "verified" in said.err


def test_damaged_files_are_the_users_to_replace(torchvision: type[StandIn], tmp_path: Path) -> None:
    torchvision.failure = RuntimeError("Dataset not found or corrupted.")
    with pytest.raises(InputError, match=r"CIFAR10 under .* is incomplete or damaged \(Dataset not found or corrupted"):
        read_with_torchvision("CIFAR10", tmp_path, download=False)


def test_a_failed_download_is_the_environments(torchvision: type[StandIn], tmp_path: Path) -> None:
    torchvision.failure = OSError("no route to host")
    with pytest.raises(MachineError, match=r"download of CIFAR10 to .* failed \(no route to host\): check the network"):
        read_with_torchvision("CIFAR10", tmp_path, download=True)


class Raising(MetaPathFinder):
    """Makes the import of torchvision, or of what it imports, fail in a chosen way."""

    def __init__(self, name: str, error: Exception) -> None:
        self.name, self.error = name, error

    def find_spec(self, name: str, *_: Any) -> None:
        if name == self.name:
            raise self.error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("operator torchvision::nms does not exist"), r"cannot load \(operator torchvision::nms"),
        (ImportError("libcudart.so.12: cannot open"), r"cannot load \(libcudart"),
        (ModuleNotFoundError("No module named 'PIL'", name="PIL"), r"cannot load \(No module named 'PIL'"),
        (
            ModuleNotFoundError("No module named 'torchvision'", name="torchvision"),
            r"not installed: pip install 'preceptor\[vision\]'",
        ),
    ],
)
def test_torchvision_that_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, said: str
) -> None:
    for name in ("torchvision", "torchvision.datasets"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Raising("torchvision", error), *sys.meta_path])
    with pytest.raises(MachineError, match=said) as caught:
        read_with_torchvision("CIFAR10", tmp_path, download=True)
    if "not installed" not in said:
        assert f"the torchvision build that matches torch {torch.__version__}" in str(caught.value)
