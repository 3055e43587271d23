"""``preceptor audit`` and ``preceptor crossfit``: lines for people, JSON for scripts, and an audit in training."""

import json

import numpy as np
import pytest
import yaml

from tests.training_helpers import digits


@pytest.fixture
def teacher(tmp_path):
    """Outputs that exchange two classes, and err on some images more."""
    truth = digits().train.labels.numpy()
    answer = np.where(truth == 3, 8, np.where(truth == 8, 3, truth))
    answer[::40] = (answer[::40] + 1) % 10
    probabilities = np.full((len(truth), 10), 0.02)
    probabilities[np.arange(len(truth)), answer] = 0.82
    np.save(tmp_path / "teacher.npy", probabilities)
    return ["--teacher", tmp_path / "teacher.npy", "--teacher-output", "probabilities"]


def test_an_audit_in_words_and_in_json(preceptor, teacher, tmp_path):
    done = preceptor("audit", *teacher, "--teacher-accuracy", "0.78", "--out", tmp_path / "audit")
    assert done.code == 0, done.err
    for words in ("second opinion: a logistic regression on pixels", "who is wrong", "try first: safe", "audit.json"):
        assert words in done.out
    again = preceptor("audit", *teacher, "--teacher-accuracy", "0.78", "--out", tmp_path / "again", "--json")
    content = json.loads(again.out)
    assert content["verdicts"]["sure"]["wrong_teacher"] > 200
    assert content["verdicts"]["sure"]["wrong_label"] == 0
    assert content == json.loads((tmp_path / "again" / "audit.json").read_text())


def test_a_run_keeps_to_the_audit(preceptor, teacher, tmp_path):
    preceptor("audit", *teacher, "--teacher-accuracy", "1", "--out", tmp_path / "audit", "--quiet")
    run = ["--recipe", "ka-ps", "--student", "convnet4", "--epochs", "1", "--device", "cpu", "--force", "augment=false"]
    unaudited = preceptor("distill", *teacher, *run, "--out", tmp_path / "unaudited")
    assert "takes the label's side on all of them" in unaudited.err
    audited = preceptor("distill", *teacher, *run, "--audit", tmp_path / "audit", "--out", tmp_path / "audited")
    assert audited.code == 0, audited.err
    assert "takes the label's side" not in audited.err
    assert yaml.safe_load((tmp_path / "audited/run.yaml").read_text())["config"]["audit"] == str(tmp_path / "audit")
    corrected = [
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0])["corrected"]
        for name in ("unaudited", "audited")
    ]
    assert corrected[0] > 0.1
    assert corrected[1] == 0  # a teacher that is always right is never corrected


def test_an_audit_of_other_labels_does_not_fit(preceptor, teacher, tmp_path):
    preceptor("audit", *teacher, "--out", tmp_path / "audit", "--quiet")
    np.save(tmp_path / "labels.npy", np.roll(digits().train.labels.numpy(), 1))
    options = ["--audit", tmp_path / "audit", "--train-labels", tmp_path / "labels.npy", "--out", tmp_path / "run"]
    done = preceptor("distill", *teacher, "--recipe", "ka-ps", *options)
    assert done.code == 2
    assert "an audit of other images or labels" in done.err


def test_crossfit_writes_a_teacher(preceptor, tmp_path):
    options = ["--folds", "2", "--epochs", "1", "--device", "cpu", "--jobs", "1", "--out", tmp_path / "out"]
    done = preceptor("crossfit", "--model", "convnet4", *options)
    assert done.code == 0, done.err
    assert "each answered by a copy that has not seen it" in done.out
    content = json.loads(preceptor("crossfit", "--model", "convnet4", *options, "--json").out)
    assert content["folds"] == 2
    check = preceptor(
        "doctor", "--teacher", tmp_path / "out/outputs.npy", "--teacher-output", "logits", "--quick", "--json"
    )
    accuracy = next(f for f in json.loads(check.out)["findings"] if f["name"] == "teacher accuracy")
    assert accuracy["numbers"]["accuracy"] == pytest.approx(content["accuracy"], abs=0.05)


def test_crossfit_of_a_classifier_on_features(preceptor, tmp_path):
    np.save(tmp_path / "features.npy", digits().train.images.flatten(1).numpy() / 255)
    name = "sklearn.linear_model.LogisticRegression"
    done = preceptor(
        "crossfit", "--classifier", name, "--features", tmp_path / "features.npy", "--out", tmp_path / "out", "C=0.5"
    )
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "out/crossfit.json").read_text())["settings"]["options"] == {"C": 0.5}


def test_a_classifier_needs_features(preceptor, tmp_path):
    done = preceptor("crossfit", "--classifier", "sklearn.svm.SVC", "--out", tmp_path / "out")
    assert done.code == 2
    assert "--classifier and --features go together" in done.err
