import pytest
import torch

from preceptor.errors import InputError
from preceptor.metrics import (
    NoGuarantee,
    Predictions,
    RiskGuarantee,
    RiskTarget,
    SetTarget,
    calibrate_sets,
    confidence,
    prediction_sets,
    select_class_thresholds,
    select_threshold,
)
from preceptor.metrics.decisions import decide, decide_sets, which_answered, which_classes
from preceptor.models import CalibrationSet, ModelCard

SOURCE = CalibrationSet(data="made up", part="all", samples=900, fingerprint="ab")
CLASSES = 4


def made_up(n: int = 900, seed: int = 0, abstains: bool = False) -> tuple[Predictions, torch.Tensor]:
    """Predictions that are right the more often the surer they are."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (n,), generator=generator)
    logits = torch.randn(n, CLASSES + abstains, generator=generator)
    logits[torch.arange(n), labels] += 3 * torch.rand(n, generator=generator) + 1
    return Predictions(logits, abstains), labels


@pytest.mark.parametrize("abstains", [False, True])
@pytest.mark.parametrize(
    ("score", "options"),
    [("softmax_response", {}), ("margin", {}), ("max_logit_p_norm", {"p": 3.0}), ("energy", {"temperature": 2.0})],
)
def test_a_threshold_is_that_of_the_score_and_answers_what_was_counted(score, options, abstains):
    answers, labels = made_up(abstains=abstains)
    outcome = decide(answers, labels, RiskTarget(0.15, 0.9, score, options), SOURCE)
    wrong = answers.prediction != labels
    guarantee = select_threshold(confidence(score, answers, **options), wrong, 0.15, 0.1)
    assert outcome.guarantee == guarantee
    decision = outcome.decision
    assert (decision.score, decision.options, decision.threshold) == (score, options, guarantee.threshold)
    assert (decision.max_risk, decision.confidence, decision.joint) == (0.15, 0.9, None)
    assert decision.calibrated_on == SOURCE
    answered = which_answered(decision, answers)
    assert (int(answered.sum()), int((answered & wrong).sum())) == (guarantee.covered, guarantee.errors)
    assert decision.coverage == guarantee.coverage
    assert decision.risk == guarantee.errors / guarantee.covered < 0.15


def test_the_reservation_of_a_head_that_may_abstain():
    answers, labels = made_up(abstains=True)
    decision = decide(answers, labels, RiskTarget(0.5, score="reservation"), SOURCE).decision
    assert torch.equal(which_answered(decision, answers), confidence("reservation", answers) >= decision.threshold)


@pytest.mark.parametrize("joint", [True, False])
def test_thresholds_by_class(joint):
    answers, labels = made_up()
    outcome = decide(answers, labels, RiskTarget(0.2, by_class=True, joint=joint), SOURCE)
    wrong = answers.prediction != labels
    score = confidence("softmax_response", answers)
    found = select_class_thresholds(score, wrong, answers.prediction, CLASSES, 0.2, 0.05, joint=joint)
    assert outcome.guarantee == found
    decision = outcome.decision
    assert (decision.threshold, decision.class_thresholds) == (None, tuple(found.thresholds))
    assert decision.joint == joint
    answered = which_answered(decision, answers)
    assert torch.equal(answered, found.answers(score, answers.prediction))
    assert decision.coverage == float(answered.double().mean())
    assert decision.risk == pytest.approx(float(wrong[answered].double().mean()))
    card = ModelCard(
        architecture="convnet2",
        channels=1,
        classes=CLASSES,
        class_names=tuple("abcd"),
        image_size=(8, 8),
        mean=(0.5,),
        std=(0.5,),
        data="made up",
        preceptor="0",
        decision=decision,
    )
    assert ModelCard.model_validate_json(card.model_dump_json()) == card


def test_a_class_that_nothing_can_be_guaranteed_of_is_never_answered():
    answers, labels = made_up()
    labels = torch.where(answers.prediction == 2, (answers.prediction + 1) % CLASSES, labels)
    outcome = decide(answers, labels, RiskTarget(0.2, by_class=True), SOURCE)
    assert outcome.decision.class_thresholds[2] is None
    assert isinstance(outcome.guarantee.classes[2], NoGuarantee)
    assert isinstance(outcome.guarantee.classes[0], RiskGuarantee)
    assert not which_answered(outcome.decision, answers)[answers.prediction == 2].any()


@pytest.mark.parametrize("by_class", [False, True])
def test_what_cannot_be_guaranteed_makes_no_decision(by_class):
    answers, labels = made_up(40)
    outcome = decide(answers, labels, RiskTarget(0.001, by_class=by_class), SOURCE)
    assert outcome.decision is None
    each = outcome.guarantee.classes if by_class else [outcome.guarantee]
    assert all(isinstance(one, NoGuarantee) and one.lowest_bound > 0.001 for one in each)


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_prediction_sets_from_the_card_are_those_of_the_rule(method):
    answers, labels = made_up()
    target = SetTarget(method, 0.2, penalty=0.2, free_ranks=1)
    sets = decide_sets(answers, labels, target, SOURCE)
    rule = calibrate_sets(answers.class_logits, labels, target)
    assert (sets.method, sets.alpha, sets.threshold) == (method, 0.2, rule.threshold)
    assert (sets.penalty, sets.free_ranks) == ((0.2, 1) if method == "raps" else (0, 0))
    fresh, _ = made_up(seed=1)
    assert torch.equal(which_classes(sets, fresh.class_logits), prediction_sets(fresh.class_logits, rule))


def test_too_few_images_let_every_class_in():
    answers, labels = made_up(5)
    sets = decide_sets(answers, labels, SetTarget(), SOURCE)
    assert sets.threshold is None
    assert which_classes(sets, answers.class_logits).all()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (RiskTarget(0.1, score="margn"), "unknown score 'margn': did you mean 'margin'"),
        (
            RiskTarget(0.1, score="teacher_probability"),
            "needs the teacher, not the student alone; choose one of",
        ),
        (RiskTarget(0.1, score="reservation"), "a student whose head may abstain"),
        (RiskTarget(0.1, score="max_logit_p_norm"), "p is missing"),
        (RiskTarget(0.1, score="margin", options={"p": 2}), "unknown option of score margin 'p'"),
        (RiskTarget(0.1, 95), "confidence is 95; expected a number above 0 and below 1"),
        (RiskTarget(0.1, float("nan")), "confidence is nan"),
        (RiskTarget(2), "max_risk is 2"),
    ],
)
def test_a_target_that_cannot_be_is_refused(target, message):
    with pytest.raises(InputError, match=message):
        decide(*made_up(20), target, SOURCE)
