import dataclasses
import json

import numpy as np
import pytest
import torch

from preceptor.data import ImageSet, Normalization, hold_out
from preceptor.errors import InputError
from preceptor.metrics import Estimate, Predictions, TemperatureFit, fit_temperature, share_estimate
from preceptor.metrics.decisions import which_answered, which_classes
from preceptor.metrics.logits import network_logits
from preceptor.metrics.scores import softmax_response
from preceptor.models import CalibrationSet, Decision, SetDecision, load_student, save_card
from preceptor.run import resolve, run
from preceptor.run.evaluation import (
    DecisionResult,
    Evaluation,
    EvaluationData,
    evaluate_run,
    load_evaluation_data,
)
from preceptor.run.evaluation_teacher import QueriedTeacher, find_teacher
from preceptor.run.evaluation_text import (
    decision_in_words,
    estimate_of_share,
    figure,
    headline,
    sets_in_words,
)
from preceptor.run.history import SavedRun, read_epochs, saved_run
from tests.run.kinds import onnx_file
from tests.training_helpers import SMALL_RUN, digits

ON = CalibrationSet(data="digits", part="test", samples=200, fingerprint="0" * 64)
GUARANTEE = {"max_risk": 0.1, "confidence": 0.95, "coverage": 0.5, "risk": 0.05, "calibrated_on": ON}


