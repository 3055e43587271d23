import dataclasses
import re
from pathlib import Path

import pytest

from preceptor.data import ImageSet
from preceptor.errors import InputError
from preceptor.models import CalibrationSet, Decision
from preceptor.reports import evaluation_page, write_evaluation_page
from preceptor.reports.charts import error_share
from preceptor.reports.evaluation_charts import drawn_scores, reliability_chart, risk_coverage_chart
from preceptor.reports.evaluation_page import unsure_first
from preceptor.run import resolve, run
from preceptor.run.evaluation import Evaluation, EvaluationData, evaluate_run, load_evaluation_data
from tests.reports.page import Page
from tests.training_helpers import SMALL_RUN

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> EvaluationData:
    folder = tmp_path_factory.mktemp("runs") / "student"
    recipe = {"terms": {"head": {"label_loss": {"name": "gambler", "payoff": 2.2}}}}
    run(resolve({**SMALL_RUN, "student": "convnet4", "recipe": recipe}), folder)
    return load_evaluation_data(folder)


@pytest.fixture(scope="module")
def evaluation(shown: EvaluationData) -> Evaluation:
    return evaluate_run(shown, resamples=20)


@pytest.fixture(scope="module")
def page(evaluation: Evaluation) -> Page:
    return Page(evaluation_page(evaluation))


def test_it_says_what_was_found(evaluation: Evaluation, page: Page) -> None:
    accuracy = f"{100 * (evaluation.report.accuracy.value or 0):.2f} %"
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert f"Right on {accuracy}" in text
    for one in evaluation.report.selective:
        assert one.score.replace("_", " ") in text
        assert f"{100 * (one.aurc.value or 0):.2f} %" in text
    for name in evaluation.data.card.class_names:
        assert name in text
    assert "It was not compared with a teacher: the run names no teacher." in text
    assert "temperature was fitted on 135 training images" in text
    assert page.left_open == []


def test_it_asks_for_nothing_from_elsewhere(page: Page) -> None:
    addresses = page.values("src") + page.values("href")
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert page.all("script") == []


def test_the_galleries_show_errors_and_what_is_least_sure(evaluation: Evaluation, page: Page) -> None:
    images = page.all("img")
    assert len(images) == 24 + 24
    wrong = [image["alt"] for image in images[:24]]
    names = evaluation.data.card.class_names
    for index, alt in zip(evaluation.report.confidently_wrong, wrong, strict=False):
        taken = int(evaluation.outputs[index, :10].argmax())
        truth = int(evaluation.data.images.labels[index])
        assert alt == f"test {index}, an image of {names[truth]} that the student takes for {names[taken]}"
        assert truth != taken


def test_of_a_decision_only_what_it_abstains_on_is_shown(shown: EvaluationData) -> None:
    on = CalibrationSet(data="digits", part="test", samples=9, fingerprint="0")
    guarantee = {"max_risk": 0.1, "confidence": 0.9, "coverage": 1.0, "risk": 0.0, "calibrated_on": on}
    report = evaluate_run(shown, resamples=2).report
    logits = shown.outputs(shown.images.images)[:, :10].double()
    surest = float(logits.softmax(dim=1).amax(dim=1)[report.least_sure[4]])
    decision = Decision(score="softmax_response", threshold=surest, **guarantee)
    decided = evaluate_run(
        dataclasses.replace(shown, card=shown.card.model_copy(update={"decision": decision})), resamples=2
    )
    assert unsure_first(decided) == report.least_sure[:4]
    text = Page(evaluation_page(decided)).text
    assert "Images it abstains on, the least sure first" in text
    assert "By its own threshold it answers 445 images" in text


def test_names_from_data_are_escaped(shown: EvaluationData) -> None:
    names = (HOSTILE, *shown.card.class_names[1:])
    hostile = dataclasses.replace(
        shown,
        card=shown.card.model_copy(update={"class_names": names}),
        spec=f"folder:{HOSTILE}",
        folder=shown.folder / HOSTILE,
    )
    html = evaluation_page(evaluate_run(hostile, resamples=2))
    assert HOSTILE not in html
    assert HOSTILE in Page(html).text.replace(" ", "")
    assert Page(html).all("script") == []


def test_images_without_a_label_and_of_many_channels(shown: EvaluationData, evaluation: Evaluation) -> None:
    labels = shown.images.labels.clone()
    labels[:50] = -1
    some = dataclasses.replace(shown, images=ImageSet(shown.images.images, labels))
    text = Page(evaluation_page(evaluate_run(some, resamples=2))).text
    assert "50 without a label were left out" in text


def test_the_main_score_and_the_heads_own_are_always_drawn(evaluation: Evaluation) -> None:
    lines = [line.name for line, _ in drawn_scores(evaluation.report)]
    assert lines[:2] == ["softmax response", "reservation"]
    assert len(lines) == 3
    best = min(
        (one for one in evaluation.report.selective if one.score.replace("_", " ") not in lines[:2]),
        key=lambda one: one.aurc.value or 0,
    )
    assert lines[2] == best.score.replace("_", " ")


def test_curves_and_marks_are_those_of_the_report(evaluation: Evaluation) -> None:
    report = evaluation.report
    svg = risk_coverage_chart(report).wide
    assert svg.count("stroke-dasharray") >= 2
    for share in (one.aurc.value for _, one in drawn_scores(report)):
        assert f"{100 * (share or 0):.2f}" in svg
    before = report.calibration.reliability
    marks = len(re.findall(r"<use ", reliability_chart(before, None).wide))
    both = len(re.findall(r"<use ", reliability_chart(before, before).wide))
    filled = sum(size > 0 for size in before.samples)
    assert both - marks == filled


def test_errors_by_class_the_worst_first(evaluation: Evaluation) -> None:
    errors = {part.name: 1 - (part.accuracy.value or 0) for part in evaluation.report.per_class}
    worst_first = sorted(errors, key=lambda name: -errors[name])
    listing = ", ".join(f"{name} {error_share(errors[name])}" for name in worst_first)
    assert f"error rate by class: {listing}." in evaluation_page(evaluation)


def test_it_is_written_whole(evaluation: Evaluation, tmp_path: Path) -> None:
    write_evaluation_page(evaluation, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == evaluation_page(evaluation)
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_an_earlier_page_is_replaced_and_nothing_else_is(evaluation: Evaluation, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_evaluation_page(evaluation, page)
    write_evaluation_page(evaluation, page)
    for name, content in (("notes.html", "<p>mine</p>"), ("empty.html", "")):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=f"{name}: exists and is no evaluation page"):
            write_evaluation_page(evaluation, tmp_path / name)
        assert (tmp_path / name).read_text() == content
    with pytest.raises(InputError, match="exists and is no evaluation page"):
        write_evaluation_page(evaluation, tmp_path)


def test_warnings_are_on_the_page(evaluation: Evaluation) -> None:
    warned = dataclasses.replace(evaluation, warnings=("it diverged",))
    assert "Warning: it diverged." in Page(evaluation_page(warned)).text
