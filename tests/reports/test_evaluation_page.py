"""The page of an evaluation, as HTML: what it says, and that it is safe."""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score

from preceptor.errors import InputError
from preceptor.reports.class_errors import error_share
from preceptor.reports.evaluation_charts import MOST_IN_MATRIX, confusions_of, live_learning
from preceptor.reports.evaluation_page import SHOWN_IMAGES, evaluation_page, unsure_first, write_evaluation_page
from preceptor.run.evaluation import Evaluation
from preceptor.run.history import EpochLine
from tests.reports.evaluations import made_evaluation
from tests.reports.page import Page

HOSTILE = ("<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", '"];alert(1)//', "'{{7*7}}")


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return made_evaluation("0123456789", unlabeled=20)


@pytest.fixture(scope="module")
def html(evaluation: Evaluation) -> str:
    return evaluation_page(evaluation)


def text_of(html: str) -> str:
    """What a reader sees, with a space between two elements."""
    pieces = Page(html).pieces
    return " ".join(" ".join(data for tag, data in pieces if tag not in ("style", "script")).split())


def specs_of(html: str) -> dict[str, Any]:
    """The specification of each chart, by the beginning of what it says."""
    texts = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    specs = [json.loads(text, parse_constant=pytest.fail) for text in texts]
    return {re.split("[ :;,]", one["description"])[0]: one for one in specs}


