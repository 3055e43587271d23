"""``preceptor predict`` from the command line."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from preceptor.models import CalibrationSet, Decision, load_student, save_card
from preceptor.run.prediction import predict
from tests.cli.test_runs import only_json
from tests.training_helpers import digits

SOURCE = CalibrationSet(data="digits", part="held_out", samples=404, fingerprint="ab")
DECISION = Decision(
    score="margin", threshold=0.01, max_risk=0.1, confidence=0.95, coverage=0.5, risk=0.05, calibrated_on=SOURCE
)


@pytest.fixture
def photos(tmp_path):
    """Five images, one of them damaged, some of them deeper."""
    folder = tmp_path / "photos"
    for number, name in enumerate(["b.png", "sub/c.png", "sub/deep/d.bmp", "z.png"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits().test.images[number, 0].numpy()).save(folder / name)
    (folder / "a.png").write_bytes(b"nothing")
    return folder


@pytest.fixture
def array(tmp_path):
    np.save(tmp_path / "images.npy", digits().test.images[:30, 0].numpy())
    return tmp_path / "images.npy"


@pytest.fixture
def abstaining(teacher, tmp_path):
    folder = shutil.copytree(teacher, tmp_path / "abstaining")
    save_card(folder, load_student(folder)[1].model_copy(update={"decision": DECISION}))
    return folder


def test_json_lines_are_the_librarys_predictions(teacher, preceptor, photos, array):
    done = preceptor("predict", teacher, photos, array, "--json", "--top-k", "2")
    assert (done.code, done.err) == (0, "")
    rows = [json.loads(line) for line in done.out.splitlines()]
    expected = list(predict(teacher, [photos, array], top_k=2))
    assert len(rows) == 35
    for row, said in zip(rows, expected, strict=True):
        assert (row["input"], row["index"], row["label"]) == (said.input, said.index, said.label)
        assert (row["probability"], row["score"], row["error"]) == (said.probability, said.score, said.error)
        assert [(one["label"], one["probability"]) for one in row["top"]] == list(said.top)
    assert preceptor("predict", teacher, photos, array, "--format", "jsonl", "--top-k", "2", "--quiet").out == done.out


def test_a_table_for_people_with_the_errors_told_at_the_end(teacher, preceptor, photos):
    done = preceptor("predict", teacher, photos)
    assert done.code == 0
    rows = done.out.splitlines()
    assert rows[0].split() == ["label", "probability", "score", "input"]
    assert [row.split()[-1] for row in rows[2:]] == [
        str(photos / n) for n in ("b.png", "sub/c.png", "sub/deep/d.bmp", "z.png")
    ]
    assert rows[1].startswith("(unreadable)")
    assert done.err.startswith(f"5 images, 1 could not be used, the first: {photos / 'a.png'}: not an image")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.txt"])
def test_a_file_holds_what_would_be_shown(teacher, preceptor, photos, tmp_path, name):
    out = tmp_path / "new" / name
    done = preceptor("predict", teacher, photos, "--out", out)
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith(f"; written to {out}\n")
    form = {"csv": "csv", "jsonl": "jsonl", "txt": "table"}[name.partition(".")[2]]
    assert out.read_text() == preceptor("predict", teacher, photos, "--format", form).out
    assert [path.name for path in out.parent.iterdir()] == [name]


def test_csv_is_read_by_others(abstaining, preceptor, array, tmp_path):
    told = only_json(preceptor("predict", abstaining, array, "--out", tmp_path / "rows.csv", "--json"))
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert told == {
        "run": str(abstaining),
        "out": str(tmp_path / "rows.csv"),
        "images": 30,
        "abstained": sum(row["abstained"] == "true" for row in rows),
        "errors": 0,
    }
    assert 0 < told["abstained"] < 30
    for row in rows:
        assert (row["label"] == "") == (row["abstained"] == "true") == (float(row["score"]) < 0.01)
        assert row["top_1_probability"] == row["probability"]


def test_abstaining_is_counted_for_people(abstaining, preceptor, array):
    done = preceptor("predict", abstaining, array)
    assert done.err == f"30 images, abstained on {done.out.count('(abstained)')}\n"


def test_where_nothing_can_be_used_the_exit_code_says_so(teacher, preceptor, photos, tmp_path):
    done = preceptor("predict", teacher, photos / "a.png", "--out", tmp_path / "rows.jsonl")
    assert done.code == 2
    assert done.err.startswith(f"preceptor: none of the 1 images could be used; the first: {photos / 'a.png'}: not an")
    assert json.loads((tmp_path / "rows.jsonl").read_text())["error"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("P", "nothing.png"), "nothing.png: no such file or folder"),
        (("P", "--score", "margn"), "did you mean 'margin'"),
        (("P", "--score", "energy", "--option", "warmth=2"), "unknown option of score energy 'warmth'"),
        (("P", "--top-k", "0"), "top-k is 0"),
        (("P", "--batch-size", "0"), "batch size is 0"),
        (("P", "--format", "xml"), "invalid choice: 'xml'"),
        (("P", "--out", "O/rows.xlsx"), "in which format? give --format, or a name that ends in .jsonl, .ndjson"),
        (("P", "--device", "tpu"), "tpu"),
        ((), "the following arguments are required: INPUT"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_any_work(teacher, preceptor, photos, tmp_path, arguments, told):
    done = preceptor(
        "predict",
        teacher,
        *(word.replace("P", str(photos)) if word == "P" else word.replace("O/", f"{tmp_path}/") for word in arguments),
    )
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert done.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_a_file_that_is_there_is_never_overwritten(teacher, preceptor, photos, tmp_path):
    (tmp_path / "rows.csv").write_text("dear")
    done = preceptor("predict", teacher, photos, "--out", tmp_path / "rows.csv")
    assert done.code == 2
    assert "exists; nothing is ever overwritten" in done.err
    assert (tmp_path / "rows.csv").read_text() == "dear"


def test_large_images_go_fewer_at_a_time(teacher, preceptor, array, monkeypatch):
    from preceptor.run import prediction

    sizes = []
    logits = prediction.network_logits
    monkeypatch.setattr(prediction, "MOST_PIXELS", 3 * 8 * 8)
    monkeypatch.setattr(prediction, "network_logits", lambda *given: (sizes.append(len(given[2])), logits(*given))[1])
    assert preceptor("predict", teacher, array, "--batch-size", 10**30).code == 0
    assert max(sizes) == 3


def test_an_array_that_is_damaged_further_on_leaves_no_file(teacher, preceptor, tmp_path):
    np.savez(tmp_path / "many.npz", images=np.tile(digits().test.images[:, 0].numpy(), (9, 1, 1)))
    content = bytearray((tmp_path / "many.npz").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "many.npz").write_bytes(content)
    done = preceptor("predict", teacher, tmp_path / "many.npz", "--out", tmp_path / "rows.csv", "--quiet")
    assert done.code == 2
    assert "many.npz: not an .npz archive, or cut short" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["many.npz"]


@pytest.mark.skipif(os.name != "posix", reason="names are bytes")
def test_names_that_are_no_text_or_would_steer_the_terminal(teacher, preceptor, tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in (b"\xff.png", b"\x1b[2J.png", "größe.png".encode()):
        Image.fromarray(digits().test.images[0, 0].numpy()).save(folder / "a.png")
        (folder / "a.png").rename(os.fsdecode(os.fsencode(folder) + b"/" + name))
    done = preceptor("predict", teacher, folder)
    assert done.code == 0
    assert [row.rpartition("/")[2] for row in done.out.splitlines()[1:]] == ["\\x1b[2J.png", "größe.png", "\\udcff.png"]
    for form in ("csv", "jsonl"):
        assert preceptor("predict", teacher, folder, "--out", tmp_path / f"rows.{form}").code == 0
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    on_screen = preceptor("predict", teacher, folder, "--format", "csv").out
    assert "\\x1b[2J.png" in on_screen
    assert "\x1b" not in on_screen


MEASURED = """
import sys
from pathlib import Path
from preceptor.cli.main import main
student, *arrays = sys.argv[1:]
for array in arrays:
    main(["predict", student, array, "--out", array + ".jsonl", "--quiet", "--batch-size", "64"])
    status = Path("/proc/self/status").read_text().splitlines()
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells a process its peak of memory")
def test_memory_does_not_grow_with_the_number_of_images(teacher, tmp_path):
    """120 MB of images in an archive of few bytes, within 40 MB of what a single one takes."""
    arrays = []
    for number in (1, 120):
        arrays.append(str(tmp_path / f"{number}.npz"))
        np.savez_compressed(arrays[-1], images=np.zeros((number, 1000, 1000), dtype=np.uint8))
    command = [sys.executable, "-c", MEASURED, str(teacher), *arrays]
    peaks = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(peaks[1]) - int(peaks[0]) < 40 * 1024
