"""TensorBoard's event files, read by TensorBoard."""

import io

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from preceptor.errors import InputError
from preceptor.integrations import tracking
from preceptor.run import resolve, run
from tests.integrations.conftest import (
    SETTINGS,
    STEPS,
    cut_off_and_resumed,
    entries,
    expected_scalars,
    log_page,
    tracked_run,
)


def read(folder) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0}).Reload()


def text(events: EventAccumulator, tag: str) -> str:
    (event,) = events.Tensors(f"{tag}/text_summary")
    return event.tensor_proto.string_val[0].decode()


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    losses = tracked_run("tensorboard", folder)
    log_page("tensorboard", folder)
    return folder, losses, read(folder / "tensorboard")


def test_scalars(tracked):
    folder, losses, events = tracked
    for name, points in expected_scalars(folder, losses).items():
        logged = events.Scalars(name)
        assert [event.step for event in logged] == [step for step, _ in points], name
        assert [event.value for event in logged] == pytest.approx([value for _, value in points], rel=1e-6), name


def test_settings_tables_and_page(tracked):
    folder, _, events = tracked
    settings = text(events, "settings")
    assert "|setting|value|\n|---|---|\n" in settings
    assert "|training.batch_size|64|" in settings
    assert "|record.device|cpu|" in settings
    end = entries(folder)[-1]
    rows = text(events, "per_class_accuracy").splitlines()
    assert rows[0] == "|class|validation|test|"
    validation, test = (end[split]["per_class_accuracy"][3] for split in ("validation", "test"))
    assert rows[2 + 3] == f"|3|{validation}|{test}|"
    assert str(folder / "evaluation.html") in text(events, "evaluation")


def test_the_first_batch(tracked):
    (image,) = tracked[2].Images("first_batch")
    pixels = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)).convert("L"))
    assert pixels.shape == (8 * 9, 8 * 9)  # of digits, 8 x 8, with a border
    assert pixels[8::9].max() == pixels[:, 8::9].max() == 0
    assert all(pixels[9 * row : 9 * row + 8, :8].max() > 0 for row in range(8))


def test_a_resumed_run_shows_each_step_once(tracked, tmp_path):
    whole, losses, _ = tracked
    cut_off_and_resumed("tensorboard", tmp_path / "run")
    assert len(list((tmp_path / "run" / "tensorboard").glob("events.*"))) == 2
    events = read(tmp_path / "run" / "tensorboard")
    for name, points in expected_scalars(whole, losses).items():
        assert [event.step for event in events.Scalars(name)] == [step for step, _ in points], name
        values = [event.value for event in events.Scalars(name)]
        assert values == pytest.approx([value for _, value in points], rel=1e-6), name


def test_a_place_holds_a_folder_a_run(tmp_path):
    place = f"tensorboard:{tmp_path / 'board'}"
    tracked_run(place, tmp_path / "first")
    assert len(read(tmp_path / "board" / "first").Scalars("loss/ce")) == STEPS
    assert not (tmp_path / "first" / "tensorboard").exists()
    with (
        pytest.raises(InputError, match=r"first: holds the events of another run: choose another"),
        tracking([place], tmp_path / "other" / "first") as trackers,
    ):
        run(resolve(SETTINGS), tmp_path / "other" / "first", trackers)
    assert not (tmp_path / "other" / "first").exists()
