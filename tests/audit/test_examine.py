"""The whole audit, of a teacher whose faults and of labels whose faults are known."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from preceptor.audit import TeacherAudit, advise, audit, plain, write_audit
from preceptor.context import VERDICTS
from preceptor.errors import InputError
from preceptor.run import RunConfig, resolve, run
from preceptor.run.verdicts import read_verdicts
from tests.training_helpers import digits


@dataclass
class Case:
    config: RunConfig
    probabilities: np.ndarray
    labels: np.ndarray
    truth: np.ndarray


def case(folder: Path, *, exchanged: bool, noise: float) -> Case:
    """A teacher that learned from the test half of the digits, in a file, and labels to be judged."""
    data, random = digits(), np.random.default_rng(0)
    assert data.test is not None
    teacher = LogisticRegression(max_iter=300).fit(data.test.images.flatten(1) / 255, data.test.labels)
    probabilities = teacher.predict_proba(data.train.images.flatten(1) / 255)
    if exchanged:
        probabilities = probabilities[:, [0, 1, 2, 8, 4, 5, 6, 7, 3, 9]]
    truth = data.train.labels.numpy()
    hit = random.random(len(truth)) < noise
    labels = np.where(hit, (truth + random.integers(1, 10, len(truth))) % 10, truth)
    folder.mkdir(exist_ok=True)
    np.save(folder / "teacher.npy", probabilities)
    np.save(folder / "labels.npy", labels)
    settings = {
        "teacher": str(folder / "teacher.npy"),
        "teacher_output": "probabilities",
        "train_labels": str(folder / "labels.npy"),
        "recipe": "kd",
        "device": "cpu",
    }
    return Case(resolve(settings), probabilities, labels, truth)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, TeacherAudit]:
    """A good teacher and noisy labels."""
    one = case(tmp_path_factory.mktemp("noisy"), exchanged=False, noise=0.15)
    accuracy = float((one.probabilities.argmax(axis=1) == one.truth).mean())
    return one, audit(one.config, teacher_accuracy=accuracy)


@pytest.fixture(scope="module")
def exchanged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, TeacherAudit]:
    """Two classes in each other's place, right labels, and nothing known from outside."""
    one = case(tmp_path_factory.mktemp("exchanged"), exchanged=True, noise=0)
    return one, audit(one.config)


def test_wrong_labels_are_found_and_nobody_is_told_to_correct_the_teacher(noisy: tuple[Case, TeacherAudit]) -> None:
    one, found = noisy
    index, verdict = found.verdicts.index.numpy(), found.verdicts.at("likely").numpy()
    said = index[verdict == VERDICTS.index("wrong_label")]
    wrong = one.labels != one.truth
    assert wrong[said].mean() > 0.95
    assert len(said) > 0.9 * wrong.sum()
    assert found.label_error[0] == found.label_error[1] == pytest.approx(wrong.mean(), abs=0.03)
    advice = advise(found)
    assert (advice.situation, advice.recipe) == ("wrong labels", "safe")
    assert "label is the likelier error" in advice.reason


def test_exchanged_classes_are_the_teachers_fault_without_being_told(exchanged: tuple[Case, TeacherAudit]) -> None:
    one, found = exchanged
    verdict = found.verdicts.at("likely")
    assert float((verdict == VERDICTS.index("wrong_teacher")).double().mean()) > 0.8
    assert not bool((verdict == VERDICTS.index("wrong_label")).any())
    assert advise(found).situation == "systematic errors"
    accuracy = found.report.accuracy.value
    assert accuracy == pytest.approx((one.probabilities.argmax(axis=1) == one.labels).mean())


def test_its_effects_are_those_of_the_components(noisy: tuple[Case, TeacherAudit]) -> None:
    one, found = noisy
    effects = {effect.name: effect for effect in found.effects}
    wrong = int((one.probabilities.argmax(axis=1) != one.labels).sum())
    assert effects["probability_shift"].samples == effects["drop_wrong"].samples == wrong
    assert effects["probability_shift"].label_wrong == int(
        (found.verdicts.at("likely") == VERDICTS.index("wrong_label")).sum()
    )
    change = effects["probability_shift"].change
    assert change is not None
    assert 0 < change < 1
    assert len(effects["drop_wrong"].most) == 20
    assert effects["fixed"].samples == 0


def test_the_files_hold_what_was_found(noisy: tuple[Case, TeacherAudit], tmp_path: Path) -> None:
    one, found = noisy
    files = write_audit(found, tmp_path)
    assert [path.name for path in files] == ["audit.json", "audit.parquet"]
    content = json.loads(files[0].read_text())
    assert content == json.loads(json.dumps(plain(found)))
    assert content["verdicts"]["likely"]["wrong_label"] >= content["verdicts"]["sure"]["wrong_label"]
    assert sum(pair["samples"] for pair in content["pairs"]) == len(found.verdicts.index)
    table = pyarrow.parquet.read_table(files[1]).to_pandas()
    assert len(table) == len(one.labels)
    disagree = one.probabilities.argmax(axis=1) != one.labels
    assert ((table["verdict"] != "agree").to_numpy() == disagree).all()
    assert np.allclose(table["teacher_confidence"], one.probabilities.max(axis=1), atol=1e-5)
    verdicts = read_verdicts(tmp_path, found.data_fingerprint, len(one.labels)).verdict
    assert torch.equal(verdicts[found.verdicts.index], found.verdicts.at("likely"))
    assert bool((verdicts[torch.from_numpy(~disagree)] == -1).all())


