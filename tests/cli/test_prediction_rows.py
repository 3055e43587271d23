import csv
import io
import json

import pytest

from preceptor.cli.predict import lines
from preceptor.models import ModelCard
from preceptor.run.prediction import Prediction

CARD = ModelCard(
    architecture="convnet2",
    channels=1,
    classes=3,
    class_names=("cat", "-dog", "größer"),
    image_size=(8, 8),
    mean=(0.5,),
    std=(0.5,),
    data="made up",
    preceptor="0",
)
ANSWERED = Prediction(
    "a,b.png", None, "größer", 2 / 3, False, -0.25, (("größer", 2 / 3), ("-dog", 0.25)), ("größer", "-dog")
)
DECLINED = Prediction("x.npy", 7, None, 0.5, True, 0.125, (("-dog", 0.5), ("cat", 0.5)), ("-dog",))
FAILED = Prediction('=cmd|"\n.png', None, error="not an image\x1b[2J")
PLAIN = Prediction("c.png", None, "-dog", 1.0, None, 1.0, (("-dog", 1.0),))


def test_json_lines_hold_every_field():
    found = [json.loads(line) for line in lines([ANSWERED, DECLINED, FAILED], "jsonl", CARD, 2)]
    assert found[0] == {
        "input": "a,b.png",
        "index": None,
        "label": "größer",
        "probability": 2 / 3,
        "abstained": False,
        "score": -0.25,
        "top": [{"label": "größer", "probability": 2 / 3}, {"label": "-dog", "probability": 0.25}],
        "set": ["größer", "-dog"],
        "error": None,
    }
    assert (found[1]["label"], found[1]["abstained"], found[1]["index"]) == (None, True, 7)
    assert found[2] == dict.fromkeys(found[0]) | {"input": FAILED.input, "error": FAILED.error, "top": []}
    assert all(line.isascii() and "\n" not in line for line in lines([ANSWERED, FAILED], "jsonl", CARD, 2))


def read(*predictions, top_k=2):
    text = "".join(f"{line}\n" for line in lines(predictions, "csv", CARD, top_k))
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_csv_comes_back_field_by_field():
    first, second, third = read(ANSWERED, DECLINED, FAILED)
    assert (first["input"], first["index"], first["label"]) == ("a,b.png", "", "größer")
    assert (float(first["probability"]), float(first["score"]), first["abstained"]) == (2 / 3, -0.25, "false")
    assert (first["top_1"], float(first["top_1_probability"])) == ("größer", 2 / 3)
    assert json.loads(first["set"]) == ["größer", "-dog"]
    assert (second["label"], second["abstained"], second["index"], second["error"]) == ("", "true", "7", "")
    assert (third["label"], third["abstained"], third["top_2"], third["set"]) == ("", "", "", "")
    assert None not in first


def test_no_cell_of_text_is_taken_for_a_formula():
    rows = read(
        ANSWERED, DECLINED, FAILED, PLAIN, Prediction("@x", None, error="\t=1"), Prediction("+1", 0, error="-1")
    )
    texts = [value for row in rows for key, value in row.items() if key not in ("score", "probability", "index")]
    assert not [text for text in texts if text and text[0] in "=+-@\t\r"]
    assert rows[2]["input"] == "'" + FAILED.input
    assert rows[3]["label"] == rows[3]["top_1"] == "'-dog"
    assert rows[0]["score"] == "-0.25"


def test_a_student_without_a_decision_has_nothing_abstained():
    (row,) = read(PLAIN)
    assert (row["abstained"], row["set"], row["top_2"]) == ("", "", "")
    assert json.loads(next(lines([PLAIN], "jsonl", CARD, 1)))["abstained"] is None


def test_a_table_is_aligned_and_printable():
    rows = list(lines([ANSWERED, DECLINED, FAILED, PLAIN], "table", CARD, 1))
    assert rows[0] == "label         probability        score  input"
    assert rows[1] == "größer             66.67%        -0.25  a,b.png  one of {größer, -dog}"
    assert rows[2] == "(abstained)        50.00%        0.125  x.npy [7]  one of {-dog}"
    assert rows[3] == '(unreadable)                            =cmd|"\\n.png: not an image\\x1b[2J'
    assert rows[4] == "-dog              100.00%            1  c.png"
    assert next(iter(lines([DECLINED], "table", CARD, 2))) == rows[0]
    assert list(lines([DECLINED], "table", CARD, 2))[1].endswith("-dog 50.00%, cat 50.00%")


@pytest.mark.parametrize("form", ["jsonl", "csv", "table"])
def test_rows_are_made_one_at_a_time(form):
    taken = []

    def without_end():
        while True:
            taken.append(0)
            yield ANSWERED

    rows = lines(without_end(), form, CARD, 2)
    for _ in range(5):
        next(rows)
    assert len(taken) <= 5
