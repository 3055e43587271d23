"""``preceptor resume`` from the command line."""

import numpy as np
import pytest

from preceptor.run import train as train_module
from preceptor.training.checkpoint import CheckpointCallback
from tests.cli.conftest import SMALL


class StopsAtOnce(CheckpointCallback):
    def on_step_end(self, trainer, step) -> None:
        self.stopping.set()
        super().on_step_end(trainer, step)


@pytest.fixture
def arrays(tmp_path):
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (90, 8, 8), dtype=np.uint8), np.arange(90) % 3
    np.savez(
        tmp_path / "set.npz",
        train_images=images,
        train_labels=labels,
        test_images=images[:9],
        test_labels=labels[:9],
    )
    return tmp_path / "set.npz"


@pytest.fixture
def stopped(preceptor, arrays, tmp_path, monkeypatch):
    """A run stopped after its first step."""
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "CheckpointCallback", StopsAtOnce)
        done = preceptor(
            "train", "--model", "convnet4", *SMALL, "--data", f"arrays:{arrays}", "--out", tmp_path / "run"
        )
    assert done.code == 4
    return tmp_path / "run"


def test_data_that_has_moved(preceptor, stopped, arrays):
    moved = arrays.rename(arrays.with_name("moved.npz"))
    lost = preceptor("resume", stopped)
    assert lost.code == 2
    assert f"set.npz: no longer there: preceptor resume {stopped} --data arrays:NEW_PLACE" in lost.err
    done = preceptor("resume", stopped, "--data", f"arrays:{moved}")
    assert done.code == 0, done.err
    assert f"run folder: {stopped}" in done.out


def test_a_data_set_of_a_hub_is_no_path(preceptor, stopped, arrays):
    """It is looked for, and one that is not there is told as such, not as a folder that has moved."""
    lost = preceptor("resume", stopped, "--data", "hf:nobody/nothing")
    assert lost.code in (2, 3)
    assert "no longer there" not in lost.err
    assert "nobody/nothing" in lost.err


def test_other_data_in_its_place_is_refused(preceptor, stopped, arrays):
    with np.load(arrays) as content:
        other = {name: content[name] for name in content.files}
    other["train_labels"] = other["train_labels"][::-1]
    np.savez(arrays.with_name("other.npz"), **other)
    done = preceptor("resume", stopped, "--data", f"arrays:{arrays.with_name('other.npz')}")
    assert done.code == 2
    assert "other data" in done.err


def test_only_places_may_be_changed(preceptor, stopped):
    done = preceptor("resume", stopped, "--seed", "3")
    assert (done.code, done.out) == (2, "")
    assert "unknown option --seed" in done.err
