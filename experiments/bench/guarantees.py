"""Validity of the guarantees: a student on Fashion-MNIST, calibrated on many random sets of test images.

Calibration sets are drawn repeatedly from one student's predictions on the 10,000 test images; on each, a threshold,
thresholds by class or prediction sets are calibrated as by ``preceptor calibrate``. Risk is measured in two ways:

- Draws: calibration images are drawn with replacement from all 10,000, whose risk is then the true one. At most
  1 - confidence of the draws may break the guarantee, apart from chance.
- Splits: the risk is that on the images that do not calibrate. These are finite and have too many of the errors that
  the calibration images lack: they may break the guarantee more often.

Prediction sets guarantee a share of misses on average, so the mean over splits is compared with it.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, get_args

import torch
from jaxtyping import Bool, Int
from pydantic import BaseModel
from torch import Tensor

from experiments.bench.common import RESULTS
from preceptor.data import load_dataset
from preceptor.metrics import Predictions, RiskTarget, SetTarget
from preceptor.metrics.conformal import Method
from preceptor.metrics.decisions import decide, decide_sets, which_answered, which_classes
from preceptor.metrics.logits import network_logits
from preceptor.models import CalibrationSet, Decision, load_student
from preceptor.result_files import write_result
from preceptor.run import resolve, run, versions

DATA = "fashion-mnist"
STUDENT = {"student": "convnet16", "train_images": 10_000, "training.epochs": 6, "device": "cpu"}
SPLITS = 500
CALIBRATION, CALIBRATION_BY_CLASS = 2_000, 5_000
CONFIDENCE = 0.95
RISKS = (0.02, 0.05, 0.1)
SCORES = ("softmax_response", "margin", "negative_entropy", "max_logit", "energy")
ALPHAS = (0.1, 0.05)
UNLIKELY = 0.001
"""More broken guarantees than have this probability, were each broken as often as allowed, are more than chance."""
RESULT = RESULTS / "guarantees.json"


class Kept(BaseModel):
    """Guarantees of one kind.

    Attributes:
        score: by which the student abstains.
        thresholds: "one", or "joint" or "each" for those by class.
        max_risk: what was guaranteed, in every class where they are by class.
        calibration: images in each calibration set.
        splits: how many there were, and draws as well.
        guaranteed: on how many splits something could be guaranteed.
        broken: on how many draws the true risk exceeds what was guaranteed; by class, that of any class.
        allowed: broken guarantees that are within chance; None where nothing is guaranteed of all classes at once.
        broken_on_the_rest: on how many splits the risk of the rest exceeds what was guaranteed.
        coverage: of the rest, mean over the splits with a guarantee; None where there is none.
        risk: of the rest, likewise.
    """

    score: str
    thresholds: str
    max_risk: float
    calibration: int
    splits: int
    guaranteed: int
    broken: int
    allowed: int | None
    broken_on_the_rest: int
    coverage: float | None
    risk: float | None


class SetsKept(BaseModel):
    """Prediction sets of one kind.

    Attributes:
        method: of the sets.
        alpha: share of misses that was guaranteed on average.
        calibration: images in each calibration set.
        splits: how many were drawn.
        missed: share missed on the rest, mean over the splits.
        standard_error: of that mean.
        size: classes in a set, mean over the splits.
    """

    method: str
    alpha: float
    calibration: int
    splits: int
    missed: float
    standard_error: float
    size: float


class Guarantees(BaseModel):
    """The result file."""

    data: str
    student: dict[str, Any]
    images: int
    accuracy: float
    confidence: float
    unlikely: float
    seconds: float
    versions: dict[str, str]
    kept: list[Kept]
    sets: list[SetsKept]


@dataclass(frozen=True)
class Pool:
    """The images that calibration sets are drawn from, with the student's predictions."""

    predictions: Predictions
    labels: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Int[Tensor, " m"]) -> "Pool":
        return Pool(Predictions(self.predictions.outputs[index], self.predictions.abstains), self.labels[index])

    @cached_property
    def wrong(self) -> Bool[Tensor, " n"]:
        return self.predictions.prediction != self.labels

    @property
    def source(self) -> CalibrationSet:
        return CalibrationSet(data=DATA, part="test", samples=len(self), fingerprint="")


