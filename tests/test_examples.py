"""The scripts of examples/ run, on small settings where they would take long."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from preceptor.models import load_student

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_a_network_and_a_data_set_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "own_network.py"), run_name="__main__")
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert float(lines["student"].split("%")[0]) > 80
    assert (Path(lines["run folder"]) / "student.safetensors").is_file()


def test_a_file_of_outputs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["file_of_outputs.py", str(tmp_path)])
    runpy.run_path(str(EXAMPLES / "file_of_outputs.py"), run_name="__main__")
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert float(lines["student"].split("%")[0]) > 85
    assert np.load(tmp_path / "outputs.npy").shape == (1347, 10)


@pytest.mark.usefixtures("torchvision_ops")
def test_photographs(tmp_path: Path) -> None:
    """All its runs, with random weights on made-up photographs of several sizes."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for label, name in enumerate(("ants", "bees")):
            place = tmp_path / "photos" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 128, (6, 6, 3)) + 127 * label * np.array([1, 0, 0])
                size = (40 + 7 * number, 44 + number)
                Image.fromarray(pixels.astype(np.uint8)).resize(size).save(place / f"{number}.jpg")
    tutorial = runpy.run_path(str(EXAMPLES / "photographs" / "distill.py"))["tutorial"]
    runs = {"precision": "fp32", "device": "cpu", "progress": False, "compile": "never"}
    accuracies = tutorial(tmp_path / "photos", None, tmp_path / "runs", epochs=(1, 1, 1), size=32, **runs)
    assert len(accuracies) == 6
    assert all(0 <= accuracy <= 1 for accuracy in accuracies.values())
    blocks, card = load_student(tmp_path / "runs" / "blocks-taught")
    teacher, of_teacher = load_student(tmp_path / "runs" / "teacher")
    assert (card.image_size, card.crop, card.mean) == ((32, 32), 0.875, of_teacher.mean)
    names = set(teacher.state_dict()) & set(blocks.state_dict())
    assert len(names) > 50
    record = (tmp_path / "runs" / "blocks-taught" / "run.yaml").read_text()
    assert "loaded" in record
    assert json.loads((tmp_path / "runs" / "small-taught" / "student.json").read_text())["crop"] == 0.875
