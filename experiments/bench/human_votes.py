"""The audit of a real model's stored probabilities on CIFAR-100's test set, against the votes of people.

    python -m experiments.bench.features FOLDER
    python -m experiments.bench.human_votes --features FOLDER --labels FOLDER

The folder of labels holds ``cleanlab_cifar100_test_probs.npz`` (a model's probabilities) and
``cleanlab_cifar100_mturk.json.xz``: five people each were asked about 2,235 images on which that model contradicts the
label, whether they show the given class, the model's, both or neither. Counted are images on which at least three agree
on the given class or on the model's. The second opinion sees features of a network that was trained on ImageNet.
"""

import argparse
import json
import lzma
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench.common import RESULTS, table, write_json
from preceptor.audit import audit, write_audit
from preceptor.audit.verdicts import DEPTHS
from preceptor.context import VERDICTS
from preceptor.data import load_dataset
from preceptor.reports.audit_page import write_audit_page
from preceptor.run import resolve, versions

MAJORITY = 3


def votes(path: Path) -> dict[int, str]:
    """By position, "given" or "guessed" where a majority agrees on one of them."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        asked = json.load(file)
    leading = {one["id"]: max(one["mturk"], key=one["mturk"].get) for one in asked}
    return {
        one["id"]: leading[one["id"]]
        for one in asked
        if one["mturk"][leading[one["id"]]] >= MAJORITY and leading[one["id"]] in ("given", "guessed")
    }


def measure(features: Path, labels: Path, accuracy: float | None, folder: Path) -> dict[str, Any]:
    """The verdicts against the votes, the size of the page and the seconds it took."""
    data = load_dataset("cifar100")
    assert data.test is not None
    probabilities = np.load(labels / "cleanlab_cifar100_test_probs.npz")["cifar100"].astype(np.float32)
    np.save(folder / "teacher.npy", probabilities / probabilities.sum(axis=1, keepdims=True))
    np.savez(
        folder / "data.npz",
        train_images=data.test.images.permute(0, 2, 3, 1).numpy(),
        train_labels=data.test.labels.numpy(),
        class_names=np.array(data.class_names),
    )
    settings = {
        "data": f"arrays:{folder / 'data.npz'}",
        "teacher": str(folder / "teacher.npy"),
        "teacher_output": "probabilities",
        "recipe": "kd",
        "device": "cpu",
    }
    started = time.monotonic()
    result = audit(resolve(settings), opinion=str(features / "test.npy"), teacher_accuracy=accuracy)
    audited = time.monotonic()
    write_audit(result, folder / "audit")
    write_audit_page(result, folder / "audit" / "audit.html")
    known = votes(labels / "cleanlab_cifar100_mturk.json.xz")
    index = result.verdicts.index.tolist()
    depths: dict[str, Any] = {}
    for depth in DEPTHS:
        said = {position: VERDICTS[number] for position, number in zip(index, result.verdicts.at(depth), strict=True)}
        for name, truth in (("wrong_teacher", "given"), ("wrong_label", "guessed")):
            voted = [known[position] for position, verdict in said.items() if verdict == name and position in known]
            depths[f"{depth} {name}"] = {
                "verdicts": sum(verdict == name for verdict in said.values()),
                "voted_on": len(voted),
                "right": sum(vote == truth for vote in voted),
            }
    return {
        "teacher_accuracy_stated": accuracy,
        "disagreements": len(index),
        "base_rate": [result.verdicts.base_rate.low, result.verdicts.base_rate.high],
        "label_error": list(result.label_error),
        "depths": depths,
        "voted_given": sum(vote == "given" for vote in known.values()),
        "voted_guessed": sum(vote == "guessed" for vote in known.values()),
        "page_bytes": (folder / "audit" / "audit.html").stat().st_size,
        "seconds_of_the_audit": round(audited - started, 1),
        "seconds_of_the_files": round(time.monotonic() - audited, 1),
    }


def markdown(content: dict[str, Any]) -> str:
    """A row for each verdict, with and without a stated accuracy."""
    rows = []
    for one in content["audits"]:
        stated = one["teacher_accuracy_stated"]
        for name, counts in one["depths"].items():
            precision = f"{100 * counts['right'] / counts['voted_on']:.1f}" if counts["voted_on"] else "–"
            known = "bounds" if stated is None else f"accuracy {stated:.3f}"
            rows.append(
                [known, name.replace("_", " "), f"{counts['verdicts']:,}", f"{counts['voted_on']:,}", precision]
            )
    return table(["known", "verdict", "verdicts", "of these voted on", "right by the votes, %"], rows, names=2)


def main() -> None:
    """With nothing known, and with the teacher's accuracy after the votes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    arguments = parser.parse_args()
    audits = []
    # 69.3 % of the labels as they are, and the votes add 3.2 %.
    for accuracy in (None, 0.725):
        with tempfile.TemporaryDirectory() as folder:
            audits.append(measure(arguments.features, arguments.labels, accuracy, Path(folder)))
    content = {"kind": "human_votes", "audits": audits, "versions": versions()}
    write_json(content, RESULTS / "human-votes.json")
    print(markdown(content))


if __name__ == "__main__":
    main()
