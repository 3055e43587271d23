import json

import pytest

from preceptor.errors import InputError
from preceptor.models import CalibrationSet, Decision, SetDecision, load_student, save_card, save_student
from tests.models.test_store import CARD, trained_network

SOURCE = CalibrationSet(data="digits", part="held_out", samples=404, fingerprint="ab" * 32)
ONE = Decision(
    score="max_logit_p_norm",
    options={"p": 3},
    threshold=0.1 + 0.2,
    max_risk=0.02,
    confidence=0.95,
    coverage=0.75,
    risk=0.01,
    calibrated_on=SOURCE,
)
BY_CLASS = Decision(
    score="margin",
    class_thresholds=(0.5, None, -1e-300),
    max_risk=0.1,
    confidence=0.9,
    joint=True,
    coverage=0.5,
    risk=0,
    calibrated_on=SOURCE,
)
SETS = SetDecision(method="raps", alpha=0.1, threshold=1 / 3, penalty=0.01, free_ranks=2, calibrated_on=SOURCE)


@pytest.fixture
def folder(tmp_path):
    save_student(tmp_path, trained_network(), CARD)
    return tmp_path


@pytest.mark.parametrize(
    "changes",
    [{"decision": ONE}, {"decision": BY_CLASS, "sets": SETS}, {"sets": SETS.model_copy(update={"threshold": None})}],
    ids=["one threshold", "by class and sets", "sets of every class"],
)
def test_what_was_calibrated_comes_back_to_the_last_bit(folder, changes):
    card = CARD.model_copy(update=changes)
    weights = (folder / "student.safetensors").read_bytes()
    save_card(folder, card)
    assert load_student(folder)[1] == card
    assert (folder / "student.safetensors").read_bytes() == weights
    assert sorted(path.name for path in folder.iterdir()) == ["student.json", "student.safetensors"]


def test_a_card_without_a_decision_needs_no_word_of_it(folder):
    content = json.loads((folder / "student.json").read_text())
    assert content.pop("decision") is None
    assert content.pop("sets") is None
    (folder / "student.json").write_text(json.dumps(content))
    card = load_student(folder)[1]
    assert (card.decision, card.sets) == (None, None)


def changed(decision, **changes):
    return decision.model_dump(mode="json") | changes


@pytest.mark.parametrize(
    ("key", "content", "message"),
    [
        ("decision", changed(ONE, class_thresholds=[0.5, 0.5, 0.5]), "expected either threshold or class_thresholds"),
        ("decision", changed(ONE, threshold=None), "expected either threshold or class_thresholds"),
        ("decision", changed(ONE, joint=True), "joint goes with class_thresholds"),
        ("decision", changed(BY_CLASS, class_thresholds=[0.5, 0.5]), "2 class_thresholds for 3 classes"),
        ("decision", changed(ONE, threshold="NaN"), "finite number"),
        ("decision", changed(ONE, options={"p": "Infinity"}), "finite number"),
        ("decision", changed(ONE, max_risk=0), "greater than 0"),
        ("decision", changed(ONE, confidence=1), "less than 1"),
        ("decision", changed(ONE, coverage=1.5), "less than or equal to 1"),
        ("decision", changed(ONE, treshold=0.5), "did you mean 'threshold'"),
        ("decision", changed(ONE, calibrated_on=changed(SOURCE, samples=0)), "greater than or equal to 1"),
        ("decision", changed(ONE, calibrated_on=changed(SOURCE, part="validation")), "'held_out', 'test' or 'all'"),
        ("sets", changed(SETS, method="las"), "'lac', 'aps' or 'raps'"),
        ("sets", changed(SETS, alpha=0), "greater than 0"),
        ("sets", changed(SETS, penalty=-1), "greater than or equal to 0"),
    ],
)
def test_a_decision_that_cannot_be_is_refused_with_its_place(folder, key, content, message):
    card = json.loads((folder / "student.json").read_text()) | {key: content}
    (folder / "student.json").write_text(json.dumps(card))
    with pytest.raises(InputError) as caught:
        load_student(folder)
    assert str(folder / "student.json") in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
