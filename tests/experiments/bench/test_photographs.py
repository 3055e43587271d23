"""The benchmark of photographs, with few of them."""

import json
from pathlib import Path

import pytest
from PIL import Image

from experiments.bench import photographs


def test_both_ways_decode_every_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "cores", lambda: 1)
    speed = photographs.measure_speed(6, 1)
    assert all(len(rates) == 1 and rates[0] > 0 for rates in speed["images_a_second"].values())
    assert set(speed["share_of_pillow"]) == {photographs.CENTER, photographs.CROPS}


def test_the_files_are_of_many_sizes_and_each_in_one_class(tmp_path: Path) -> None:
    photographs.make_files(tmp_path, 1000)
    files = sorted(tmp_path.rglob("*.jpg"))
    assert len(files) == 1000
    contents = {file.read_bytes() for file in files}
    assert len(contents) == photographs.CLASSES * photographs.FILES_A_CLASS
    assert len({Image.open(file).size for file in files[:40]}) > 1
    measured = photographs.measure_memory(tmp_path)
    assert (measured["files"], measured["images_shown"]) == (1000, min(990, photographs.BATCHES * 64))
    assert measured["peak_bytes"] >= measured["imported_bytes"] > 0


def test_the_result_is_shown(tmp_path: Path) -> None:
    machine = json.loads((photographs.RESULTS / "load.json").read_text())["machine"]
    rates = {"Pillow alone": [200.0, 210.0], photographs.CENTER: [150.0, 168.0], photographs.CROPS: [100.0, 105.0]}
    shares = {photographs.CENTER: 0.8, photographs.CROPS: 0.5}
    speed = {"photographs": 6, "mean_kib": 40.0, "cores": 2, "images_a_second": rates, "share_of_pillow": shares}
    one = {
        "files": 10_000,
        "images_shown": 64,
        "seconds_to_load": 1.6,
        "seconds_to_hold_out": 0.4,
        "imported_bytes": 2**29,
        "peak_bytes": 2**30,
    }
    shown = photographs.markdown({"machine": machine, "speed": speed, "memory": [one]})
    assert "| center of each | 159 | 80% |" in shown
    assert "| 10,000 | 1.00 | 0.50 | 2 | 0 |" in shown
