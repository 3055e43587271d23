import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from preceptor.data.sources import ImageItem
from preceptor.errors import InputError, MachineError
from preceptor.metrics import Predictions, confidence
from preceptor.metrics.decisions import which_answered, which_classes
from preceptor.metrics.logits import network_logits
from preceptor.models import CalibrationSet, Decision, ModelCard, SetDecision, load_student, save_card, save_student
from preceptor.run.prediction import Predictor, predict
from tests.training_helpers import digits, network

SOURCE = CalibrationSet(data="digits", part="held_out", samples=404, fingerprint="ab")


def decision(**changes) -> Decision:
    given = {"score": "margin", "threshold": 0.01, "max_risk": 0.1, "confidence": 0.95, "coverage": 0.5, "risk": 0.05}
    return Decision(calibrated_on=SOURCE, **{**given, **changes})


SETS = SetDecision(method="aps", alpha=0.1, threshold=0.6, calibrated_on=SOURCE)
ROWS = digits().test.images[:40]


@pytest.fixture
def student(teacher, tmp_path):
    return shutil.copytree(teacher, tmp_path / "student")


@pytest.fixture
def images(tmp_path):
    np.save(tmp_path / "images.npy", ROWS[:, 0].numpy())
    return tmp_path / "images.npy"


def calibrated(folder, **changes) -> ModelCard:
    card = load_student(folder)[1].model_copy(update=changes)
    save_card(folder, card)
    return card


def predict_training_images(folder) -> Predictions:
    net, card = load_student(folder)
    return Predictions(network_logits(net, card.normalization(), ROWS), card.abstains)


def test_labels_and_probabilities_are_those_of_the_students_logits(student, images):
    found = list(predict(student, [images], top_k=3))
    logits = predict_training_images(student).class_logits.double()
    probabilities = torch.exp(logits) / torch.exp(logits).sum(dim=1, keepdim=True)
    names = digits().class_names
    assert len(found) == 40
    for row, said in enumerate(found):
        order = sorted(range(10), key=lambda place: -probabilities[row, place])
        assert (said.input, said.index, said.error) == (str(images), row, None)
        assert said.label == names[order[0]] == said.top[0][0]
        assert [name for name, _ in said.top] == [names[place] for place in order[:3]]
        assert [value for _, value in said.top] == pytest.approx(probabilities[row, order[:3]].tolist())
        assert said.probability == said.score == said.top[0][1]
        assert (said.abstained, said.set) == (None, None)


@pytest.mark.parametrize("batch_size", [1, 7, 40, 1000])
def test_the_size_of_batches_changes_nothing_that_counts(student, images, batch_size):
    calibrated(student, decision=decision(), sets=SETS)
    for said, expected in zip(
        predict(student, [images], batch_size=batch_size), predict(student, [images]), strict=True
    ):
        assert (said.label, said.abstained, said.set) == (expected.label, expected.abstained, expected.set)
        assert said.probability == pytest.approx(expected.probability)


@pytest.mark.parametrize(
    "rule",
    [decision(), decision(threshold=None, class_thresholds=(0.2, None, *[0.01] * 8), joint=True)],
    ids=["one threshold", "by class"],
)
def test_a_decision_abstains_what_it_abstains(student, images, rule):
    calibrated(student, decision=rule)
    answers = predict_training_images(student)
    answered = which_answered(rule, answers)
    found = list(predict(student, [images]))
    assert 0 < int(answered.sum()) < 40
    assert [said.abstained for said in found] == (~answered).tolist()
    assert [said.label is None for said in found] == (~answered).tolist()
    assert [said.score for said in found] == pytest.approx(confidence("margin", answers).tolist())
    assert all(said.top[0][1] == said.probability for said in found)


def test_prediction_sets_from_the_likeliest_on(student, images):
    calibrated(student, sets=SETS)
    inside = which_classes(SETS, predict_training_images(student).class_logits)
    names = digits().class_names
    for said, row in zip(predict(student, [images], top_k=10), inside, strict=True):
        assert set(said.set) == {names[place] for place in row.nonzero().flatten().tolist()}
        likeliest_first = [name for name, _ in said.top]
        assert list(said.set) == [name for name in likeliest_first if name in said.set]


