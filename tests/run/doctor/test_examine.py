import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.export import Dim

from preceptor.data import Normalization
from preceptor.export.onnx_file import silence
from preceptor.models import load_student, save_student
from preceptor.run import run
from preceptor.run.cards import student_card
from preceptor.run.doctor import Diagnosis, Finding, ProblemsFound, examine
from tests.run.doctor.conftest import about
from tests.training_helpers import digits, network

SHIFTED = [*range(1, 10), 0]
QUICK = {"shapes", "labels", "teacher accuracy", "label order", "disagreements", "recipe", "teacher logits"}
SLOW = {"duplicates", "determinism", "normalization", "quick student", "correction", "loss scale"}


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
    # Its recipe corrects; and on digits nothing is better than a kernel regression.
    assert set(unwell(diagnosis)) == {"disagreements", "quick student"}
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


def exported(network: nn.Module, normalize: Normalization, folder: Path) -> Path:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime (extra onnx)")
    pytest.importorskip("onnxscript", reason="needs onnxscript (extra onnx)")
    path, example = folder / "teacher.onnx", (normalize(digits().train.images[:2]),)
    with silence():
        torch.onnx.export(network, example, path, dynamo=True, dynamic_shapes=({0: Dim("batch")},), verbose=False)
    return path


def test_an_onnx_teacher_with_another_normalization_than_stated(able_teacher, tmp_path):
    model, card = load_student(able_teacher)
    path = exported(model, card.normalization(), tmp_path)
    stated = {"mean": [0.0], "std": [1 / 255]}
    wrong = about(path, teacher_output="logits", teacher_normalization=stated)
    finding = by_name(examine(wrong))["normalization"]
    assert finding.status == "problem"
    assert "the data set's own" in finding.message
    assert "--teacher-mean 0." in finding.remedy
    assert by_name(examine(about(path, teacher_output="logits")))["normalization"].status == "ok"


def test_an_onnx_teacher_that_ends_in_a_softmax_and_is_said_to_give_logits(able_teacher, tmp_path):
    model, card = load_student(able_teacher)
    path = exported(nn.Sequential(model, nn.Softmax(dim=1)), card.normalization(), tmp_path)
    findings = by_name(examine(about(path, teacher_output="logits"), quick=True))
    assert findings["teacher logits"].status == "warning"
    assert findings["teacher logits"].remedy.startswith("give --teacher-output probabilities, or export it")
    assert unwell(examine(about(path, teacher_output="probabilities", recipe="kd"), quick=True)) == {}


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
    assert "made already" in findings["normalization"].message
    assert findings["views"].status == "ok"
    assert findings["quick student"].status == "ok"


@pytest.mark.parametrize("whole", [1, 100])
def test_probabilities_called_logits_are_noticed(tmp_path, whole):
    rows = whole * np.full((len(digits().train), 10), 0.01) + whole * 0.9 * np.eye(10)[digits().train.labels.numpy()]
    finding = by_name(examine(npy_teacher(tmp_path, rows), quick=True))["teacher logits"]
    assert finding.status == "warning"
    assert f"each row sums to {whole}" in finding.message
    assert "--teacher-output probabilities" in finding.remedy


def test_a_file_does_not_know_the_views_that_a_student_is_shown(tmp_path):
    config = npy_teacher(tmp_path, 5 * np.eye(10)[digits().train.labels.numpy()])
    finding = by_name(examine(config.model_copy(update={"augment": True}), quick=True))["views"]
    assert finding.status == "warning"
    assert "rows.npy: one output an image" in finding.message


def test_each_member_of_an_ensemble_is_looked_at(able_teacher, tmp_path):
    rows = 0.01 + 0.9 * np.eye(10)[digits().train.labels.numpy()]
    np.save(tmp_path / "rows.npy", rows.astype(np.float32))
    teachers = [str(able_teacher), str(tmp_path / "rows.npy")]
    diagnosis = examine(about(teachers, teacher_output="logits"), quick=True)
    first, second = (finding for finding in diagnosis.findings if finding.name == "teacher logits")
    assert (first.status, second.status) == ("ok", "warning")
    assert "all logits of teacher 2" in second.message


def test_with_an_audit_only_what_it_blames_on_the_teacher_is_counted(able_teacher, tmp_path, monkeypatch):
    from preceptor.context import AGREE, VERDICTS
    from preceptor.run import set_up as set_up_module
    from preceptor.run.verdicts import AuditVerdicts

    def verdicts(path, data, samples, teacher):
        judged = torch.full((samples,), AGREE)
        judged[::2] = VERDICTS.index("wrong_label")
        return AuditVerdicts(judged, torch.zeros(samples))

    plain = by_name(examine(about(able_teacher)))["correction"].numbers["affected"]
    monkeypatch.setattr(set_up_module, "read_verdicts", verdicts)
    findings = by_name(examine(about(able_teacher, audit=tmp_path)))
    numbers = findings["disagreements"].numbers
    assert 0 < numbers["corrected"] < numbers["disagreements"] == plain
    assert findings["correction"].numbers["affected"] == numbers["corrected"]
    assert findings["disagreements"].status == "ok"


def test_the_checks_are_named_as_they_are_made(able_teacher):
    checks: list[str] = []
    examine(about(able_teacher, recipe="kd", train_images=200), progress=checks.append)
    assert checks[0].startswith("loading")
    assert {"duplicates", "determinism", "normalization of the teacher: as stated", "loss scale"} <= set(checks)


def test_a_loss_that_is_not_finite_is_a_problem(able_teacher):
    config = about(able_teacher, training={"epochs": 1, "batch_size": 64, "learning_rate": 1e30})
    assert unwell(examine(config))["loss scale"] == "problem"


def test_a_problem_stops_a_run_before_anything_is_written(changed, tmp_path):
    findings: list[Finding] = []
    config = about(changed(order=SHIFTED), cache=tmp_path / "cache", training={"epochs": 1, "batch_size": 64})
    with pytest.raises(ProblemsFound, match=r"another order than the labels: .*\(train all the same with --force\)"):
        run(config, tmp_path / "run", on_finding=findings.append)
    assert "label order" in [finding.name for finding in findings]
    assert [path.name for path in tmp_path.iterdir()] == ["changed"]


def test_the_error_comes_whole_out_of_another_process():
    error = ProblemsFound(Diagnosis((Finding("labels", "problem", "none", "add some"),), quick=True))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.diagnosis) == (str(error), error.diagnosis)
    assert str(error) == "labels: none: add some (train all the same with --force)"


def test_a_run_that_is_forced_keeps_what_was_noticed(changed, tmp_path):
    findings: list[Finding] = []
    config = about(changed(order=SHIFTED), training={"epochs": 1, "batch_size": 64})
    run(config, tmp_path / "run", on_finding=findings.append, force=True)
    record = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["record"]
    assert record["forced"] is True
    assert [finding["name"] for finding in record["doctor"]] == [finding.name for finding in findings]


def test_a_run_in_order_keeps_quiet(able_teacher, tmp_path):
    findings: list[Finding] = []
    config = about(able_teacher, training={"epochs": 1, "batch_size": 64}, recipe="kd")
    run(config, tmp_path / "run", on_finding=findings.append)
    assert findings == []
    content = yaml.safe_load(Path(tmp_path / "run" / "run.yaml").read_text())
    assert content["record"]["doctor"] == []
    assert content["record"]["forced"] is False
