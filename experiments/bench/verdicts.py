"""How many disagreements of teacher and label the audit judges rightly, where it is known who is wrong.

    python -m experiments.bench.verdicts digits fashion-mnist
    python -m experiments.bench.verdicts cifar100 --features FOLDER

A teacher is fitted on one part of the images and judged on another; labels are made wrong by chance. Beside the audit's
verdicts stand rules without a second opinion (always the teacher, always the label, the teacher's confidence), and the
second opinion alone, which sides with whichever class it finds more probable. Counted are disagreements in which
exactly one of the two is wrong.

CIFAR-100's teacher and second opinion see features, not pixels: ``train.npy`` and ``test.npy`` in the folder, made by
``python -m experiments.bench.features`` from an EfficientNet-Lite0 that was trained on ImageNet.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.bench.common import RESULTS, table, write_json
from preceptor.audit.verdicts import Verdicts, judge
from preceptor.compare.crossfit import FOLDS, crossfit_classifier
from preceptor.context import VERDICTS
from preceptor.data import folds, load_dataset
from preceptor.run import versions

SEEDS = (0, 1, 2)
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """Images as features, and how they are used.

    Attributes:
        features: a row an image.
        truth: right labels.
        human: labels of human annotators for some images; -1 elsewhere.
        fitted: number of images a teacher is fitted on.
        judged: number of others on which it is judged.
        pairs: classes that are taken for each other.
        teacher: makes a classifier of some capacity.
        opinion: makes the second opinion's.
    """

    features: Tensor
    truth: Labels
    human: Labels | None
    fitted: int
    judged: int
    pairs: tuple[tuple[int, int], ...]
    teacher: Callable[[int], Any]
    opinion: Callable[[], Any]


@dataclass(frozen=True)
class Situation:
    """A teacher's probabilities and given labels on the same images."""

    name: str
    teacher: Tensor
    labels: Labels
    truth: Labels
    features: Tensor


def digits() -> Source:
    """Pixels; as in the tests."""
    data = load_dataset("digits")
    assert data.test is not None
    images = torch.cat([data.train.images, data.test.images]).flatten(1).double() / 255
    truth = torch.cat([data.train.labels, data.test.labels]).numpy()
    return Source(images, truth, None, 900, 897, ((3, 8), (4, 9), (1, 7)), _network(64), _logistic())


def fashion() -> Source:
    """Pixels of Fashion-MNIST."""
    data = load_dataset("fashion-mnist")
    assert data.test is not None
    images = torch.cat([data.train.images[:10_000], data.test.images]).flatten(1).double() / 255
    truth = torch.cat([data.train.labels[:10_000], data.test.labels]).numpy()
    return Source(images, truth, None, 10_000, 5_000, ((0, 6), (2, 4), (7, 9)), _network(128), _logistic())


def cifar100(folder: Path, labels: Path) -> Source:
    """Features of CIFAR-100, with the human labels of CIFAR-100N for the training images."""
    from sklearn.decomposition import PCA

    train, test = (np.load(folder / f"{name}.npy").astype(np.float32) for name in ("train", "test"))
    human = np.load(labels / "cifar100n.npz")
    data = load_dataset("cifar100")
    assert data.test is not None
    shown = np.concatenate([test, train])
    features = PCA(128, whiten=True, random_state=0).fit_transform(shown)
    truth = torch.cat([data.test.labels, data.train.labels[: len(train)]]).numpy()
    noisy = np.concatenate([np.full(len(test), -1), human["noisy"][: len(train)].astype(np.int64)])
    pairs = (
        (47, 52),
        (35, 98),
        (11, 46),
        (59, 96),
        (26, 45),
    )  # maple/oak, girl/woman, boy/man, pine/willow, crab/lobster
    return Source(torch.from_numpy(features).double(), truth, noisy, 10_000, 10_000, pairs, _network(256), _logistic())


