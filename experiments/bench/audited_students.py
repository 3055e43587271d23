"""Students taught with and without an audit, where labels, teacher or neither are wrong.

    python -m experiments.bench.features FOLDER
    python -m experiments.bench.audited_students --features FOLDER --labels FOLDER_OF_cifar100n.npz

The teacher is a small network on the features of 10,000 training images, fitted on their right or on their human
labels; the classes are CIFAR-100's 20 coarse ones, of whose human labels (CIFAR-100N) a quarter is wrong. The
students' 3,000 images are others; their labels are right or human. The audit knows the teacher's accuracy
on half of the test images, and has a second opinion on the features; students are convnet16 on pixels, tested on the
other half.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.bench.common import RESULTS, table, write_json
from preceptor.audit import audit, write_audit
from preceptor.context import VERDICTS
from preceptor.data import load_dataset
from preceptor.run import resolve, run, versions

SEEDS = (0, 1, 2)
STUDENTS, TEACHERS = 3_000, 10_000
TRAINING = {"epochs": 15, "batch_size": 64}
ARMS = ("none", "kd", "ka-ps", "ka-ps, audited", "lr", "lr, audited")
SETTINGS = {
    "right labels, teacher of right labels": (False, False),
    "human labels, teacher of right labels": (True, False),
    "human labels, teacher of human labels": (True, True),
}
"""By name: whether the students' labels, and the teacher's, are human ones."""

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Cifar:
    """CIFAR-100: pixels, features, right and human labels of the coarse classes."""

    images: NDArray[np.uint8]
    features: NDArray[np.float32]
    truth: Labels
    human: Labels
    test_images: NDArray[np.uint8]
    test_features: NDArray[np.float32]
    test_truth: Labels


def read(features: Path, labels: Path) -> Cifar:
    """Everything, of the training images as many as have features."""
    data = load_dataset("cifar100")
    assert data.test is not None
    train, test = (np.load(features / f"{name}.npy").astype(np.float32) for name in ("train", "test"))
    count, people = len(train), np.load(labels / "cifar100n.npz")
    coarse = np.zeros(100, dtype=np.int64)
    coarse[people["clean"]] = people["clean_coarse"]
    return Cifar(
        data.train.images[:count].permute(0, 2, 3, 1).numpy(),
        train,
        coarse[data.train.labels[:count]],
        people["noisy_coarse"][:count].astype(np.int64),
        data.test.images.permute(0, 2, 3, 1).numpy(),
        test,
        coarse[data.test.labels],
    )


def teacher(cifar: Cifar, own: NDArray[np.int64], human: bool, seed: int) -> Any:
    """A classifier of features, fitted on some of the training images."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), MLPClassifier((256,), max_iter=15, random_state=seed))
    return fitted.fit(cifar.features[own], (cifar.human if human else cifar.truth)[own])