def predictions_of_a_student(settings: dict[str, Any]) -> Pool:
    """Train a student and predict every test image."""
    with tempfile.TemporaryDirectory() as folder:
        content = {"data": DATA, "recipe": "none"}
        run(resolve(content, settings.items()), Path(folder) / "student")
        network, card = load_student(Path(folder) / "student")
    test = load_dataset(DATA).test
    assert test is not None
    return Pool(Predictions(network_logits(network, card.normalization(), test.images), card.abstains), test.labels)


def random_splits(pool: Pool, calibration: int, splits: int, seed: int = 0) -> Iterator[tuple[Pool, Pool]]:
    """Calibration images and the rest, drawn anew each time."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(splits):
        order = torch.randperm(len(pool), generator=generator)
        yield pool.take(order[:calibration]), pool.take(order[calibration:])


def random_draws(pool: Pool, calibration: int, draws: int, seed: int = 0) -> Iterator[Pool]:
    """Calibration images, each drawn from all images."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        yield pool.take(torch.randint(len(pool), (calibration,), generator=generator))


def guarantees_kept(pool: Pool, target: RiskTarget, calibration: int, splits: int) -> Kept:
    """Calibrate on ``splits`` draws and as many splits, and count the broken guarantees."""
    drawn = (decision_on(chosen, target) for chosen in random_draws(pool, calibration, splits))
    broken = sum(risk_of(decision, pool)[0] for decision in drawn if decision is not None)
    divided = ((decision_on(chosen, target), rest) for chosen, rest in random_splits(pool, calibration, splits))
    outcomes = [risk_of(decision, rest) for decision, rest in divided if decision is not None]
    return Kept(
        score=target.score,
        thresholds="one" if not target.by_class else "joint" if target.joint else "each",
        max_risk=target.max_risk,
        calibration=calibration,
        splits=splits,
        guaranteed=len(outcomes),
        broken=broken,
        allowed=most_by_chance(splits, 1 - target.confidence) if target.joint or not target.by_class else None,
        broken_on_the_rest=sum(on_the_rest for on_the_rest, _, _ in outcomes),
        coverage=fmean(coverage for _, coverage, _ in outcomes) if outcomes else None,
        risk=fmean(risk for _, _, risk in outcomes) if outcomes else None,
    )


def decision_on(chosen: Pool, target: RiskTarget) -> Decision | None:
    return decide(chosen.predictions, chosen.labels, target, chosen.source).decision


def risk_of(decision: Decision, images: Pool) -> tuple[bool, float, float]:
    """Whether the risk exceeds the guarantee, by class in any of them; the coverage; the risk."""
    answered = which_answered(decision, images.predictions)
    by_class = decision.class_thresholds is not None
    group = images.predictions.prediction if by_class else torch.zeros_like(images.labels)
    classes = images.predictions.classes
    answers, errors = (group[chosen].bincount(minlength=classes) for chosen in (answered, answered & images.wrong))
    risk = float(errors.sum() / answers.sum().clamp(min=1))
    return bool((errors > decision.max_risk * answers).any()), float(answered.double().mean()), risk


def sets_kept(pool: Pool, method: Method, alpha: float, calibration: int, splits: int) -> SetsKept:
    """Calibrate prediction sets on every split, and see what they miss."""
    missed, sizes = [], []
    for chosen, rest in random_splits(pool, calibration, splits):
        sets = decide_sets(chosen.predictions, chosen.labels, SetTarget(method, alpha), chosen.source)
        inside = which_classes(sets, rest.predictions.class_logits)
        missed.append(1 - inside.gather(1, rest.labels[:, None]).double().mean())
        sizes.append(float(inside.sum(dim=1).double().mean()))
    shares = torch.stack(missed)
    return SetsKept(
        method=method,
        alpha=alpha,
        calibration=calibration,
        splits=splits,
        missed=float(shares.mean()),
        standard_error=float(shares.std() / splits**0.5),
        size=fmean(sizes),
    )


