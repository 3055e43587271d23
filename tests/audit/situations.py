"""Teachers and labels that err in known ways, on scikit-learn's digits: who is wrong is known for every sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from torch import Tensor

from preceptor.audit.verdicts import Verdicts
from preceptor.context import VERDICTS

NAMES = (
    "good teacher, noisy labels",
    "good teacher, look-alike labels",
    "exchanged classes, clean labels",
    "noisy teacher, clean labels",
    "both noisy",
    "exchanged classes, noisy labels",
    "good teacher, clean labels",
)

LOOK_ALIKE = {3: 8, 8: 3, 4: 9, 9: 4, 1: 7, 7: 1}
FITTED = 900


@dataclass(frozen=True)
class Situation:
    name: str
    teacher: Tensor
    opinion: Tensor
    labels: Tensor
    truth: Tensor

    @property
    def teacher_accuracy(self) -> float:
        return float((self.teacher.argmax(dim=1) == self.truth).double().mean())

    def shares(self, verdicts: Verdicts) -> tuple[float, float, float]:
        """Of the disagreements in which exactly one is wrong: judged rightly, wrongly, and not judged."""
        index, verdict = verdicts.index, verdicts.at("likely")
        teacher_wrong = self.labels[index] == self.truth[index]
        label_wrong = self.teacher.argmax(dim=1)[index] == self.truth[index]
        one = teacher_wrong | label_wrong
        said_teacher, said_label = (verdict == VERDICTS.index(side) for side in ("wrong_teacher", "wrong_label"))
        right = (said_teacher & teacher_wrong) | (said_label & label_wrong)
        wrong = (said_teacher & label_wrong) | (said_label & teacher_wrong)
        count = max(int(one.sum()), 1)
        judged = int(right.sum()) + int(wrong.sum())
        return int(right.sum()) / max(judged, 1), int(wrong.sum()) / count, 1 - judged / count


def uniform(labels: np.ndarray, rate: float, random: np.random.Generator) -> np.ndarray:
    hit = random.random(len(labels)) < rate
    return np.where(hit, (labels + random.integers(1, 10, len(labels))) % 10, labels)


def swapped(labels: np.ndarray, rate: float, random: np.random.Generator) -> np.ndarray:
    hit = random.random(len(labels)) < rate
    return np.where(hit, [LOOK_ALIKE.get(label, label) for label in labels], labels)


@cache
def situations(seed: int = 0) -> dict[str, Situation]:
    return {one.name: one for one in _situations(seed)}


def _situations(seed: int) -> Iterator[Situation]:
    images, labels = load_digits(return_X_y=True)
    images, random = images / 16, np.random.default_rng(seed)
    order = random.permutation(len(labels))
    own, audited = order[:FITTED], order[FITTED:]
    truth = labels[audited]

    def teacher(given: np.ndarray) -> np.ndarray:
        fitted = MLPClassifier((64,), max_iter=300, random_state=seed, tol=1e-3).fit(images[own], given)
        return fitted.predict_proba(images[audited])

    good, exchanged = teacher(labels[own]), teacher(swapped(labels[own], 0.6, random))
    noisy, noisier = teacher(uniform(labels[own], 0.2, random)), teacher(uniform(labels[own], 0.3, random))
    cases = [
        (good, uniform(truth, 0.2, random)),
        (good, swapped(truth, 0.2, random)),
        (exchanged, truth),
        (noisier, truth),
        (noisy, uniform(truth, 0.2, random)),
        (exchanged, uniform(truth, 0.2, random)),
        (good, truth),
    ]
    for name, (probabilities, given) in zip(NAMES, cases, strict=True):
        opinion = cross_val_predict(
            LogisticRegression(max_iter=300),
            images[audited],
            given,
            cv=StratifiedKFold(5, shuffle=True, random_state=seed),
            method="predict_proba",
        )
        tables = (torch.from_numpy(table) for table in (probabilities, opinion, given, truth))
        yield Situation(name, *tables)
