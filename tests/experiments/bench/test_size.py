"""Cost against size on a few hundred images, in this process: what is measured, and how it is shown."""

import pytest

from experiments.bench import size
from experiments.bench.size import (
    CACHES,
    KINDS,
    TRAINING_CACHE,
    markdown,
    measure_filling,
    measure_reading,
    measure_training,
)
from preceptor.teachers.cache import open_readonly
from tests.experiments.speed.tiny import machine

MANY = 2000


@pytest.mark.parametrize("name", CACHES)
def test_a_filled_cache_takes_what_was_planned_and_is_read_whole(tmp_path, name: str) -> None:
    folder = tmp_path / "cache"
    found = measure_filling(300, name, folder)
    with open_readonly(folder) as cache:
        assert cache.count == 600
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    metadata = sizes.pop("cache.json")
    assert found["planned_bytes"] == sum(sizes.values()) == found["entry_bytes"] * 600
    assert found["bytes_of_all_files"] == sum(sizes.values()) + metadata
    assert found["off_by"] >= metadata / sum(sizes.values())
    assert measure_reading(300, name, folder)["reading_seconds"] > 0


def test_reading_an_empty_cache_is_noticed(tmp_path) -> None:
    size.cache_in(tmp_path / "cache", 300, TRAINING_CACHE).close()
    with pytest.raises(AssertionError, match="it was filled"):
        measure_reading(300, TRAINING_CACHE, tmp_path / "cache")


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_is_measured_as_often_as_asked(tmp_path, kind) -> None:
    measure_filling(300, TRAINING_CACHE, tmp_path / "cache")
    found = measure_training(300, 2, kind, tmp_path / "cache")
    assert len(found["seconds"]) == 2
    assert found["microseconds_a_sample"] == pytest.approx(found["median_seconds"] / 300 * 1e6)
    assert found["images_labels_and_positions_mib"] == pytest.approx(300 * 80 / 2**20)


def test_linear_cost_has_the_exponent_one() -> None:
    found = [
        {"samples": samples, "median_seconds": samples / 500, "microseconds_a_sample": 2000.0}
        for samples in (10, 100, 1000)
    ]
    found[-1]["microseconds_a_sample"] = 3000.0
    ratios = size.with_ratios(found)
    assert ratios["exponent"] == pytest.approx(1)
    assert [each["times_the_smallest"] for each in ratios["sizes"]] == [1, 1, 1.5]


def test_everything_is_shown(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size, "in_its_own_process", lambda work, *given: work(*given))
    found = size.measure({300: 1, MANY: 1}, tmp_path)
    content = {"student": "convnet8", "image": "8 x 8", "batch_size": 256, "machine": machine().model_dump(), **found}
    shown = markdown(content)
    assert shown.count("| 2,000 |") == len(KINDS) + len(CACHES)
    assert "| 300 | 1,000 classes, top 50 | 0.12 |" in shown
    assert f"{found['training']['labels']['exponent']:.2f} by labels" in shown
