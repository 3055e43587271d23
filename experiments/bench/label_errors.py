"""How many wrong labels are found when as many are looked at as there are: CIFAR-100N's human labels.

    python -m experiments.bench.features FOLDER
    python -m experiments.bench.label_errors --features FOLDER --labels FOLDER_OF_cifar100n.npz

10,000 images with human labels, 40 % of them wrong; a teacher fitted on other images' right labels, or on their human
ones, and a second opinion on the same features, as in ``experiments.bench.verdicts``. Images are ranked by the audit's
probability that the label is wrong (where teacher and label agree, after all disagreements, by the teacher's
probability of the label), and by how improbable the label is to the teacher, to the second opinion or to both.
"""

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.bench.common import RESULTS, table, write_json
from experiments.bench.verdicts import SEEDS, Source, cifar100
from preceptor.audit.verdicts import judge
from preceptor.compare.crossfit import FOLDS, crossfit_classifier
from preceptor.data import folds
from preceptor.metrics.label_errors import find_label_issues
from preceptor.run import versions

TEACHERS = {"of right labels": False, "of human labels": True}


def measure(source: Source, human_teacher: bool, seed: int) -> dict[str, Any]:
    """The share of the wrong labels that each ranking finds within the budget, and what confident learning finds."""
    assert source.human is not None
    labeled = np.random.default_rng(seed).permutation(np.flatnonzero(source.human >= 0))
    own, judged = labeled[: source.judged], labeled[-source.judged :]
    labels, truth = source.human[judged], source.truth[judged]
    features = source.features[judged]
    fitted = source.teacher(seed).fit(
        source.features[own].numpy(), (source.human if human_teacher else source.truth)[own]
    )
    teacher = torch.from_numpy(fitted.predict_proba(features.numpy()))
    given = torch.from_numpy(labels)
    opinion = crossfit_classifier(source.opinion, features, given, teacher.shape[1], folds(given, FOLDS, seed))
    accuracy = float((teacher.argmax(dim=1).numpy() == truth).mean())
    wrong, rows = labels != truth, np.arange(len(labels))
    of_teacher, of_opinion = (np.log(one.numpy()[rows, labels] + 1e-6) for one in (teacher, opinion))
    verdicts = judge(teacher, [opinion], torch.from_numpy(labels), teacher_accuracy=accuracy, seed=seed)
    audited = of_teacher.min() - 1 - of_teacher  # below 0: agreements, after every disagreement
    audited[verdicts.index.numpy()] = verdicts.label_wrong.numpy()
    rankings = {
        "audit": audited,
        "teacher": -of_teacher,
        "second opinion": -of_opinion,
        "both": -of_teacher - of_opinion,
    }
    budget = int(wrong.sum())
    content: dict[str, Any] = {name: float(wrong[np.argsort(-one)[:budget]].mean()) for name, one in rankings.items()}
    for name, table_of in (("teacher", teacher), ("second opinion", opinion)):
        for depth in ("sure", "worth_a_look"):
            issues = find_label_issues(torch.from_numpy(labels), table_of, depth).numpy()  # type: ignore[arg-type]
            content[f"confident learning, {name}, {depth}"] = _precision_recall(issues, wrong)
    return {"wrong_labels": float(wrong.mean()), "teacher_accuracy": accuracy, **content}


def _precision_recall(found: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> list[float]:
    return [float(wrong[found].mean()), float(found[wrong].mean())]


def markdown(content: dict[str, Any]) -> str:
    """A row a way of looking: precision and recall, in per cent; within the budget they are equal."""
    rows = []
    for name in next(iter(content["teachers"].values()))[0]:
        if name in ("wrong_labels", "teacher_accuracy"):
            continue
        cells = []
        for seeds in content["teachers"].values():
            pairs = [seed[name] if isinstance(seed[name], list) else [seed[name]] * 2 for seed in seeds]
            cells += [f"{100 * fmean(pair[place] for pair in pairs):.1f}" for place in (0, 1)]
        rows.append([name.replace("_", " "), *cells])
    heading = [f"teacher {name}: {what}" for name in content["teachers"] for what in ("precision", "recall")]
    return table(["looked at", *heading], rows)


def main() -> None:
    """Both teachers, every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    arguments = parser.parse_args()
    source = cifar100(arguments.features, arguments.labels)
    teachers = {name: [measure(source, human, seed) for seed in SEEDS] for name, human in TEACHERS.items()}
    content = {"kind": "label_errors", "teachers": teachers, "versions": versions()}
    write_json(content, RESULTS / "label-errors.json")
    print(markdown(content))


if __name__ == "__main__":
    main()
