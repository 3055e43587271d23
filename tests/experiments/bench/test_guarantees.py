"""The guarantees of ``preceptor calibrate`` over random calibration sets, and how broken ones are counted."""

import os
from pathlib import Path

import pytest
import torch

from experiments.bench import guarantees
from preceptor.metrics import Predictions, RiskTarget
from preceptor.models import CalibrationSet, Decision, SetDecision

ROOT = Path(os.environ.get("PRECEPTOR_DATA", "/nowhere"))
SPLITS = 200
IMAGES = 4000
SMALL = {
    "student": "convnet8",
    "train_images": 3000,
    "validation": 0.01,
    "training.epochs": 4,
    "training.batch_size": 32,
    "augment": False,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def fashion() -> guarantees.Pool:
    """What a student that learned for seconds says of 4,000 test images."""
    pool = guarantees.predictions_of_a_student(SMALL).take(torch.arange(IMAGES))
    assert 0.6 < 1 - float(pool.wrong.double().mean()) < 0.95
    return pool


real_data = pytest.mark.skipif(not (ROOT / "FashionMNIST").is_dir(), reason="PRECEPTOR_DATA holds no Fashion-MNIST")


@pytest.mark.real_data
@real_data
@pytest.mark.parametrize(
    "target",
    [RiskTarget(0.1, 0.9), RiskTarget(0.2, 0.8, by_class=True)],
    ids=["one threshold", "every class at once"],
)
def test_of_200_calibration_sets_no_more_break_their_guarantee_than_is_allowed(fashion, target):
    """The true risk of a draw is known. One in ten or five of 200 guarantees may be broken, and by chance a few more:
    ``most_by_chance`` are exceeded once in a thousand such tests, were so many truly broken."""
    kept = guarantees.guarantees_kept(fashion, target, 1500, SPLITS)
    assert kept.guaranteed > 0.9 * SPLITS
    assert kept.coverage > 0.2
    assert kept.broken <= kept.allowed
    assert kept.risk < target.max_risk


@pytest.mark.real_data
@real_data
@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_over_200_splits_prediction_sets_miss_no_more_than_is_guaranteed(fashion, method):
    """A mean over splits, so of a normal distribution: three standard errors are exceeded once in 700 such tests."""
    kept = guarantees.sets_kept(fashion, method, 0.1, 500, SPLITS)
    assert kept.missed <= 0.1 + 3 * kept.standard_error
    assert 1 <= kept.size < 5


def pool(seed: int = 0, n: int = 600) -> guarantees.Pool:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=generator)
    logits = torch.randn(n, 3, generator=generator)
    logits[torch.arange(n), labels] += 2
    return guarantees.Pool(Predictions(logits), labels)


SOURCE = CalibrationSet(data="made up", part="all", samples=1, fingerprint="")


def decision(**changes) -> Decision:
    given = {"score": "margin", "max_risk": 0.5, "confidence": 0.95, "coverage": 1.0, "risk": 0.0, **changes}
    return Decision(calibrated_on=SOURCE, **given)


def test_what_is_counted_as_broken():
    """Six images by margin: of class 0 one of two answers is wrong, of class 1 two of three."""
    prediction, labels = torch.tensor([0, 0, 1, 1, 1, 1]), torch.tensor([0, 1, 0, 0, 1, 1])
    logits = torch.nn.functional.one_hot(prediction, 2) * torch.tensor([2, 2, 2, 2, 2, 0.5])[:, None]
    images = guarantees.Pool(Predictions(logits), labels)
    for max_risk, broken in [(0.5, True), (0.6, False)]:
        found = guarantees.risk_of(decision(threshold=0.6, max_risk=max_risk), images)
        assert found == (broken, pytest.approx(5 / 6), pytest.approx(3 / 5))
    by_class = decision(class_thresholds=(0.6, None), joint=True)
    assert guarantees.risk_of(by_class, images) == (False, pytest.approx(2 / 6), 0.5)
    by_class = decision(class_thresholds=(0.6, 0.6), joint=True, max_risk=0.6)
    assert guarantees.risk_of(by_class, images) == (True, pytest.approx(5 / 6), pytest.approx(3 / 5))
    assert guarantees.risk_of(decision(threshold=9.0), images) == (False, 0, 0)


def test_guarantees_that_are_careless_are_found_broken(monkeypatch):
    """A threshold at the error rate seen, without a margin, is broken on about half of the draws."""

    def careless(answers, labels, target, source):
        class Outcome:
            decision = guarantees.Decision(
                score="margin",
                threshold=-1.0,
                max_risk=float((answers.prediction != labels).double().mean()),
                confidence=0.95,
                coverage=1,
                risk=0,
                calibrated_on=source,
            )

        return Outcome

    monkeypatch.setattr(guarantees, "decide", careless)
    kept = guarantees.guarantees_kept(pool(), RiskTarget(0.1), 100, 60)
    assert kept.broken > kept.allowed
    assert kept.broken_on_the_rest > kept.allowed


def test_sets_that_are_too_small_are_found_to_miss(monkeypatch):
    def careless(answers, labels, target, source):
        return SetDecision(method=target.method, alpha=target.alpha, threshold=0.0, calibrated_on=source)

    monkeypatch.setattr(guarantees, "decide_sets", careless)
    kept = guarantees.sets_kept(pool(), "lac", 0.05, 100, 20)
    assert kept.size == 1
    assert kept.missed > 0.05 + 3 * kept.standard_error


def test_splits_divide_and_draws_repeat():
    images = pool(n=50)
    for chosen, rest in guarantees.random_splits(images, 20, 3):
        assert (len(chosen), len(rest)) == (20, 30)
        both = torch.cat([chosen.predictions.outputs, rest.predictions.outputs])
        assert torch.equal(both.sort(dim=0).values, images.predictions.outputs.sort(dim=0).values)
    draws = list(guarantees.random_draws(images, 50, 2))
    assert all(len(draw.predictions.outputs.unique(dim=0)) < 50 for draw in draws)
    assert not torch.equal(draws[0].labels, draws[1].labels)


def test_the_result_is_shown_row_by_row():
    images = pool()
    targets = [RiskTarget(0.2), RiskTarget(0.001), RiskTarget(0.3, by_class=True, joint=False)]
    result = guarantees.Guarantees(
        data="fashion-mnist",
        student={"student": "convnet4", "train_images": 2000, "training.epochs": 3},
        images=len(images),
        accuracy=0.75,
        confidence=0.95,
        unlikely=guarantees.UNLIKELY,
        seconds=2.4,
        versions={"machine": "x86_64, 2 cores, no GPU", "torch": "2.13"},
        kept=[guarantees.guarantees_kept(images, target, 200, 10) for target in targets],
        sets=[guarantees.sets_kept(images, "aps", 0.1, 200, 10)],
    )
    shown = guarantees.markdown(result.model_dump(mode="json"))
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3 + 2 + 1
    assert rows[2].startswith("| 20% | one | softmax response | 10 | ")
    assert rows[3] == "| 0% | one | softmax response | 0 | 0 | 4 | 0 | – | – |"
    assert rows[4].startswith("| 30% | by class, each by itself | softmax response | ")
    assert rows[7].startswith("| 10% | aps | ")
    assert "10 random splits of the 600 test images, of which 200 calibrate" in shown
