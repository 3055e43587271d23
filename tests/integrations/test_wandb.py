"""Offline W&B runs, read back from their files."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.integrations.conftest import (
    PAGE,
    STEPS,
    cut_off_and_resumed,
    entries,
    expected_scalars,
    log_page,
    tracked_run,
)
from tests.integrations.wandb_file import histories, key_of, records


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder of offline runs."""
    folder = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DIR", str(folder))
        yield folder / "wandb"


def parts_of(place, folder):
    """The folders of a run's parts, by the id that the run's folder keeps."""
    run_id = json.loads((folder / "tracking" / "wandb.json").read_text())["id"]
    return list(place.glob(f"offline-run-*-{run_id}*"))


def file_of(part):
    (path,) = part.glob("run-*.wandb")
    return path


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, place):
    folder = tmp_path_factory.mktemp("runs") / "run"
    losses = tracked_run("wandb:distillation", folder)
    (part,) = parts_of(place, folder)
    return folder, losses, part


def test_scalars_and_settings(tracked):
    folder, losses, part = tracked
    logged = histories(file_of(part))
    for name, points in expected_scalars(folder, losses).items():
        assert logged[name] == points, name
    (run,) = [one.run for one in records(file_of(part)) if one.WhichOneof("record_type") == "run"]
    assert (run.project, run.display_name) == ("distillation", "run")
    settings = {key_of(item): json.loads(item.value_json) for item in run.config.update}
    assert (settings["training.batch_size"], settings["student"]) == (64, "convnet4")


def test_table_and_image(tracked):
    folder, _, part = tracked
    (table,) = part.glob("files/media/table/per_class_accuracy*.json")
    content = json.loads(table.read_text())
    assert content["columns"] == ["class", "validation", "test"]
    assert [row[2] for row in content["data"]] == entries(folder)[-1]["test"]["per_class_accuracy"]
    (image,) = part.glob("files/media/images/first_batch*.png")
    assert np.asarray(Image.open(image)).shape[:2] == (72, 72)
    logged = histories(file_of(part))
    assert logged["per_class_accuracy.nrows"] == [(STEPS, 10)]
    assert logged["first_batch.height"] == [(0, 72)]


def test_a_resumed_run_has_one_id_and_each_step_once_and_takes_a_page(tracked, place, tmp_path):
    whole, losses, _ = tracked
    cut_off_and_resumed("wandb", tmp_path / "run")
    parts = [histories(file_of(part)) for part in parts_of(place, tmp_path / "run")]
    before, after = sorted(parts, key=lambda logged: logged["loss/ce"])
    assert [step for step, _ in before["loss/ce"]] == [1, 2, 3, 4, 5, 6]
    for name, points in expected_scalars(whole, losses).items():
        assert before.get(name, []) + after.get(name, []) == points, name
    log_page("wandb", tmp_path / "run")
    (page,) = (path for part in parts_of(place, tmp_path / "run") for path in part.glob("files/media/html/*.html"))
    assert page.read_text() == PAGE
