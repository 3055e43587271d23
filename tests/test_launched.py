"""What torchrun says in the environment."""

import pytest
import torch
from PIL import Image

from preceptor.data import load_dataset
from preceptor.launched import VARIABLES, launched, processes_here, restarts


@pytest.fixture
def of_four(monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")


def test_without_torchrun_there_is_one_process():
    assert launched() == (0, 1)
    assert (processes_here(), restarts()) == (1, 0)


def test_under_torchrun(of_four, monkeypatch):
    assert launched() == (3, 4)
    assert processes_here() == 2
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    assert restarts() == 2


@pytest.mark.parametrize("missing", VARIABLES)
def test_a_variable_of_the_same_name_from_elsewhere_means_nothing(of_four, monkeypatch, missing):
    monkeypatch.delenv(missing)
    assert launched() == (0, 1)
    assert processes_here() == 1


@pytest.mark.parametrize(("gib", "fit"), [(1.2e-5, True), (1e-5, False)])
def test_processes_of_a_host_share_the_memory_for_images(of_four, tmp_path, gib, fit):
    """Eight images of 16 x 16 x 3 take 6 KiB, and each of two processes may hold half."""
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(2):
                color = (ord(name), number, len(split))
                Image.new("RGB", (16, 16), color).save(tmp_path / split / name / f"{number}.png")
    loaded = load_dataset(f"folder:{tmp_path}", most_in_memory=gib)
    assert isinstance(loaded.train.images, torch.Tensor) is fit
