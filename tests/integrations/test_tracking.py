"""Trackers by name, what a run's folder keeps of one, and what is logged."""

import sys

import numpy as np
import pytest
import torch

from preceptor.errors import InputError, MachineError
from preceptor.integrations import TRACKERS, tracking
from preceptor.integrations.content import mosaic, numbers, result_tables
from preceptor.integrations.tracker import TrackedRun
from preceptor.run import resolve, run
from preceptor.run import train as train_module
from tests.integrations.conftest import SETTINGS


@pytest.mark.parametrize("name", TRACKERS)
def test_a_package_that_is_missing_is_named_with_its_extra(name, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, name, None)
    message = rf"--track {name} needs {name}, which is not installed: pip install 'preceptor\[{name}\]'$"
    with pytest.raises(MachineError, match=message), tracking([f"{name}:place"], tmp_path / "run"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (["tensorbord"], "unknown tracker 'tensorbord': did you mean 'tensorboard'"),
        (["mlflow:sqlite:///a", "mlflow"], "--track mlflow is set twice: give it once"),
    ],
)
def test_names_that_make_no_sense(places, message, tmp_path):
    with pytest.raises(InputError, match=message), tracking(places, tmp_path):
        pass


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"id": 3, "steps": {}}', '{"id": "../x", "steps": {}}', '{"id": "a", "steps": {"loss": "x"}}'],
)
def test_a_file_that_holds_no_id_is_refused(content, tmp_path):
    (tmp_path / "tracking").mkdir()
    (tmp_path / "tracking" / "mlflow.json").write_text(content)
    with pytest.raises(InputError, match=r"tracking/mlflow\.json: "), tracking(["mlflow"], tmp_path):
        pass


@pytest.mark.parametrize("name", ["tracking", "tensorboard"])
def test_a_link_is_refused(name, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{name}: a link"), tracking(["tensorboard"], tmp_path / "run"):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_was_logged_is_kept_by_name_and_step(tmp_path):
    kept = TrackedRun(tmp_path / "tracking" / "mlflow.json")
    assert kept.id is None
    kept.begin("a-run")
    kept.add({"loss": 1.0}, 4)
    again = TrackedRun(tmp_path / "tracking" / "mlflow.json")
    assert again.id == "a-run"
    assert again.new({"loss": 2.0, "epoch": 3.0}, 4) == {"epoch": 3.0}
    assert again.new({"loss": 2.0}, 5) == {"loss": 2.0}


def test_a_run_that_fails_before_its_first_epoch_leaves_nothing_of_a_tracker(tmp_path, monkeypatch):
    class Fails(train_module.CheckpointCallback):
        def on_step_end(self, trainer, step) -> None:
            raise RuntimeError("no such thing")

    monkeypatch.setattr(train_module, "CheckpointCallback", Fails)
    with pytest.raises(RuntimeError, match="no such thing"), tracking(["tensorboard"], tmp_path / "run") as trackers:
        run(resolve(SETTINGS), tmp_path / "run", trackers)
    assert not (tmp_path / "run").exists()


def test_numbers_of_a_line():
    entry = {"event": "end", "folder": "run", "test": {"n": 3, "nll": 0.5, "per_class_accuracy": [1.0]}, "cached": None}
    assert numbers(entry) == {"test/n": 3, "test/nll": 0.5}
    assert numbers({"skipped": 0, "forced": True}, "epoch/") == {"epoch/skipped": 0}


def test_tables_of_a_result():
    ranked = {"score": "margin", "error_at_coverage": {"95": 0.1}, "auroc": None}
    test = {"per_class_accuracy": [0.5, None], "selective": [ranked]}
    assert result_tables({"validation": None, "test": test}, ("cat", "dog")) == {
        "per_class_accuracy": (("class", "test"), [("cat", 0.5), ("dog", None)]),
        "selective": (["split", "score", "error_at_coverage/95", "auroc"], [["test", "margin", 0.1, None]]),
    }
    assert result_tables({"validation": None, "test": None}, ("cat", "dog")) == {}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("images", [1, 11, 100])
def test_a_mosaic_shows_images_in_rows_of_eight(channels, images):
    batch = torch.randint(1, 256, (images, channels, 4, 6), dtype=torch.uint8)
    grid = mosaic(batch)
    shown = min(images, 64)
    rows = (shown + 7) // 8
    expected = np.zeros((rows * 5, 8 * 7, channels), dtype=np.uint8)
    for i in range(shown):
        top, left = 5 * (i // 8), 7 * (i % 8)
        expected[top : top + 4, left : left + 6] = batch[i].permute(1, 2, 0).numpy()
    assert np.array_equal(grid, expected[:, :, 0] if channels == 1 else expected)