def test_an_audit_of_other_data_or_no_audit_is_refused(noisy: tuple[Case, TeacherAudit], tmp_path: Path) -> None:
    _, found = noisy
    write_audit(found, tmp_path)
    with pytest.raises(InputError, match="an audit of other images or labels"):
        read_verdicts(tmp_path, "another", len(found.logits))
    of_these = (tmp_path, found.data_fingerprint, len(found.logits))
    assert torch.equal(read_verdicts(*of_these, found.teacher_fingerprint).verdict, read_verdicts(*of_these).verdict)
    with pytest.raises(InputError, match=r"an audit of another teacher .*: audit the one that is to teach"):
        read_verdicts(*of_these, "another")
    with pytest.raises(InputError, match="no such file"):
        read_verdicts(tmp_path / "missing.json", "", 1)
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(InputError, match="not an audit of this version"):
        read_verdicts(tmp_path / "other.json", "", 1)


def test_gold_labels_bound_the_accuracy_and_are_certain_themselves(tmp_path: Path) -> None:
    one = case(tmp_path, exchanged=False, noise=0.15)
    checked = np.random.default_rng(1).choice(len(one.truth), 300, replace=False)
    names = digits().class_names
    lines = ["index,label", *(f"{index},{names[one.truth[index]]}" for index in checked)]
    (tmp_path / "gold.csv").write_text("\n".join(lines))
    found = audit(one.config, gold=tmp_path / "gold.csv")
    assert found.gold_accuracy is not None
    value, low, high = found.gold_accuracy
    assert low < value < high
    assert value == pytest.approx((one.probabilities.argmax(axis=1) == one.truth)[checked].mean())
    assert found.verdicts.base_rate.source == "gold"
    inside = np.isin(found.verdicts.index, checked)
    label_wrong = (one.labels != one.truth)[found.verdicts.index]
    teacher_right = (one.probabilities.argmax(axis=1) == one.truth)[found.verdicts.index]
    known = inside & (teacher_right | ~label_wrong)
    assert known.sum() > 10
    assert found.verdicts.label_wrong.numpy()[known].tolist() == label_wrong[known].astype(float).tolist()


def test_teachers_of_an_ensemble_are_described_one_by_one(tmp_path: Path) -> None:
    one = case(tmp_path, exchanged=False, noise=0)
    np.save(tmp_path / "other.npy", np.roll(one.probabilities, 1, axis=1))
    settings = one.config.model_dump(mode="json", exclude_none=True)
    both = [str(tmp_path / "teacher.npy"), str(tmp_path / "other.npy")]
    found = audit(resolve({**settings, "teacher": both}))
    assert [member.name for member in found.members] == both
    assert found.members[0].accuracy > 0.9 > found.members[1].accuracy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher_accuracy": 91.7}, "expected a share from 0 to 1, such as 0.917"),
        ({"teacher_accuracy": 0.9, "gold": Path("gold.csv")}, "give one"),
        ({"opinion": "pixel"}, "expected pixels, teacher, FILE.npy"),
        ({"opinion": "teacher"}, "shows no features"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], message: str, tmp_path: Path) -> None:
    one = case(tmp_path, exchanged=False, noise=0)
    with pytest.raises(InputError, match=message):
        audit(one.config, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a teacher."""
    folder = tmp_path_factory.mktemp("network") / "teacher"
    settings = {"recipe": "none", "student": "convnet4", "train_images": 300, "training": {"epochs": 3}}
    run(resolve({**settings, "device": "cpu", "precision": "fp32"}), folder)
    return folder


def test_a_network_shows_its_features_to_the_second_opinion(network: Path) -> None:
    stages: list[str] = []
    found = audit(
        resolve({"recipe": "kd", "teacher": str(network), "device": "cpu", "precision": "fp32"}),
        opinion="teacher",
        progress=lambda stage, done, of: stages.append(stage),
    )
    assert found.opinion.name == "a logistic regression on the teacher's features"
    assert found.opinion.accuracy > 0.5
    assert str(network) in found.teacher
    assert list(dict.fromkeys(stages)) == ["teacher", "second opinion", "verdicts"]


def test_a_teacher_of_these_very_images_and_a_weak_witness_are_warned_of(tmp_path: Path) -> None:
    one = case(tmp_path, exchanged=False, noise=0)
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).normal(size=(len(one.truth), 4)))
    found = audit(one.config, opinion=str(tmp_path / "noise.npy"), teacher_accuracy=0.5)
    weak, learned = found.warnings
    assert "it is a weak witness" in weak
    assert "was it trained on these images?" in learned