def _network(hidden: int) -> Callable[[int], Any]:
    from sklearn.neural_network import MLPClassifier

    return lambda seed: MLPClassifier((hidden,), max_iter=60, early_stopping=False, random_state=seed)


def _logistic() -> Callable[[], Any]:
    from sklearn.linear_model import LogisticRegression

    return lambda: LogisticRegression(C=0.1, max_iter=200, tol=1e-3)


def situations(source: Source, seed: int) -> Iterator[Situation]:
    """Each with another fault in teacher, labels or both."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(source.truth))
    if source.human is not None:  # judged are images with human labels
        order = np.concatenate([order[source.human[order] < 0], order[source.human[order] >= 0]])
    own, judged = order[: source.fitted], order[-source.judged :]
    truth, features = source.truth[judged], source.features[judged]
    classes = int(source.truth.max()) + 1

    def noisy(labels: Labels, rate: float) -> Labels:
        hit = random.random(len(labels)) < rate
        return np.where(hit, (labels + random.integers(1, classes, len(labels))) % classes, labels)

    def swapped(labels: Labels, rate: float) -> Labels:
        other = np.arange(classes)
        for first, second in source.pairs:
            other[first], other[second] = second, first
        return np.where(random.random(len(labels)) < rate, other[labels], labels)

    def teacher(given: Labels, on: NDArray[np.int64] = own) -> Tensor:
        fitted = source.teacher(seed).fit(source.features[on].numpy(), given)
        return torch.from_numpy(fitted.predict_proba(features.numpy()))

    good, exchanged = teacher(source.truth[own]), teacher(swapped(source.truth[own], 0.6))
    noise, more = teacher(noisy(source.truth[own], 0.2)), teacher(noisy(source.truth[own], 0.3))
    cases = {
        "good teacher, clean labels": (good, truth),
        "good teacher, 20 % of labels random": (good, noisy(truth, 0.2)),
        "good teacher, 20 % of look-alikes swapped": (good, swapped(truth, 0.2)),
        "teacher learned swapped look-alikes, clean labels": (exchanged, truth),
        "teacher learned 30 % random labels, clean labels": (more, truth),
        "teacher and labels 20 % random": (noise, noisy(truth, 0.2)),
        "teacher learned swapped look-alikes, 20 % of labels random": (exchanged, noisy(truth, 0.2)),
    }
    if source.human is not None:
        human, others = source.human[judged], order[-2 * source.judged : -source.judged]
        cases |= {
            "good teacher, human labels": (good, human),
            "teacher of these very images, human labels": (teacher(truth, judged), human),
            "teacher learned swapped look-alikes, human labels": (exchanged, human),
            "teacher learned human labels, clean labels": (teacher(source.human[others], others), truth),
        }
    for name, (probabilities, labels) in cases.items():
        yield Situation(name, probabilities, labels, truth, features)


def measure(situation: Situation, source: Source, seed: int) -> dict[str, Any]:
    """The share judged rightly by every rule, and of the audit's verdicts what was not judged and what was wrong."""
    labels = torch.from_numpy(situation.labels)
    classes = situation.teacher.shape[1]
    opinion = crossfit_classifier(source.opinion, situation.features, labels, classes, folds(labels, FOLDS, seed))
    answer = situation.teacher.argmax(dim=1).numpy()
    teacher_wrong = (situation.labels == situation.truth) & (answer != situation.labels)
    label_wrong = (answer == situation.truth) & (answer != situation.labels)
    one = teacher_wrong | label_wrong
    rows = np.arange(len(labels))
    confident = situation.teacher.amax(dim=1).numpy() >= 0.7
    sides = opinion.numpy()[rows, answer] > opinion.numpy()[rows, situation.labels]
    accuracy = float((answer == situation.truth).mean())
    numbers: dict[str, Any] = {
        "teacher_wrong": int(teacher_wrong.sum()),
        "label_wrong": int(label_wrong.sum()),
        "teacher_accuracy": accuracy,
        "second_opinion_accuracy": float((opinion.argmax(dim=1).numpy() == situation.truth).mean()),
        "always_teacher_wrong": float(teacher_wrong[one].mean()),
        "always_label_wrong": float(label_wrong[one].mean()),
        "confidence": float((confident == label_wrong)[one].mean()),
        "second_opinion": float((sides == label_wrong)[one].mean()),
    }
    for name, known in (("with_accuracy", accuracy), ("without", None)):
        verdicts = judge(situation.teacher, [opinion], labels, teacher_accuracy=known, seed=seed)
        numbers[name] = _shares(verdicts, teacher_wrong, label_wrong)
    return numbers


