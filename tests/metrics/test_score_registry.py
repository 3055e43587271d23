import pytest
import torch

from preceptor.errors import InputError
from preceptor.metrics import SCORES, Predictions, confidence, scores
from preceptor.metrics.score_registry import find_score, known_scores
from preceptor.metrics.selective import Ranking
from tests.metrics.samples import answered

LOGITS, LABELS = answered(300, 5)
OUTPUTS = torch.cat([LOGITS, torch.randn(300, 1, generator=torch.Generator().manual_seed(9))], dim=1)
TEACHER, _ = answered(300, 5, seed=1)
ALL = Predictions(OUTPUTS, abstains=True, teacher=TEACHER)
OPTIONS = {"max_logit_p_norm": {"p": 3}, "energy": {"temperature": 2.0}}

EXPECTED = {
    "softmax_response": scores.softmax_response(LOGITS),
    "margin": scores.margin(LOGITS),
    "negative_entropy": scores.negative_entropy(LOGITS),
    "max_logit": scores.max_logit(LOGITS),
    "max_logit_p_norm": scores.max_logit_p_norm(LOGITS, 3),
    "energy": scores.energy(LOGITS, 2.0),
    "reservation": scores.reservation_confidence(OUTPUTS),
    "teacher_probability": scores.teacher_probability(LOGITS, TEACHER),
    "negative_teacher_kl": scores.negative_teacher_kl(LOGITS, TEACHER),
}


@pytest.mark.parametrize("name", SCORES)
def test_a_name_gives_its_score_of_the_real_classes(name):
    found = confidence(name, ALL, **OPTIONS.get(name, {}))
    assert torch.equal(found, EXPECTED[name])


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_found_by_its_name(name):
    assert find_score(name).name == name


@pytest.mark.parametrize("name", sorted(set(SCORES) - {"reservation", "negative_teacher_kl"}))
def test_right_answers_are_surer_than_wrong_ones(name):
    """Of networks that learned; the reservation is random here, and a divergence need not tell."""
    generator = torch.Generator().manual_seed(5)
    truth = 2 * torch.nn.functional.one_hot(LABELS, 5)
    student, teacher = truth + torch.randn(2, 300, 5, generator=generator, dtype=torch.float64)
    known = Predictions(student, teacher=teacher)
    found = confidence(name, known, **OPTIONS.get(name, {}))
    assert Ranking.of(found, known.prediction != LABELS).auroc() > 0.55


def test_a_reservation_that_grows_with_doubt_is_sure_where_it_is_small():
    uncertainty = -scores.softmax_response(LOGITS)[:, None]
    known = Predictions(torch.cat([LOGITS, LOGITS.amax(dim=1, keepdim=True) + 4 * uncertainty], dim=1), abstains=True)
    assert Ranking.of(confidence("reservation", known), known.prediction != LABELS).auroc() > 0.6


def test_what_can_be_computed_depends_on_what_is_known():
    plain = ["softmax_response", "margin", "negative_entropy", "max_logit", "energy"]
    assert known_scores(Predictions(LOGITS)) == plain
    assert known_scores(Predictions(OUTPUTS, abstains=True)) == [*plain, "reservation"]
    assert known_scores(Predictions(LOGITS, teacher=TEACHER)) == [*plain, "teacher_probability", "negative_teacher_kl"]
    assert known_scores(ALL) == [name for name in SCORES if name != "max_logit_p_norm"]


def test_some_of_the_answers():
    chosen = torch.arange(300) % 7 == 0
    some = ALL.of(chosen)
    assert torch.equal(some.prediction, ALL.prediction[chosen])
    for name in ("reservation", "teacher_probability"):
        assert torch.equal(confidence(name, some), confidence(name, ALL)[chosen])


def test_scores_carry_no_gradient():
    assert not confidence("margin", Predictions(LOGITS.clone().requires_grad_())).requires_grad


@pytest.mark.parametrize(
    ("name", "answers", "options", "message"),
    [
        ("softmax", ALL, {}, "unknown score 'softmax': did you mean 'softmax_response'"),
        ("reservation", Predictions(LOGITS), {}, "score reservation: needs a student whose head may abstain"),
        ("teacher_probability", Predictions(LOGITS), {}, "needs the teacher's logits"),
        ("energy", ALL, {"temprature": 2.0}, "unknown option of score energy 'temprature': did you mean 'temperature'"),
        ("margin", ALL, {"p": 2}, "unknown option of score margin 'p': known: none"),
        ("max_logit_p_norm", ALL, {}, "score max_logit_p_norm: p is missing; choose it on validation data"),
        ("energy", ALL, {"temperature": 0.0}, "temperature is 0.0; expected a number at least 1e-06"),
    ],
)
def test_the_error_names_what_a_score_lacks(name, answers, options, message):
    with pytest.raises(InputError, match=message) as raised:
        confidence(name, answers, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("teacher", [TEACHER[:-1], OUTPUTS])
def test_logits_that_do_not_fit_are_refused(teacher):
    with pytest.raises(InputError, match=r"but others of \[300, 5\]; expected the same samples and classes"):
        Predictions(LOGITS, teacher=teacher)