def answers(evaluation: Evaluation) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Labels, and the classes of student and teacher, of the labeled images."""
    labels, known = evaluation.data.images.labels.numpy(), evaluation.predictions
    assert known.teacher is not None
    theirs = known.teacher.numpy().argmax(axis=1)
    return labels[labels >= 0], known.class_logits.numpy().argmax(axis=1)[labels >= 0], theirs[labels >= 0]


def test_it_begins_with_what_a_reader_wants_first(evaluation: Evaluation, html: str) -> None:
    labels, ours, theirs = answers(evaluation)
    right, teacher, same = (
        f"{100 * accuracy_score(*pair):.1f} %" for pair in ((labels, ours), (labels, theirs), (theirs, ours))
    )
    text = text_of(html)
    assert text.index(f"Right on {right} (teacher {teacher}, same answer {same})") < 200
    assert "Measured on 380 test images; 20 without a label were left out. 95 % intervals: right" in text
    headings = [data for tag, data in Page(html).pieces if tag == "h2"]
    firsts = "Student Errors What Images Images How Size Whether What How"
    assert " ".join(one.split()[0] for one in headings) == firsts


def test_student_and_teacher_by_who_is_right(evaluation: Evaluation, html: str) -> None:
    labels, ours, theirs = answers(evaluation)
    counts = {(right, taught): 0 for right in (True, False) for taught in (True, False)}
    copied = 0
    for label, own, other in zip(labels, ours, theirs, strict=True):
        counts[bool(own == label), bool(other == label)] += 1
        copied += bool(own == other != label)
    cells = {key: f"{count} ({100 * count / 380:.1f} %)" for key, count in counts.items()}
    text = text_of(html)
    assert f"teacher right {cells[True, True]} {cells[False, True]}" in text
    assert f"teacher wrong {cells[True, False]} {cells[False, False]}" in text
    mistakes = counts[False, True] + counts[False, False]
    assert f"mistakes copied {copied} ({100 * copied / mistakes:.0f} %) of the student's {mistakes} mistakes" in text
    own, right = mistakes - copied, counts[False, True]
    assert f"mistakes of its own {own} (" in text
    assert f"right on {right} of them, and wrong with another class on {own - right}" in text
    assert f"mistakes mended {counts[True, False]} (" in text


def test_errors_by_class_and_by_pair(evaluation: Evaluation, html: str) -> None:
    labels, ours, _ = answers(evaluation)
    recall = recall_score(labels, ours, average=None)
    rows = {name: text_of(row) for name, row in re.findall(r"<th[^>]*>(\d)</th>(.*?)</tr>", html, re.DOTALL)}
    for name, share in enumerate(recall):
        assert f"38 {100 * share:.1f} %" in rows[str(name)]
    worst = sorted(range(10), key=lambda name: recall[name])
    listing = ", ".join(f"{name} {error_share(1 - recall[name])}" for name in worst)
    assert f"error rate by class: {listing}" in html
    matrix = np.zeros((10, 10), int)
    for cell in specs_of(html)["Confusion"]["data"]["values"]:
        matrix[cell["place"], cell["taken"]] = cell["images"]
    np.testing.assert_array_equal(matrix, confusion_matrix(labels, ours))


def test_of_many_classes_some_are_left_out_and_it_says_so() -> None:
    names = [f"class_{number}_" + "long" * 20 for number in range(100)]
    evaluation = made_evaluation(names, 900)
    html = evaluation_page(evaluation)
    labels, ours, _ = answers(evaluation)
    shown = confusions_of(torch.tensor(labels), torch.tensor(ours), names)
    assert len(shown.names) == MOST_IN_MATRIX
    all_errors = confusion_matrix(labels, ours, labels=range(100))
    np.fill_diagonal(all_errors, 0)
    involved = all_errors.sum(axis=0) + all_errors.sum(axis=1)
    assert min(involved[names.index(name)] for name in shown.names) >= np.sort(involved)[-MOST_IN_MATRIX]
    inside = np.ix_(*[[names.index(name) for name in shown.names]] * 2)
    assert shown.hidden_errors == all_errors.sum() - all_errors[inside].sum()
    assert f"Of 100 classes the 20 with the most errors are shown; {shown.hidden_errors} errors" in text_of(html)
    assert "The worst 30 of 100 classes" in text_of(html)
    assert len(html) < 3_000_000


def test_two_classes_are_enough() -> None:
    html = evaluation_page(made_evaluation("ab", 60))
    assert "rank correlation of the logits –" in text_of(html)
    assert "with another class" not in text_of(html)


def test_without_a_mistake_there_is_nothing_to_show_and_the_interval_is_honest() -> None:
    text = text_of(evaluation_page(made_evaluation("ab", 50, right=2, teacher=False)))
    assert "right 92.9 to 100.0 %" in text
    assert "No image is taken for another class." in text
    assert "error when 100 % are answered 0.00 % (0.00 to 7.11)" in text
    assert "0.00 to 0.00" not in text


def test_what_is_not_known_is_named() -> None:
    text = text_of(evaluation_page(made_evaluation("abc", teacher=False, epochs=0)))
    assert "It was not compared with a teacher: the run names no teacher." in text
    assert "has no record of the epochs (metrics.jsonl), so there is no curve." in text
    assert "No temperature was fitted" in text
    onnx = dataclasses.replace(made_evaluation("abc", 60), teacher_costs={})
    assert "Its teacher's size is not known: it is not a run folder." in text_of(evaluation_page(onnx))


def test_size_is_told_measure_by_measure(html: str) -> None:
    text = text_of(html)
    assert "0.2 % of its teacher's parameters and takes 1.33 times its multiply-adds" in text
    assert "student 100 2,000 900 9,000 by 256" in text
    assert "teacher runs/teacher 50,000 1,500 40 80 by 16" in text


def test_the_learning_curve_is_that_of_the_run() -> None:
    many = [EpochLine(n, {"head": 1 / n, "total": 1 / n}, n / 5_000, None) for n in range(1, 4_002)]
    many[7] = dataclasses.replace(many[7], losses={"head": float("inf"), "total": float("nan")})
    (accuracy, lines), (losses, terms) = live_learning(many)
    assert ([line.name for line in lines], [line.name for line in terms]) == (
        ["training images, as augmented"],
        ["total loss"],
    )
    values = accuracy.spec["data"]["values"]
    assert (len(values), values[-1]["epoch"], values[-1]["value"]) == (1_334, 4_001, 4_001 / 5_000)
    assert all(value["value"] == 1 / value["epoch"] for value in losses.spec["data"]["values"])
    (_, both), (_, three) = live_learning([EpochLine(1, {"ce": 1.0, "kl": 2.0, "total": 3.0}, 0.5, 0.4)])
    assert [line.name for line in (*both, *three)] == ["held out", lines[0].name, "total loss", "ce", "kl"]


def test_images_are_named_by_split_and_index_or_by_file(evaluation: Evaluation, html: str) -> None:
    images = Page(html).all("img")
    wrong = evaluation.report.confidently_wrong[:SHOWN_IMAGES]
    for index, image in zip(wrong, images, strict=False):
        label, taken = int(evaluation.data.images.labels[index]), int(evaluation.predictions.prediction[index])
        assert image["alt"] == f"test {index}, an image of {label} that the student takes for {taken}"
        assert label != taken
    assert len(images) == len(wrong) + SHOWN_IMAGES
    files = [f"test/0/{number}.png" for number in range(400)]
    named = made_evaluation("0123456789", files=files)
    text = text_of(evaluation_page(named))
    assert all(files[index] in text for index in named.report.confidently_wrong[:SHOWN_IMAGES])


def test_of_a_decision_only_what_it_abstains_on_is_shown() -> None:
    evaluation = made_evaluation("abc", abstains=True, silent_below=0.97)
    assert evaluation.abstained is not None
    shown = unsure_first(evaluation)
    assert shown == [index for index in evaluation.report.least_sure if evaluation.abstained[index]][:SHOWN_IMAGES]
    assert 0 < int(evaluation.abstained.sum()) < 400
    assert "Images it abstains on, the least sure first" in text_of(evaluation_page(evaluation))


def test_one_score_is_shown_and_the_rest_is_folded(evaluation: Evaluation, html: str) -> None:
    folded = text_of(html).partition("In numbers, and by every score")[2]
    for one in evaluation.report.selective:
        assert one.score.replace("_", " ") in folded
        assert f"{100 * (one.aurc.value or 0):.2f} %" in folded
    curve = specs_of(html)["Risk"]["data"]["values"]
    main = evaluation.report.selective[0].curve
    assert [value["risk"] for value in curve] == main.risk


def test_names_from_data_stay_text() -> None:
    names = [*HOSTILE, "e"]
    evaluation = made_evaluation(names, files=[f"test/{HOSTILE[number % 4]}" for number in range(400)])
    data = dataclasses.replace(evaluation.data, spec=f"folder:{HOSTILE[0]}", folder=Path(HOSTILE[1]))
    html = evaluation_page(dataclasses.replace(evaluation, data=data, teacher=HOSTILE[0], warnings=("it diverged",)))
    page = Page(html)
    assert page.left_open == []
    assert "Warning: it diverged." in page.text
    own = [attributes for attributes in page.all("script") if attributes.get("type") != "application/json"]
    assert len(own) == 4
    assert not [one for one in page.all("img") if "onerror" in one or not one["src"].startswith("data:")]
    assert "49" not in re.findall(r"'\S*'", page.text)
    for name in HOSTILE:
        assert name.replace(" ", "") in page.text.replace(" ", "")


def test_it_asks_for_nothing_from_elsewhere(html: str) -> None:
    page = Page(html)
    addresses = page.values("src") + page.values("href")
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "default-src 'none'" in html
    assert all(len(one["data"]["values"]) > 0 for one in specs_of(html).values())


def test_it_is_written_whole_in_place_of_an_earlier_page_alone(
    evaluation: Evaluation, html: str, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    for _ in range(2):
        write_evaluation_page(evaluation, page)
    assert page.read_text() == html
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    for name, content in (("notes.html", "<p>mine</p>"), ("empty.html", "")):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=f"{name}: exists and is no evaluation page"):
            write_evaluation_page(evaluation, tmp_path / name)
        assert (tmp_path / name).read_text() == content
    with pytest.raises(InputError, match="exists and is no evaluation page"):
        write_evaluation_page(evaluation, tmp_path)