def _shares(verdicts: Verdicts, teacher_wrong: NDArray[np.bool_], label_wrong: NDArray[np.bool_]) -> dict[str, float]:
    index = verdicts.index.numpy()
    teacher, label = teacher_wrong[index], label_wrong[index]
    shares = {"low": verdicts.base_rate.low, "high": verdicts.base_rate.high}
    for depth in ("sure", "likely"):
        verdict = verdicts.at(depth).numpy()  # type: ignore[arg-type]
        said_teacher, said_label = (verdict == VERDICTS.index(side) for side in ("wrong_teacher", "wrong_label"))
        right = int(((said_teacher & teacher) | (said_label & label)).sum())
        wrong = int(((said_teacher & label) | (said_label & teacher)).sum())
        count = max(int((teacher | label).sum()), 1)
        shares |= {
            f"{depth}_right_of_judged": right / max(right + wrong, 1),
            f"{depth}_wrong": wrong / count,
            f"{depth}_untold": 1 - (right + wrong) / count,
        }
    return shares


def run(name: str, source: Source) -> dict[str, Any]:
    """Every situation and seed."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for seed in SEEDS:
        for situation in situations(source, seed):
            rows.setdefault(situation.name, []).append(measure(situation, source, seed))
            print(name, seed, situation.name, rows[situation.name][-1]["with_accuracy"], flush=True)
    return {"kind": "verdicts", "data": name, "seeds": list(SEEDS), "situations": rows, "versions": versions()}


def markdown(content: Mapping[str, Any]) -> str:
    """Means over the seeds, in per cent."""
    heading = [
        "situation",
        "teacher / label wrong",
        "always the teacher",
        "always the label",
        "confidence",
        "second opinion",
        "accuracy known, likely: right of judged (untold)",
        "nothing known, sure: wrong (untold)",
    ]
    lines = []
    for name, seeds in content["situations"].items():

        def mean(*keys: str, seeds: Any = seeds) -> str:
            values = list(seeds)
            for key in keys:
                values = [value[key] for value in values]
            return f"{100 * fmean(values):.1f}"

        lines.append(
            [
                name,
                f"{fmean(s['teacher_wrong'] for s in seeds):.0f} / {fmean(s['label_wrong'] for s in seeds):.0f}",
                *(mean(key) for key in ("always_teacher_wrong", "always_label_wrong", "confidence", "second_opinion")),
                f"{mean('with_accuracy', 'likely_right_of_judged')} ({mean('with_accuracy', 'likely_untold')})",
                f"{mean('without', 'sure_wrong')} ({mean('without', 'sure_untold')})",
            ]
        )
    return table(heading, lines)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", choices=["digits", "fashion-mnist", "cifar100"])
    parser.add_argument("--features", type=Path, help="folder of train.npy and test.npy, for cifar100")
    parser.add_argument("--labels", type=Path, help="folder of cifar100n.npz")
    arguments = parser.parse_args()
    sources = {
        "digits": digits,
        "fashion-mnist": fashion,
        "cifar100": lambda: cifar100(arguments.features, arguments.labels),
    }
    for name in arguments.data:
        content = run(name, sources[name]())
        write_json(content, RESULTS / f"verdicts-{name}.json")
        print(markdown(content))


if __name__ == "__main__":
    main()
