import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.export import Dim

from preceptor.export.onnx_file import silence
from preceptor.models import load_student, save_student
from preceptor.run import run
from preceptor.run.cards import student_card
from preceptor.run.doctor import Diagnosis, Finding, examine
from tests.run.doctor.conftest import about
from tests.training_helpers import digits, network

SHIFTED = [*range(1, 10), 0]
QUICK = {"shapes", "labels", "teacher accuracy", "label order", "disagreements", "teacher logits"}
SLOW = {"duplicates", "determinism", "normalization", "correction", "loss scale"}


def by_name(diagnosis: Diagnosis) -> dict[str, Finding]:
    findings = {finding.name: finding for finding in diagnosis.findings}
    assert len(findings) == len(diagnosis.findings)
    json.dumps(diagnosis.plain(), allow_nan=False)
    return findings


def unwell(diagnosis: Diagnosis) -> dict[str, str]:
    return {finding.name: finding.status for finding in diagnosis.worth_a_look}


def test_a_run_that_is_in_order(able_teacher):
    diagnosis = examine(about(able_teacher))
    findings = by_name(diagnosis)
    assert set(findings) == QUICK | SLOW
    assert set(unwell(diagnosis)) == {"disagreements"}  # its recipe corrects
    assert findings["teacher accuracy"].numbers["accuracy"] > 0.8
    wrong = round(
        findings["teacher accuracy"].numbers["images"] * (1 - findings["teacher accuracy"].numbers["accuracy"])
    )
    assert findings["correction"].numbers["affected"] == wrong


def test_the_quick_form_looks_at_less(able_teacher):
    diagnosis = examine(about(able_teacher), quick=True)
    assert set(by_name(diagnosis)) == QUICK
    assert diagnosis.quick


def test_without_a_teacher(tmp_path):
    diagnosis = examine(about(None, train_images=200))
    assert set(by_name(diagnosis)) == {"shapes", "labels", "duplicates", "loss scale"}
    assert unwell(diagnosis) == {}


@pytest.mark.parametrize("quick", [True, False])
def test_a_teacher_whose_classes_are_in_another_order(changed, quick):
    diagnosis = examine(about(changed(order=SHIFTED)), quick=quick)
    finding = by_name(diagnosis)["label order"]
    assert finding.status == "problem"
    assert finding.numbers["best_accuracy"] > 0.8 > 0.2 > finding.numbers["accuracy"]
    assert {(entry["class"], entry["output"]) for entry in finding.numbers["moved"]} >= {("0", 9), ("1", 0)}
    assert unwell(diagnosis).get("normalization") is None


def test_a_teacher_with_another_normalization_on_its_card(changed):
    diagnosis = examine(about(changed(mean=[0.0], std=[1 / 255])))
    finding = by_name(diagnosis)["normalization"]
    assert finding.status == "problem"
    assert "the data set's own" in finding.message
    assert finding.numbers["others"]["the data set's own"] > finding.numbers["stated"] + 0.05


def test_an_onnx_teacher_with_another_normalization_than_stated(able_teacher, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs onnxruntime (extra onnx)")
    pytest.importorskip("onnxscript", reason="needs onnxscript (extra onnx)")
    model, card = load_student(able_teacher)
    path, own = tmp_path / "teacher.onnx", card.normalization()
    example = (own(digits().train.images[:2]),)
    with silence():
        torch.onnx.export(model, example, path, dynamo=True, dynamic_shapes=({0: Dim("batch")},), verbose=False)
    stated = {"mean": [0.0], "std": [1 / 255]}
    wrong = about(path, teacher_output="logits", teacher_normalization=stated)
    finding = by_name(examine(wrong))["normalization"]
    assert finding.status == "problem"
    assert "the data set's own" in finding.message
    assert by_name(examine(about(path, teacher_output="logits")))["normalization"].status == "ok"


def test_a_teacher_that_knows_nothing(tmp_path):
    save_student(tmp_path / "new", network(5), student_card("convnet8", "digits", digits()))
    findings = unwell(examine(about(tmp_path / "new"), quick=True))
    assert findings["teacher accuracy"] == "problem"
    assert "label order" not in findings


def test_what_would_stop_the_run_is_a_finding(able_teacher, tmp_path):
    (missing,) = examine(about(tmp_path / "nowhere")).findings
    assert (missing.name, missing.status) == ("set-up", "problem")
    assert "nowhere: no such folder" in missing.message
    unscored = examine(about(able_teacher, recipe="lr-ds", validation=0))
    assert by_name(unscored)["set-up"].status == "problem"
    assert "loss scale" not in by_name(unscored)


def test_a_selection_limits_what_a_correction_changes(able_teacher):
    findings = by_name(examine(about(able_teacher, recipe="lr-ds")))
    selection = findings["selection"].numbers
    assert selection["share"] == pytest.approx(0.7, abs=0.01)
    assert findings["correction"].numbers["affected"] <= selection["selected"]


def test_no_cache_is_made_for_it(able_teacher, tmp_path):
    examine(about(able_teacher, cache=tmp_path / "cache"))
    assert list(tmp_path.iterdir()) == []


def npy_teacher(folder: Path, rows: np.ndarray, **settings):
    np.save(folder / "rows.npy", rows.astype(np.float32))
    return about(folder / "rows.npy", teacher_output="logits", augment=False, **settings)


def test_a_file_of_logits_is_a_teacher_too(tmp_path):
    findings = by_name(examine(npy_teacher(tmp_path, 5 * np.eye(10)[digits().train.labels.numpy()])))
    assert findings["determinism"].status == "ok"
    assert findings["correction"].status == "warning"
    assert "normalization" not in findings


@pytest.mark.parametrize("whole", [1, 100])
def test_probabilities_called_logits_are_noticed(tmp_path, whole):
    rows = whole * np.full((len(digits().train), 10), 0.01) + whole * 0.9 * np.eye(10)[digits().train.labels.numpy()]
    finding = by_name(examine(npy_teacher(tmp_path, rows), quick=True))["teacher logits"]
    assert finding.status == "warning"
    assert f"each row sums to {whole}" in finding.message
    assert "--teacher-output probabilities" in finding.remedy


def test_a_loss_that_is_not_finite_is_a_problem(able_teacher):
    config = about(able_teacher, training={"epochs": 1, "batch_size": 64, "learning_rate": 1e30})
    assert unwell(examine(config))["loss scale"] == "problem"


def test_a_run_tells_what_it_noticed_and_goes_on(changed, tmp_path):
    findings: list[Finding] = []
    config = about(changed(order=SHIFTED), training={"epochs": 1, "batch_size": 64})
    run(config, tmp_path / "run", on_finding=findings.append)
    assert "label order" in [finding.name for finding in findings]
    kept = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["record"]["doctor"]
    assert [finding["name"] for finding in kept] == [finding.name for finding in findings]


def test_a_run_in_order_keeps_quiet(able_teacher, tmp_path):
    findings: list[Finding] = []
    config = about(able_teacher, training={"epochs": 1, "batch_size": 64}, recipe="kd")
    run(config, tmp_path / "run", on_finding=findings.append)
    assert findings == []
    content = yaml.safe_load(Path(tmp_path / "run" / "run.yaml").read_text())
    assert content["record"]["doctor"] == []
