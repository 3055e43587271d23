import shutil

import pytest
import torch

from preceptor.errors import InputError, MachineError
from preceptor.metrics import NoGuarantee, Predictions, RiskGuarantee, RiskTarget, SetTarget
from preceptor.metrics.decisions import decide, decide_sets, which_answered
from preceptor.metrics.logits import network_logits
from preceptor.models import load_student
from preceptor.run import calibration, resolve, run
from preceptor.run.calibration import calibrate, forget
from preceptor.run.calibration_data import CalibrationSource
from preceptor.run.history import DatasetCache, saved_run


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A student that learned enough to guarantee something; not to be changed."""
    folder = tmp_path_factory.mktemp("students") / "student"
    content = {"student": "convnet8", "validation": 0.3, "training": {"epochs": 8, "batch_size": 32}, "device": "cpu"}
    run(resolve({**content, "augment": False}), folder)
    return folder


@pytest.fixture
def student(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "student")


def outputs(folder, images):
    network, card = load_student(folder)
    return Predictions(network_logits(network, card.normalization(), images), card.abstains)


def test_the_card_holds_what_was_found_on_the_held_out_images(student):
    held_out = DatasetCache().held_out(saved_run(student))
    files = {path: path.read_bytes() for path in student.rglob("*") if path.is_file() and path.name != "student.json"}
    found = calibrate(student, RiskTarget(0.1))
    answers = outputs(student, held_out.images)
    assert found.guaranteed
    assert isinstance(found.guarantee, RiskGuarantee)
    assert found.card.decision == decide(answers, held_out.labels, RiskTarget(0.1), found.source).decision
    assert found.source.samples == len(held_out) == 404
    _, card = load_student(student)
    assert card == found.card
    assert card.model_copy(update={"decision": None}) == found.before
    assert float(which_answered(card.decision, answers).double().mean()) == card.decision.coverage
    assert {path: path.read_bytes() for path in files} == files


def test_sets_alone_and_both_together(student):
    held_out = DatasetCache().held_out(saved_run(student))
    answers = outputs(student, held_out.images)
    target = SetTarget("raps", 0.2, penalty=0.1, free_ranks=1)
    found = calibrate(student, None, target)
    assert (found.guarantee, found.card.decision) == (None, None)
    expected = decide_sets(answers, held_out.labels, target, found.source)
    assert load_student(student)[1].sets == expected
    both = calibrate(student, RiskTarget(0.2), SetTarget())
    assert both.card.decision.max_risk == 0.2
    assert both.card.sets.method == "lac"
    assert both.before.sets == expected


def test_a_second_takes_the_place_of_the_first_and_says_so(student):
    first = calibrate(student, RiskTarget(0.1), SetTarget())
    second = calibrate(student, RiskTarget(0.15, score="margin"))
    assert second.before == first.card
    assert second.card.decision.score == "margin"
    assert second.card.sets == first.card.sets
    assert any("calibrated on before" in note for note in second.notes)
    assert not any("calibrated on before" in note for note in first.notes)
    assert not any("calibrated on before" in note for note in calibrate(student, RiskTarget(0.2), source=TEST).notes)


TEST = CalibrationSource(part="test")


def test_what_cannot_be_guaranteed_changes_nothing(student):
    calibrate(student, RiskTarget(0.1))
    before = (student / "student.json").read_bytes()
    found = calibrate(student, RiskTarget(0.0001), SetTarget())
    assert not found.guaranteed
    assert isinstance(found.guarantee, NoGuarantee)
    assert found.card == found.before
    assert (student / "student.json").read_bytes() == before


def test_by_class_names_those_that_are_never_answered(student):
    found = calibrate(student, RiskTarget(0.19, by_class=True, joint=False), source=TEST)
    assert found.guaranteed
    limits = dict(zip(found.card.class_names, found.card.decision.class_thresholds, strict=True))
    never = [name for name, limit in limits.items() if limit is None]
    named = [note for note in found.notes if note.startswith("never answered")]
    assert 0 < len(never) < 10
    assert named == [f"never answered, as nothing can be guaranteed of them: {', '.join(never)}"]
    none = calibrate(student, RiskTarget(0.01, by_class=True), source=TEST)
    assert not none.guaranteed
    assert none.card == found.card


def test_an_option_that_was_chosen_somewhere_is_told(student):
    found = calibrate(student, RiskTarget(0.2, score="max_logit_p_norm", options={"p": 3}))
    assert "the guarantee holds where p = 3 was chosen on other images than these" in found.notes


def test_sets_of_every_class_are_told(student):
    found = calibrate(student, None, SetTarget(alpha=0.002))
    assert found.card.sets.threshold is None
    assert "every set holds every class: smaller ones take at least 499 images" in found.notes
    assert calibrate(student, None, SetTarget(alpha=0.0025)).card.sets.threshold is not None  # 399 are enough


def test_forgetting(student):
    plain = (student / "student.json").read_bytes()
    calibrated = calibrate(student, RiskTarget(0.1), SetTarget()).card
    assert forget(student) == calibrated
    assert (student / "student.json").read_bytes() == plain


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ((None, None), "no goal to calibrate for; give --max-risk 0.05"),
        ((RiskTarget(0.0), None), "max_risk is 0.0; expected a number at least"),
        ((RiskTarget(0.1, 1.0), None), "confidence is 1.0"),
        ((RiskTarget(0.1, score="reservation"), None), "score reservation: needs a student whose head may abstain"),
        ((RiskTarget(0.1, score="negative_teacher_kl"), None), "needs the teacher, not the student alone"),
        ((RiskTarget(0.1, score="max_logit_p_norm"), None), "p is missing"),
        ((None, SetTarget("apps")), "did you mean 'aps'"),
        ((None, SetTarget("lac", 1.0)), "alpha is 1.0"),
        ((None, SetTarget("raps", penalty=-1)), "penalty is -1"),
    ],
)
def test_a_target_that_cannot_be_is_refused_before_any_image_is_read(trained, monkeypatch, targets, message):
    monkeypatch.setattr(calibration, "calibration_images", lambda *_: pytest.fail("read"))
    with pytest.raises(InputError, match=message):
        calibrate(trained, *targets)


def test_a_device_that_is_not_there(trained, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(MachineError, match="no CUDA device"):
        calibrate(trained, RiskTarget(0.1), device="cuda")


def test_it_leaves_the_generator_alone(student):
    before = torch.get_rng_state()
    calibrate(student, RiskTarget(0.2), SetTarget())
    assert torch.equal(torch.get_rng_state(), before)


def test_progress_counts_every_image(student):
    seen = []
    calibrate(student, RiskTarget(0.2), progress=lambda done, images: seen.append((done, images)))
    assert seen[-1] == (404, 404)


def test_the_risk_that_could_be_guaranteed_can_be(student):
    failed = calibrate(student, RiskTarget(0.0001)).guarantee
    assert isinstance(failed, NoGuarantee)
    kept = calibrate(student, RiskTarget(failed.lowest_bound * 1.0001)).guarantee
    assert isinstance(kept, RiskGuarantee)
    assert kept.coverage >= failed.coverage