def most_by_chance(splits: int, share: float) -> int:
    """The most broken guarantees within chance, where each is broken with this probability."""
    from scipy.stats import binom

    return int(binom.isf(UNLIKELY, splits, share))


def measured(settings: dict[str, Any], splits: int) -> Guarantees:
    """Everything, in the order of the tables."""
    started, pool = time.perf_counter(), predictions_of_a_student(settings)
    targets = [RiskTarget(risk, CONFIDENCE, score) for risk in RISKS for score in SCORES]
    by_class = [
        RiskTarget(risk, CONFIDENCE, by_class=True, joint=joint) for risk in RISKS[1:] for joint in (True, False)
    ]
    return Guarantees(
        data=DATA,
        student=settings,
        images=len(pool),
        accuracy=1 - float(pool.wrong.double().mean()),
        confidence=CONFIDENCE,
        unlikely=UNLIKELY,
        kept=[guarantees_kept(pool, target, CALIBRATION, splits) for target in targets]
        + [guarantees_kept(pool, target, CALIBRATION_BY_CLASS, splits) for target in by_class],
        sets=[sets_kept(pool, method, alpha, CALIBRATION, splits) for alpha in ALPHAS for method in get_args(Method)],
        seconds=time.perf_counter() - started,
        versions=versions(),
    )


def markdown(content: dict[str, Any]) -> str:
    """The result file as tables."""
    result = Guarantees.model_validate(content)
    kept, sets = map(_kept_row, result.kept), map(_sets_row, result.sets)
    tables = ["\n".join([head.strip(), *rows]) for head, rows in ((KEPT, kept), (SETS, sets))]
    return "\n\n".join([*tables, _provenance(result)])


KEPT = """
| guaranteed risk | thresholds | score | splits with a guarantee | broken | within chance | broken on the rest | answered | wrong of these |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
"""  # noqa: E501
SETS = """
| guaranteed misses | sets | missed, mean | classes in a set, mean |
| --- | --- | ---: | ---: |
"""
THRESHOLDS = {"one": "one", "joint": "by class, all at once", "each": "by class, each by itself"}


def _kept_row(kept: Kept) -> str:
    counts = [kept.guaranteed, kept.broken, "–" if kept.allowed is None else kept.allowed, kept.broken_on_the_rest]
    shares = ["–" if share is None else f"{share:.1%}" for share in (kept.coverage, kept.risk)]
    cells = [f"{kept.max_risk:.0%}", THRESHOLDS[kept.thresholds], kept.score.replace("_", " "), *counts, *shares]
    return f"| {' | '.join(map(str, cells))} |"


def _sets_row(kept: SetsKept) -> str:
    return f"| {kept.alpha:.0%} | {kept.method} | {kept.missed:.2%} ± {kept.standard_error:.2%} | {kept.size:.2f} |"


def _provenance(result: Guarantees) -> str:
    splits, sizes = result.kept[0].splits, sorted({kept.calibration for kept in result.kept})
    machine = result.versions
    return (
        f"{splits:,} random splits of the {result.images:,} test images, of which {sizes[0]:,} calibrate"
        f" ({sizes[-1]:,} where thresholds are by class), at {result.confidence:.0%} confidence. The student"
        f" ({result.student['student']}, {result.student['train_images']:,} images, {result.student['training.epochs']}"
        f" epochs) is right on {result.accuracy:.1%}. Broken: of as many calibration sets drawn image by image from all"
        f" test images, whose risk is then the true one; more than stands under 'within chance' would have a chance"
        f" below {result.unlikely:.1%}. Broken on the rest: of the splits, with the noise of a finite rest."
        " ±: standard error over splits. Made by `python -m experiments.bench.guarantees`"
        f" in {result.seconds:.0f} s ({machine['machine']}, torch {machine['torch']})."
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    measurement = measured(STUDENT, SPLITS)
    write_result(measurement, RESULT)
    print(markdown(measurement.model_dump()))
