"""The four systems, alone and joined to methods of the field, on a subset of CIFAR-100.

    python -m experiments.bench.joined_systems --data-root DATA --out FOLDER

Runs protocol ``cifar100-two-cores``, at most two hours of two cores a pair. Called again, it goes on where it was
stopped.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.bench.common import RESULTS, table, write_json
from preceptor.compare.answers import read_answers
from preceptor.compare.comparison_result import RESULT_FILE, ArmResult, ComparisonResult
from preceptor.compare.differences import corrected_differences
from preceptor.compare.format import points
from preceptor.data import load_dataset
from preceptor.protocols import read_protocol
from preceptor.protocols.running import LABELS_ALONE, run_protocol
from preceptor.result_files import read_result
from preceptor.run import versions

RESULT = RESULTS / "joined_systems.json"
PROTOCOL = "cifar100-two-cores"
METHODS = {"KD": "kd", "DKD": "dkd", "standardized KD": "kd-lsk", "AT": "at"}
SYSTEMS = {
    "label revision, data selection": ("lr-ds", "lr-ds+dkd", "lr-ds-lsk", "lr-ds+at"),
    "knowledge adjustment, dynamic temperature": ("ka-dtd", "ka-dtd+dkd", "ka-lsk", "ka-dtd+at"),
    "correlation matching": ("cmkd", "cmkd+dkd", "cmkd-lsk", "cmkd+at"),
    "precise teacher, abstaining student": (
        "precise-abstain-b",
        "precise-abstain-b+dkd",
        "precise-abstain-b-lsk",
        "precise-abstain-b+at",
    ),
}
"""By system, its recipes: beside KD, and joined to each of the other methods."""


def markdown(content: dict[str, Any]) -> str:
    """For every pair a table of accuracies with their differences to the method alone, and one of AURC."""
    heading = ["", "alone (method: KD)", *(f"with {name}" for name in list(METHODS)[1:])]
    parts = []
    for pair, result in content["pairs"].items():
        arms, teacher = result["arms"], result["teacher"]
        accuracies, rankings = [["the method alone"]], [["the method alone"]]
        for one in METHODS.values():
            accuracies[0].append(_accuracy(arms[one]))
            rankings[0].append(f"{arms[one]['aurc']:.3f}")
        for system, recipes in SYSTEMS.items():
            accuracies.append([system, *(f"{_accuracy(arms[one])}<br>{_difference(arms[one])}" for one in recipes)])
            rankings.append([system, *(f"{arms[one]['aurc']:.3f}" for one in recipes)])
        parts += [
            f"**{pair}**: accuracy, %, and its difference to the method alone, points. The teacher is right on "
            f"{100 * teacher:.1f} % of the test images, labels alone on {_accuracy(arms[LABELS_ALONE])}.",
            table(heading, accuracies),
            "AURC (mean; lower is better), by the largest probability",
            table(heading, rankings),
            f"Mean and deviation over {result['seeds']} seeds on {content['samples']:,} test images, after the last "
            "epoch; paired differences, the four of a column with intervals that hold together in 95 % of such "
            f"columns. Made by `python -m experiments.bench.joined_systems` ({content['versions']['machine']}, torch "
            f"{content['versions']['torch']}).",
        ]
    return "\n\n".join(parts)


def _accuracy(arm: dict[str, Any]) -> str:
    return f"{100 * arm['mean']:.2f} ± {100 * arm['deviation']:.2f}"


def _difference(arm: dict[str, Any]) -> str:
    low, high = arm["interval"]
    text = f"{points(arm['difference'])} [{points(low)}, {points(high)}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def main() -> None:
    """Train what is missing and write the result file, after every pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="folder of CIFAR-100")
    parser.add_argument("--out", type=Path, required=True, help="folder that everything is kept in")
    parser.add_argument("--pairs", nargs="+", default=[], help="others stay in the result file (default: all anew)")
    parser.add_argument("--seeds", type=int, help="default the protocol's")
    parser.add_argument("--jobs", type=int, default=None, help="students at a time")
    arguments = parser.parse_args()
    protocol = read_protocol(PROTOCOL)
    settings = {"data_root": arguments.data_root, "device": "cpu"}
    test = load_dataset("cifar100", root=arguments.data_root).test
    assert test is not None, "CIFAR-100 has one"
    labels = test.labels
    content: dict[str, Any] = {"samples": len(labels), "pairs": {}, "versions": versions()}
    if arguments.pairs and RESULT.exists():
        content["pairs"] = json.loads(RESULT.read_text())["pairs"]
    for pair in protocol.chosen(arguments.pairs):
        chosen = {"pairs": [pair.name], "seeds": arguments.seeds, "jobs": arguments.jobs}
        run_protocol(PROTOCOL, protocol, arguments.out, settings=settings, **chosen)
        content["pairs"][f"{pair.teacher} to {pair.student}"] = _pair(arguments.out / pair.name, labels)
        write_json(content, RESULT)
    print(markdown(content))


def _pair(folder: Path, labels: Tensor) -> dict[str, Any]:
    """What the students of a pair's comparison are right on, joined recipes against the method that they join."""
    result = read_result(ComparisonResult, folder / RESULT_FILE)
    by_name = {arm.recipe: arm for arm in result.arms}
    arms: dict[str, dict[str, Any]] = {
        name: {"mean": arm.accuracy.mean, "deviation": arm.accuracy.deviation, "aurc": arm.aurc.mean}
        for name, arm in by_name.items()
    }
    for number, method in enumerate(METHODS.values()):
        joined = [recipes[number] for recipes in SYSTEMS.values()]
        right = {name: _right(folder, by_name[name], labels) for name in (method, *joined)}
        for name, one in corrected_differences(right, method).items():
            arms[name] |= {"difference": one.mean, "interval": [one.low, one.high]}
    return {"teacher": result.teachers[0].accuracy, "seeds": len(result.arms[0].accuracy.values), "arms": arms}


def _right(folder: Path, arm: ArmResult, labels: Tensor) -> Tensor:
    """Whether the student of a seed is right on a test image."""
    seeds = [read_answers(folder / run, len(labels)) for run in arm.folders]
    return torch.stack([one.predicted == labels for one in seeds if one is not None])


if __name__ == "__main__":
    main()
