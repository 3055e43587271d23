"""What fitting the selection ``influence`` costs once the teacher's features are at hand, and how well it then ranks.

As many samples as CIFAR-100 has, 45,000 to train on and 5,000 held out, all of them made up. Each case runs in a
process of its own, so that its peak is its own, and is then compared with conjugate gradients that ran until they
converged; those count neither in its seconds nor in its peak. ``python benchmarks/influence.py`` writes
results/bench/influence.json.
"""

import json
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from scipy.stats import spearmanr

from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.run import versions
from preceptor.selections import Influence
from preceptor.selections.last_layer import TOLERANCE

THREADS = 2
TRAIN, HELD_OUT = 45_000, 5_000
CASES: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "100 classes: Kronecker-factored inverse alone": ((100, 256), {"steps": 0}),
    "100 classes: the default, with 20 steps": ((100, 256), {}),
    "10 classes: Kronecker-factored inverse alone": ((10, 408), {"exact_up_to": 0, "steps": 0}),
    "10 classes: with 20 steps": ((10, 408), {"exact_up_to": 0}),
    "10 classes: the default, exact, the largest that is": ((10, 408), {}),
}
UNTIL_CONVERGED = {"exact_up_to": 0, "steps": 10_000}
MOST_SECONDS, MOST_GIB = 120, 2
RESULT = Path(__file__).parents[1] / "results" / "bench" / "influence.json"


def made_up(classes: int, dimensions: int) -> SelectionData:
    """Features in clusters, one a class, and a linear layer that gets most of them right."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(classes, (TRAIN + HELD_OUT,), generator=generator)
    centers = torch.randn(classes, dimensions, generator=generator)
    features = torch.randn(TRAIN + HELD_OUT, dimensions, generator=generator).mul_(2).add_(centers[label]).relu_()
    weights = centers.relu() - centers.relu().mean(dim=0)
    logits = features @ weights.T * (8 / dimensions**0.5) / 4
    train, held_out = (ModelOutputs(logits[part], features[part]) for part in (slice(TRAIN), slice(TRAIN, None)))
    teacher = TeacherSnapshot(0.1, train, held_out)
    return SelectionData(
        torch.arange(TRAIN), label[:TRAIN], label[TRAIN:], (teacher,), has_bias=True, size=TRAIN + HELD_OUT
    )


def peak_gib() -> float:
    """The most memory this process has held so far; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def fitted(selection_data: SelectionData, options: dict[str, Any]) -> Influence:
    component = Influence(**options)
    component.fit(selection_data)
    return component


def measure(shape: tuple[int, int], options: dict[str, Any]) -> dict[str, object]:
    torch.set_num_threads(THREADS)
    selection_data = made_up(*shape)
    right = selection_data.teacher.train.logits.argmax(dim=1) == selection_data.label
    before, started = peak_gib(), time.perf_counter()
    component = fitted(selection_data, options)
    seconds, peak = time.perf_counter() - started, peak_gib()
    return {
        "classes": shape[0],
        "dimensions_with_bias": shape[1] + 1,
        "exact_up_to": component.exact_up_to,
        "steps": component.steps,
        "teacher_accuracy": float(right.float().mean()),
        "seconds": seconds,
        "peak_gib_of_the_process": peak,
        "peak_gib_before_the_fit": before,
        "taught": int(component.weight.sum()),
        **likeness(component, fitted(selection_data, UNTIL_CONVERGED), selection_data),
        "within_the_limits": seconds < MOST_SECONDS and peak < MOST_GIB,
    }


def likeness(component: Influence, converged: Influence, selection_data: SelectionData) -> dict[str, float]:
    found, expected = (each.scores[selection_data.index] for each in (component, converged))
    both = (component.weight > 0) & (converged.weight > 0)
    return {
        "spearman_with_the_converged": float(spearmanr(found, expected).statistic),
        "share_of_the_taught_that_the_converged_teaches": float(both.sum() / (component.weight > 0).sum()),
    }


def in_its_own_process(shape: tuple[int, int], options: dict[str, Any]) -> dict[str, object]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, shape, options).result()


def markdown(content: dict[str, Any]) -> str:
    """The result file as a table."""
    headings = [
        "selection `influence`",
        "seconds",
        "peak of the process, GiB",
        "rank correlation",
        "same samples taught, %",
    ]
    lines = [headings, ["---", *["---:"] * 4]]
    lines += [
        [
            name,
            f"{case['seconds']:.1f}",
            f"{case['peak_gib_of_the_process']:.2f}",
            f"{case['spearman_with_the_converged']:.3f}",
            f"{100 * case['share_of_the_taught_that_the_converged_teaches']:.1f}",
        ]
        for name, case in content["cases"].items()
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    versions = content["versions"]
    on = f"{versions['machine']}, {content['threads']} threads, torch {versions['torch']}"
    return (
        f"{table}\n\nFitted on {content['train']:,} samples for {content['held_out']:,} held out, made up. The last "
        "two columns compare with conjugate gradients that ran until they converged. Made by "
        f"`python benchmarks/influence.py` ({on})."
    )


if __name__ == "__main__":
    cases = {name: in_its_own_process(*case) for name, case in CASES.items()}
    result = {
        "train": TRAIN,
        "held_out": HELD_OUT,
        "threads": THREADS,
        "converged": {"most_steps": UNTIL_CONVERGED["steps"], "residual": TOLERANCE},
        "limits": {"seconds": MOST_SECONDS, "gib": MOST_GIB},
        "versions": versions(),
        "cases": cases,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))