def test_a_score_by_name_where_it_does_not_abstain(student, images):
    score = confidence("max_logit_p_norm", predict_training_images(student), p=3)
    found = predict(student, [images], score="max_logit_p_norm", options={"p": 3})
    assert [said.score for said in found] == pytest.approx(score.tolist())


def test_a_head_that_may_abstain(tmp_path, teacher, images):
    card = load_student(teacher)[1].model_copy(update={"abstains": True, "architecture": "convnet8"})
    save_student(tmp_path / "gambler", network(outputs=11), card)
    found = list(predict(tmp_path / "gambler", [images], score="reservation", top_k=99))
    logits = predict_training_images(tmp_path / "gambler").class_logits
    assert [said.label for said in found] == [str(place) for place in logits.argmax(dim=1).tolist()]
    assert all(len(said.top) == 10 for said in found)
    assert sum(probability for _, probability in found[0].top) == pytest.approx(1)


def test_inputs_in_their_order_with_errors_among_them(student, images, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(ROWS[3, 0].numpy()).save(folder / "b.png")
    (folder / "a.png").write_bytes(b"nothing")
    found = list(predict(student, [folder, images, folder / "b.png"]))
    assert [said.input for said in found] == [
        str(folder / "a.png"),
        *[str(folder / "b.png")],
        *[str(images)] * 40,
        *[str(folder / "b.png")],
    ]
    assert "not an image" in found[0].error
    assert (found[0].label, found[0].probability, found[0].top, found[0].score) == (None, None, (), None)
    same = dataclasses.replace(found[5], input=found[1].input, index=None)
    for said in (found[1], found[-1]):
        assert dataclasses.replace(said, probability=0, score=0, top=()) == dataclasses.replace(
            same, probability=0, score=0, top=()
        )
        assert said.probability == pytest.approx(same.probability)


def test_images_are_taken_as_they_are_asked_for(student):
    taken = []

    def without_end():
        while True:
            taken.append(0)
            yield ImageItem("x", None, ROWS[0], None)

    found = Predictor(student).predictions(without_end(), batch_size=8)
    assert taken == []
    for _ in range(17):
        next(found)
    assert len(taken) == 24


def test_a_batch_of_errors_alone(student):
    pictures = [ImageItem("x", None, None, "gone")] * 3
    assert [said.error for said in Predictor(student).predictions(pictures, 2)] == ["gone"] * 3


def test_logits_that_are_not_finite_are_an_error(student, images):
    net, card = load_student(student)
    net.head.bias.data[3] = float("inf")
    save_student(student, net, card)
    assert {said.error for said in predict(student, [images])} == {"the student's logits are not finite"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"top_k": 0}, "top-k is 0; expected at least 1"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"score": "margn"}, "did you mean 'margin'"),
        ({"score": "max_logit_p_norm"}, "p is missing"),
        ({"score": "reservation"}, "head may abstain"),
        ({"score": "teacher_probability"}, "needs the teacher, not the student alone"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_once(student, images, options, told):
    with pytest.raises(InputError, match=told):
        predict(student, [images], **options)


def test_all_inputs_are_looked_for_at_once(student, images, tmp_path):
    with pytest.raises(InputError, match=r"gone\.png: no such file"):
        predict(student, [images, tmp_path / "gone.png"])


def test_another_score_than_it_abstains_by_is_refused(student, images):
    calibrated(student, decision=decision())
    with pytest.raises(InputError, match="abstains by margin: leave out --score, or calibrate it by energy"):
        predict(student, [images], score="energy")


def test_a_card_whose_score_nobody_knows_is_named(student, images):
    calibrated(student, decision=decision(score="hunch"))
    with pytest.raises(InputError, match=r"student\.json: unknown score 'hunch'"):
        predict(student, [images])


def test_a_device_that_is_not_there(student, images, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(MachineError, match="no CUDA device"):
        predict(student, [images], device="cuda")
