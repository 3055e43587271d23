import csv
from pathlib import Path

import pytest

from preceptor.errors import InputError
from preceptor.reports.prediction_table import COLUMNS, write_prediction_table
from preceptor.run.evaluation import Evaluation
from tests.reports.evaluations import made_evaluation


def rows_of(evaluation: Evaluation, path: Path) -> list[dict[str, str]]:
    write_prediction_table(evaluation, path)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_all_predictions_come_back(tmp_path: Path) -> None:
    names = ['a "b", c', "=SUM(A1)", "Größe ☃", "d\u2028e"]
    files = [f"test/a,\n{number}" for number in range(40)]
    evaluation = made_evaluation(names, 40, abstains=True, silent_below=0.92, unlabeled=3, files=files)
    rows = rows_of(evaluation, tmp_path / "all.csv")
    shown = [names[0], "'=SUM(A1)", *names[2:]]
    known, labels = evaluation.predictions, evaluation.data.images.labels.tolist()
    assert known.teacher is not None
    assert evaluation.abstained is not None
    ours, theirs = (logits.double().softmax(dim=1).max(dim=1) for logits in (known.class_logits, known.teacher))
    for index, row in enumerate(rows):
        assert (row["image"], row["index"]) == (files[index], str(index))
        assert row["label"] == ("" if labels[index] < 0 else shown[labels[index]])
        for who, pair in (("", ours), ("teacher_", theirs)):
            assert row[f"{who}prediction"] == shown[int(pair.indices[index])]
            assert float(row[f"{who}confidence"]) == pytest.approx(float(pair.values[index]))
        assert row["abstained"] == ("true" if evaluation.abstained[index] else "false")
    assert len(rows) == 40


def test_what_is_not_known_is_empty(tmp_path: Path) -> None:
    rows = rows_of(made_evaluation("abc", 9, teacher=False), tmp_path / "all.csv")
    assert tuple(rows[0]) == COLUMNS
    assert {row["teacher_prediction"] + row["teacher_confidence"] + row["abstained"] for row in rows} == {""}
    assert [row["image"] for row in rows] == [f"test {index}" for index in range(9)]


def test_an_earlier_table_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    evaluation, path = made_evaluation("abc", 9), tmp_path / "all.csv"
    assert rows_of(evaluation, path) == rows_of(evaluation, path)
    path.write_text("my,own\n")
    with pytest.raises(InputError, match=r"all\.csv: exists and is no table of predictions; name another with --page"):
        write_prediction_table(evaluation, path)
    assert path.read_text() == "my,own\n"
