"""Cost of fitting the selection ``influence`` to ready features, and the quality of its ranking.

As many samples as CIFAR-100 has, 45,000 to train on and 5,000 held out, all random. Each case runs in a process of its
own and is then compared with converged conjugate gradients, which count neither in its seconds nor in its peak.
"""

import time
from typing import Any

import torch
from scipy.stats import spearmanr

from experiments.bench.common import GIB, RESULTS, in_its_own_process, table, write_json
from experiments.speed.machine import peak_bytes
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.run import versions
from preceptor.selections import Influence
from preceptor.selections.last_layer import TOLERANCE

CPU = torch.device("cpu")
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
RESULT = RESULTS / "influence.json"


def random_selection_data(classes: int, dimensions: int) -> SelectionData:
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


def fitted(selection_data: SelectionData, options: dict[str, Any]) -> Influence:
    component = Influence(**options)
    component.fit(selection_data)
    return component


def measure(shape: tuple[int, int], options: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(THREADS)
    selection_data = random_selection_data(*shape)
    right = selection_data.teacher.train.logits.argmax(dim=1) == selection_data.label
    before, started = peak_bytes(CPU) / GIB, time.perf_counter()
    component = fitted(selection_data, options)
    seconds, peak = time.perf_counter() - started, peak_bytes(CPU) / GIB
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
    scores, expected = (each.scores[selection_data.index] for each in (component, converged))
    both = (component.weight > 0) & (converged.weight > 0)
    return {
        "spearman_with_the_converged": float(spearmanr(scores, expected).statistic),
        "share_of_the_taught_that_the_converged_teaches": float(both.sum() / (component.weight > 0).sum()),
    }


def markdown(content: dict[str, Any]) -> str:
    """The result file as a table."""
    heading = [
        "selection `influence`",
        "seconds",
        "peak of the process, GiB",
        "rank correlation",
        "same samples taught, %",
    ]
    rows = [
        [
            name,
            f"{case['seconds']:.1f}",
            f"{case['peak_gib_of_the_process']:.2f}",
            f"{case['spearman_with_the_converged']:.3f}",
            f"{100 * case['share_of_the_taught_that_the_converged_teaches']:.1f}",
        ]
        for name, case in content["cases"].items()
    ]
    versions = content["versions"]
    on = f"{versions['machine']}, {content['threads']} threads, torch {versions['torch']}"
    return (
        f"{table(heading, rows)}\n\nFitted on {content['train']:,} samples for {content['held_out']:,} held out, "
        "made up. The last two columns compare with conjugate gradients that ran until they converged. Made by "
        f"`python -m experiments.bench.influence` ({on})."
    )


if __name__ == "__main__":
    cases = {name: in_its_own_process(measure, *case) for name, case in CASES.items()}
    result = {
        "train": TRAIN,
        "held_out": HELD_OUT,
        "threads": THREADS,
        "converged": {"most_steps": UNTIL_CONVERGED["steps"], "residual": TOLERANCE},
        "limits": {"seconds": MOST_SECONDS, "gib": MOST_GIB},
        "versions": versions(),
        "cases": cases,
    }
    write_json(result, RESULT)
    print(markdown(result))