def measure(cifar: Cifar, name: str, seed: int, folder: Path) -> dict[str, Any]:
    """One setting and seed: the verdicts, and every student's accuracy."""
    human_labels, human_teacher = SETTINGS[name]
    order = np.random.default_rng(seed).permutation(len(cifar.truth))
    own, judged = order[:TEACHERS], order[TEACHERS : TEACHERS + STUDENTS]
    known, tested = np.arange(0, len(cifar.test_truth), 2), np.arange(1, len(cifar.test_truth), 2)
    fitted = teacher(cifar, own, human_teacher, seed)
    probabilities = fitted.predict_proba(cifar.features[judged])
    accuracy = float((fitted.predict(cifar.test_features[known]) == cifar.test_truth[known]).mean())
    labels, truth = (cifar.human if human_labels else cifar.truth)[judged], cifar.truth[judged]
    np.save(folder / "teacher.npy", probabilities)
    np.save(folder / "features.npy", cifar.features[judged])
    np.savez(
        folder / "data.npz",
        train_images=cifar.images[judged],
        train_labels=labels,
        test_images=cifar.test_images[tested],
        test_labels=cifar.test_truth[tested],
    )
    settings = {
        "data": f"arrays:{folder / 'data.npz'}",
        "teacher": str(folder / "teacher.npy"),
        "teacher_output": "probabilities",
        "student": "convnet16",
        "training": TRAINING,
        "device": "cpu",
        "validation": 0,
        "seed": seed,
    }
    result = audit(
        resolve({**settings, "recipe": "kd"}), opinion=str(folder / "features.npy"), teacher_accuracy=accuracy
    )
    write_audit(result, folder / "audit")
    students = {}
    for arm in ARMS:
        recipe, _, audited = arm.partition(", ")
        config = {**settings, "recipe": recipe}
        if recipe == "none":
            config = {key: value for key, value in config.items() if not key.startswith("teacher")}
        if audited:
            config["audit"] = str(folder / "audit")
        test = run(resolve(config), folder / arm.replace(", ", "-")).test
        assert test is not None
        students[arm] = test.accuracy
        print(name, seed, arm, f"{test.accuracy:.4f}", flush=True)
    answer = probabilities.argmax(axis=1)
    return {
        "teacher_accuracy_on_these_images": float((answer == truth).mean()),
        "teacher_accuracy_known": accuracy,
        "wrong_labels": float((labels != truth).mean()),
        "verdicts": _verdicts(
            result.verdicts.index.numpy(), result.verdicts.at("likely").numpy(), answer, labels, truth
        ),
        "students": students,
    }


def _verdicts(index: Labels, verdict: Labels, answer: Labels, labels: Labels, truth: Labels) -> dict[str, float]:
    teacher_wrong = labels[index] == truth[index]
    label_wrong = answer[index] == truth[index]
    said_teacher, said_label = (verdict == VERDICTS.index(side) for side in ("wrong_teacher", "wrong_label"))
    right = int((said_teacher & teacher_wrong).sum() + (said_label & label_wrong).sum())
    wrong = int((said_teacher & label_wrong).sum() + (said_label & teacher_wrong).sum())
    one = max(int((teacher_wrong | label_wrong).sum()), 1)
    return {
        "disagreements": len(index),
        "teacher_wrong": int(teacher_wrong.sum()),
        "label_wrong": int(label_wrong.sum()),
        "right_of_judged": right / max(right + wrong, 1),
        "untold": 1 - (right + wrong) / one,
    }


def lines(content: dict[str, Any]) -> Iterator[list[str]]:
    """A row a setting: verdicts, and mean and deviation of every arm, in per cent."""
    for name, seeds in content["settings"].items():
        judged, untold = (fmean(seed["verdicts"][key] for seed in seeds) for key in ("right_of_judged", "untold"))
        arms = []
        for arm in ARMS:
            values = [100 * seed["students"][arm] for seed in seeds]
            arms.append(f"{fmean(values):.1f} ± {stdev(values):.1f}")
        yield [name, f"{100 * judged:.1f} ({100 * untold:.1f})", *arms]


def markdown(content: dict[str, Any]) -> str:
    """The table of a result file."""
    return table(["setting", "judged rightly (untold)", *ARMS], list(lines(content)))


def main() -> None:
    """Every setting and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    arguments = parser.parse_args()
    cifar = read(arguments.features, arguments.labels)
    torch.manual_seed(0)
    settings: dict[str, list[dict[str, Any]]] = {}
    for seed in SEEDS:
        for name in SETTINGS:
            with tempfile.TemporaryDirectory() as folder:
                settings.setdefault(name, []).append(measure(cifar, name, seed, Path(folder)))
            content = {"kind": "audited_students", "seeds": list(SEEDS), "settings": settings, "versions": versions()}
            write_json(content, RESULTS / "audited-students.json")
    print(markdown(content))


if __name__ == "__main__":
    main()