@pytest.fixture(scope="module")
def student(teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("students") / "student"
    run(resolve({**SMALL_RUN, "student": "convnet4", "teacher": str(teacher), "recipe": "kd"}), folder)
    return folder


@pytest.fixture(scope="module")
def shown(student) -> EvaluationData:
    return load_evaluation_data(student)


@pytest.fixture(scope="module")
def evaluation(shown) -> Evaluation:
    return evaluate_run(shown, resamples=20)


def with_card(shown: EvaluationData, **changes) -> EvaluationData:
    return dataclasses.replace(shown, card=shown.card.model_copy(update=changes))


def median_of(shown: EvaluationData) -> float:
    logits = shown.outputs(shown.images.images)
    return float(softmax_response(logits).median())


def test_the_report_is_of_the_students_own_answers(shown, evaluation):
    network, card = load_student(shown.folder)
    logits = network_logits(network, card.normalization(), digits().test.images)
    assert torch.equal(evaluation.outputs, logits)
    right = (logits.argmax(dim=1) == digits().test.labels).double().mean()
    assert evaluation.report.accuracy.value == pytest.approx(float(right))
    assert evaluation.report.per_class[3].name == card.class_names[3]


def test_the_temperature_is_fitted_on_what_the_run_held_out(shown, evaluation):
    config = resolve({**SMALL_RUN, "student": "convnet4", "recipe": "none"})
    _, held_out = hold_out(digits().train.labels, config.validation, config.split_seed)
    network, card = load_student(shown.folder)
    logits = network_logits(network, card.normalization(), digits().train.images[held_out])
    fit = fit_temperature(logits, digits().train.labels[held_out])
    assert isinstance(fit, TemperatureFit)
    assert evaluation.held_out == len(held_out)
    assert evaluation.report.scaled is not None
    assert evaluation.report.scaled.fit.temperature == pytest.approx(fit.temperature, rel=1e-4)


def test_the_images_held_out_are_those_by_the_labels_trained_on(tmp_path):
    labels, generator = digits().train.labels.clone(), torch.Generator().manual_seed(0)
    wrong = torch.rand(len(labels), generator=generator) < 0.3
    labels[wrong] = torch.randint(10, (int(wrong.sum()),), generator=generator)
    np.save(tmp_path / "labels.npy", labels.numpy())
    config = resolve({**SMALL_RUN, "student": "convnet4", "train_labels": tmp_path / "labels.npy"})
    run(config, tmp_path / "student", force=True)
    _, held_out = hold_out(labels, config.validation, config.split_seed)
    network, card = load_student(tmp_path / "student")
    logits = network_logits(network, card.normalization(), digits().train.images[held_out])
    fit = fit_temperature(logits, digits().train.labels[held_out])
    assert isinstance(fit, TemperatureFit)
    shown = load_evaluation_data(tmp_path / "student")
    measured = evaluate_run(shown, resamples=2)
    assert measured.report.scaled is not None
    assert measured.report.scaled.fit.nll_before == pytest.approx(fit.nll_before, rel=1e-5)
    (tmp_path / "labels.npy").unlink()
    with pytest.warns(match=r"which images the run held out is not known, so no temperature is fitted: .*labels\.npy"):
        assert evaluate_run(shown, resamples=2).held_out == 0


def test_nothing_is_held_out_where_it_is_measured_or_of_other_data(student):
    assert evaluate_run(load_evaluation_data(student, split="train"), resamples=2).report.scaled is None


def test_the_runs_own_teacher_is_asked_unless_told_otherwise(shown, evaluation, teacher, tmp_path):
    network, card = load_student(teacher)
    said = network_logits(network, card.normalization(), digits().test.images).argmax(dim=1)
    assert evaluation.teacher == str(teacher)
    assert evaluation.report.agreement is not None
    same = (said == evaluation.outputs.argmax(dim=1)).double().mean()
    assert evaluation.report.agreement.same_answer.value == pytest.approx(float(same))
    silent = evaluate_run(shown, ask_teacher=False, resamples=2)
    assert (silent.report.agreement, silent.teacher) == (None, None)
    itself = evaluate_run(shown, teacher=shown.folder, resamples=2)
    assert itself.report.agreement is not None
    assert itself.report.agreement.same_answer.value == 1
    with pytest.raises(InputError, match="gone"):
        evaluate_run(shown, teacher=tmp_path / "gone", resamples=2)
    (tmp_path / "outputs.npy").touch()
    with pytest.raises(InputError, match="outputs of the training images alone"):
        evaluate_run(shown, teacher=tmp_path / "outputs.npy", resamples=2)


def test_an_onnx_teacher_sees_other_data_normalized_as_those_that_it_taught_on(teacher, tmp_path):
    file = onnx_file(teacher, tmp_path / "teacher.onnx")
    settings = {**SMALL_RUN, "student": "convnet4", "teacher": str(file), "teacher_output": "logits", "recipe": "kd"}
    run(resolve(settings), tmp_path / "student")
    begun = saved_run(tmp_path / "student")
    others = dataclasses.replace(digits(), normalization=Normalization((0.9,), (0.1,)))
    for path, record, normalization in (
        (None, begun.record, digits().normalization),
        (file, begun.record, digits().normalization),
        (None, {"teacher": {"kind": "ONNX file"}}, others.normalization),  # of an earlier version
    ):
        found = find_teacher(dataclasses.replace(begun, record=record), others, path, torch.device("cpu"))
        assert [member.normalization for member in found.members] == [normalization]
    tampered = dataclasses.replace(begun, record={"teacher": {"normalization": [{"mean": [0.1]}]}})
    with pytest.raises(InputError, match=r"run\.yaml: record\.teacher\.normalization: std is missing"):
        find_teacher(tampered, others, None, torch.device("cpu"))


def test_an_ensemble_costs_what_its_networks_cost(shown, teacher):
    config = resolve({"teacher": [str(teacher), str(shown.folder)]})
    both = find_teacher(SavedRun(shown.folder, config, {}), digits(), None, torch.device("cpu"))
    assert isinstance(both, QueriedTeacher)
    assert both.name == f"{teacher}, {shown.folder}"
    assert list(both.costs(digits())) == [str(teacher), str(shown.folder)]
    file = dataclasses.replace(both.members[1], kind="ONNX file")
    assert dataclasses.replace(both, members=(both.members[0], file)).costs(digits()) == {}


def test_a_teacher_that_is_gone_is_told_of(shown, teacher, tmp_path):
    copied = tmp_path / "student"
    copied.mkdir()
    for file in shown.folder.iterdir():
        if file.is_file():
            (copied / file.name).write_bytes(file.read_bytes())
    run_file = copied / "run.yaml"
    run_file.write_text(run_file.read_text().replace(str(teacher), str(tmp_path / "moved")))
    found = evaluate_run(load_evaluation_data(copied), resamples=2)
    assert found.teacher is None
    assert "moved does not exist any more" in str(found.no_teacher)


def test_a_decision_by_hand(shown):
    threshold = median_of(shown)
    found = evaluate_run(
        with_card(shown, decision=Decision(score="softmax_response", threshold=threshold, **GUARANTEE))
    )
    logits, labels = found.outputs, digits().test.labels
    kept = logits.double().softmax(dim=1).amax(dim=1) >= threshold
    wrong = logits.argmax(dim=1) != labels
    assert found.decision == DecisionResult(
        coverage=share_estimate(int(kept.sum()), len(kept)),
        answered=int(kept.sum()),
        errors=int((kept & wrong).sum()),
        risk=share_estimate(int((kept & wrong).sum()), int(kept.sum())),
        max_risk=0.1,
        confidence=0.95,
    )
    assert found.abstained is not None
    assert torch.equal(found.abstained, ~kept)


def test_thresholds_of_single_classes_and_a_class_never_answered(shown):
    limits = (None, *(0.0 for _ in range(9)))
    decision = Decision(score="margin", class_thresholds=limits, joint=True, **GUARANTEE)
    answers = Predictions(shown.outputs(shown.images.images))
    assert torch.equal(which_answered(decision, answers), answers.prediction != 0)


def test_a_decision_that_looks_at_the_teacher_needs_one(shown):
    decision = Decision(score="teacher_probability", threshold=0.5, **GUARANTEE)
    asked = evaluate_run(with_card(shown, decision=decision), resamples=2)
    assert asked.decision is not None
    assert asked.report.main_score == "teacher_probability"
    alone = evaluate_run(with_card(shown, decision=decision), ask_teacher=False, resamples=2)
    assert (alone.decision, alone.abstained) == (None, None)
    assert "needs the teacher" in str(decision_in_words(alone))


def test_prediction_sets_hold_what_reaches_the_threshold(shown):
    sets = SetDecision(method="lac", alpha=0.1, threshold=0.85, calibrated_on=ON)
    found = evaluate_run(with_card(shown, sets=sets), resamples=2)
    probabilities = found.outputs.double().softmax(dim=1)
    inside = probabilities >= 0.15
    inside[torch.arange(len(inside)), probabilities.argmax(dim=1)] = True
    assert torch.equal(which_classes(sets, found.outputs), inside)
    assert found.sets is not None
    assert found.sets.mean_size == pytest.approx(float(inside.double().sum(dim=1).mean()))
    assert "guaranteed: 90.00" in str(sets_in_words(found))


def test_a_saved_decision_is_read_back(shown, tmp_path):
    decision = Decision(score="softmax_response", threshold=0.5, **GUARANTEE)
    save_card(tmp_path, shown.card.model_copy(update={"decision": decision}))
    (tmp_path / "student.safetensors").write_bytes((shown.folder / "student.safetensors").read_bytes())
    assert load_evaluation_data(tmp_path).card.decision == decision
    assert evaluate_run(load_evaluation_data(tmp_path), resamples=2).no_teacher == "the run names no teacher"


def test_without_a_label_there_is_nothing_to_evaluate(shown):
    unlabeled = ImageSet(shown.images.images, torch.full_like(shown.images.labels, -1))
    with pytest.raises(InputError):
        evaluate_run(dataclasses.replace(shown, images=unlabeled), resamples=2)


def test_numbers_in_words():
    assert estimate_of_share(Estimate(0.94321, 0.9, 0.97)) == "94.32\N{NO-BREAK SPACE}% (90.00 to 97.00)"
    assert estimate_of_share(0.5, 1) == "50.0\N{NO-BREAK SPACE}%"
    assert estimate_of_share(None) == figure(Estimate(None, None, None), 2) == "–"
    assert figure(Estimate(1.23456, 1.0, 2.0), 3) == "1.235 (1.000 to 2.000)"
    assert figure(Estimate(1.0, None, None), 1) == "1.0"


@pytest.mark.parametrize(
    ("errors", "told"),
    [(5, "within the guarantee"), (13, "by no more than chance"), (40, "either this is one of the calibration sets")],
)
def test_a_guarantee_is_judged_by_what_chance_may_do(shown, evaluation, errors, told):
    decision = Decision(score="softmax_response", threshold=0.5, **GUARANTEE)
    shares = {"coverage": share_estimate(100, 200), "risk": share_estimate(errors, 100)}
    result = DecisionResult(answered=100, errors=errors, max_risk=0.1, confidence=0.95, **shares)
    judged = dataclasses.replace(evaluation, data=with_card(shown, decision=decision), decision=result)
    assert told in str(decision_in_words(judged))


def test_a_decision_that_answers_nothing(shown):
    decision = Decision(score="softmax_response", threshold=2.0, **GUARANTEE)
    found = evaluate_run(with_card(shown, decision=decision), resamples=2)
    assert found.decision is not None
    assert (found.decision.risk.value, found.decision.kept) == (None, True)
    assert "abstains on every image" in str(decision_in_words(found))


def test_without_a_decision_there_is_nothing_to_tell_of_it(evaluation):
    assert decision_in_words(evaluation) is None
    assert sets_in_words(evaluation) is None


def test_the_headline_is_short_with_and_without_a_teacher(shown, evaluation):
    report = evaluation.report
    share = f"{100 * report.accuracy.value:.1f}\N{NO-BREAK SPACE}%"
    assert headline(evaluation).startswith(f"Right on {share} (teacher ")
    assert headline(evaluate_run(shown, ask_teacher=False, resamples=2)) == f"Right on {share}"


def test_costs_and_epochs_are_those_of_the_run(shown, evaluation, teacher, tmp_path):
    network, _ = load_student(teacher)
    (cost,) = evaluation.teacher_costs.values()
    assert cost.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert evaluation.cost.parameters == cost.parameters, "of one architecture"
    lines = [json.loads(line) for line in (shown.folder / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["event"] == "epoch"]
    assert [one.train_accuracy for one in evaluation.epochs] == [line["train_accuracy"] for line in epochs]
    assert [one.held_out_accuracy for one in evaluation.epochs] == [line["validation_accuracy"] for line in epochs]
    assert [one.losses["total"] for one in evaluation.epochs] == [line["total"] for line in epochs]
    too_large = '{"event": "epoch", "epoch": 1e999, "losses": {}, "total": 1, "train_accuracy": 1}\n'
    for content in ("", "{", too_large, '{"event": "epoch"}\n', "[]\n", "\udcff"):
        (tmp_path / "metrics.jsonl").write_bytes(content.encode("utf-8", "surrogateescape"))
        assert read_epochs(tmp_path) == []


def test_a_student_that_diverged_is_warned_of(shown):
    able = Fixed(5 * torch.nn.functional.one_hot(digits().test.labels, 10).float())
    assert (
        evaluate_run(dataclasses.replace(shown, network=able, whole=True), ask_teacher=False, resamples=2).warnings
        == ()
    )
    diverged = Fixed(torch.tensor([1e6, *[-1e6] * 9]).expand(len(digits().test), -1))
    found = evaluate_run(
        dataclasses.replace(shown, network=diverged, whole=True), ask_teacher=False, resamples=2, device="cpu"
    )
    chance, likelihood = found.warnings
    assert "no better than always predicting the most frequent class" in chance
    assert "worse than that of equal probabilities" in likelihood
    assert "it diverged" in likelihood
    assert figure(found.report.calibration.nll, 4).startswith("1.8e+06")


class Fixed(torch.nn.Module):
    """Stated logits, whatever the images."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        return self.logits[: len(images)]
