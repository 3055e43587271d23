"""Cross-fitting: every output comes from a copy that has not seen its image, and a stop changes nothing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from preceptor.compare.crossfit import crossfit, crossfit_classifier, crossfit_features
from preceptor.data import folds
from preceptor.errors import InputError
from preceptor.models import load_student
from preceptor.run import RunConfig, resolve, run
from tests.training_helpers import digits

FOLDS = 3


def config(**changes: object) -> RunConfig:
    settings = {"student": "convnet8", "recipe": "none", "training": {"epochs": 2}, "folds": FOLDS, "device": "cpu"}
    return resolve({**settings, **changes})


@pytest.fixture(scope="module")
def crossfitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crossfit") / "out"
    crossfit(config(), folder, epochs_kept=2, jobs=1)
    return folder


def test_an_image_is_answered_by_the_copy_that_has_not_seen_it(crossfitted: Path) -> None:
    data, outputs = digits(), np.load(crossfitted / "outputs.npy")
    assert outputs.shape == (len(data.train), 10)
    seen = np.zeros(len(data.train), dtype=int)
    parts = folds(data.train.labels, FOLDS, 0, images=data.train.images)
    for number, (outside, inside) in enumerate(parts, start=1):
        network, card = load_student(crossfitted / f"fold-{number}")
        trained = json.loads((crossfitted / f"fold-{number}/metrics.jsonl").read_text().splitlines()[-1])
        assert trained["training_images"] == len(outside)
        with torch.no_grad():
            logits = network(card.normalization()(data.train.images[inside]))
        assert np.allclose(outputs[inside], logits.numpy(), atol=1e-4)
        seen[inside] += 1
    assert (seen == 1).all()


def test_its_provenance_and_accuracy_are_written(crossfitted: Path) -> None:
    record = json.loads((crossfitted / "crossfit.json").read_text())
    outputs, labels = np.load(crossfitted / "outputs.npy"), digits().train.labels.numpy()
    assert record["accuracy"] == pytest.approx((outputs.argmax(axis=1) == labels).mean())
    assert record["settings"]["folds"] == FOLDS
    assert len(record["accuracy_by_fold"]) == FOLDS


def test_kept_epochs_hold_probabilities_of_the_copies_that_learned_an_image(crossfitted: Path) -> None:
    epochs = np.load(crossfitted / "epochs.npy")
    assert epochs.shape == (2, len(digits().train), 10)
    assert np.allclose(epochs.astype(np.float64).sum(axis=2), 1, atol=1e-2)
    labels = digits().train.labels.numpy()
    given = epochs[:, np.arange(len(labels)), labels].mean(axis=1)
    assert given[1] > given[0]  # it learns


def test_after_a_stop_it_goes_on_to_the_same_bytes(crossfitted: Path, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    shutil.copytree(crossfitted, stopped)
    shutil.rmtree(stopped / "fold-2")  # not begun
    (stopped / "fold-3/student.safetensors").unlink()  # begun, and killed before its end
    lines = (stopped / "fold-3/metrics.jsonl").read_text().splitlines(keepends=True)
    (stopped / "fold-3/metrics.jsonl").write_text("".join(lines[:-1]))
    before = (stopped / "fold-1/student.safetensors").stat().st_mtime_ns
    record = json.loads((stopped / "crossfit.json").read_text())
    unfinished = {key: record[key] for key in ("what", "settings", "data")}
    (stopped / "crossfit.json").write_text(json.dumps(unfinished))
    for name in ("outputs.npy", "epochs.npy"):
        (stopped / name).unlink()
    crossfit(config(), stopped, epochs_kept=2, jobs=1)
    for name in ("outputs.npy", "epochs.npy"):
        assert (stopped / name).read_bytes() == (crossfitted / name).read_bytes()
    assert (stopped / "fold-1/student.safetensors").stat().st_mtime_ns == before


def test_a_folder_of_something_else_is_refused(crossfitted: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="other settings or data"):
        crossfit(config(seed=1), crossfitted, epochs_kept=2)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "crossfit.json").write_text("[]")
    with pytest.raises(InputError, match="other settings or data"):
        crossfit(config(), tmp_path / "damaged")
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty, and no cross-fitting"):
        crossfit(config(), tmp_path)
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_a_classifier_gives_what_scikit_learn_gives_on_the_same_folds() -> None:
    data = digits().train
    features, labels = data.images.flatten(1).double() / 255, data.labels
    number = torch.zeros(len(labels), dtype=torch.long)
    parts = folds(labels, FOLDS, 0)
    for one, (_, inside) in enumerate(parts):
        number[inside] = one
    rows = crossfit_classifier(lambda: LogisticRegression(max_iter=50), features, labels, 10, parts)
    expected = cross_val_predict(
        LogisticRegression(max_iter=50), features, labels, cv=PredefinedSplit(number), method="predict_proba"
    )
    assert np.allclose(rows, expected)


def test_features_from_a_file(tmp_path: Path) -> None:
    data = digits().train
    np.save(tmp_path / "features.npy", data.images.numpy())
    name, options = "sklearn.naive_bayes.GaussianNB", {"var_smoothing": 0.1}
    result = crossfit_features(config(), tmp_path / "out", name, options, tmp_path / "features.npy")
    logits = np.load(result.outputs)
    assert np.isfinite(logits).all()
    assert result.accuracy == pytest.approx((logits.argmax(axis=1) == data.labels.numpy()).mean())
    assert result.accuracy > 0.5


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("os.system", {}, "expected one of scikit-learn"),
        ("sklearn.svm.Nothing", {}, "no attribute 'Nothing'"),
        ("sklearn.svm.LinearSVC", {}, "gives no probabilities"),
        ("sklearn.naive_bayes.GaussianNB", {"depth": 3}, "unexpected keyword argument 'depth'"),
    ],
)
def test_a_classifier_that_will_not_do_is_refused(
    name: str, options: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        crossfit_features(config(), tmp_path / "out", name, options, tmp_path / "features.npy")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.zeros((7, 2)), "rows, one a training image"),
        (np.array(["a"]), "expected one array of numbers"),
        (np.full((1348, 2), np.nan), "not finite"),
    ],
)
def test_features_that_do_not_fit_are_refused(table: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "features.npy", table)
    with pytest.raises(InputError, match=message):
        crossfit_features(config(), tmp_path / "out", "sklearn.naive_bayes.GaussianNB", {}, tmp_path / "features.npy")


@pytest.mark.parametrize("changes", [{"folds": 3}, {"folds": None, "fold": 1}])
def test_a_run_of_a_fold_needs_both_numbers(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give both, or leave both out"):
        run(config(**changes), tmp_path / "out")


def test_a_file_that_is_no_array_and_features_of_one_class_are_refused(tmp_path: Path) -> None:
    (tmp_path / "features.npy").write_text("no array")
    with pytest.raises(InputError, match="features"):
        crossfit_features(config(), tmp_path / "out", "sklearn.naive_bayes.GaussianNB", {}, tmp_path / "features.npy")
    labels = torch.zeros(20, dtype=torch.long)
    with pytest.raises(InputError, match="cannot be fitted on these features"):
        crossfit_classifier(LogisticRegression, torch.rand(20, 2), labels, 3, folds(labels, FOLDS, 0))


def test_features_of_one_group_are_answered_by_a_copy_that_has_not_seen_it(tmp_path: Path, monkeypatch) -> None:
    """Each group has features and a class of its own, so that who knows it is told by the answers."""
    group = torch.arange(40) // 4
    labels = group % 2
    data = digits()
    train = replace(data.train, images=data.train.images[:40], labels=labels, groups=group)
    monkeypatch.setattr("preceptor.compare.crossfit.training_data", lambda config: replace(data, train=train))
    np.save(tmp_path / "features.npy", torch.nn.functional.one_hot(group).numpy())
    name, options = "sklearn.neighbors.KNeighborsClassifier", {"n_neighbors": 1}
    result = crossfit_features(config(), tmp_path / "out", name, options, tmp_path / "features.npy")
    assert result.accuracy < 0.8
