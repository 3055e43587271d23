"""What fitting the selection ``influence`` costs once the teacher's features are at hand: seconds and peak memory.

As many samples as CIFAR-100 has, 45,000 to train on and 5,000 held out, all of them made up. Each case runs in a
process of its own, so that its peak is its own. ``python benchmarks/influence.py`` writes results/bench/influence.json.
"""

import json
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from preceptor.evidence import Checkpoint, Evidence, Outputs
from preceptor.runs import versions
from preceptor.select import Influence

THREADS = 2
TRAIN, HELD_OUT = 45_000, 5_000
CASES = {"kronecker": (100, 256), "exact, the largest by default": (10, 408)}
MOST_SECONDS, MOST_GIB = 120, 2
RESULT = Path(__file__).parents[1] / "results" / "bench" / "influence.json"


def made_up(classes: int, dimensions: int) -> Evidence:
    """Features in clusters, one a class, and a linear layer that gets most of them right."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(classes, (TRAIN + HELD_OUT,), generator=generator)
    centres = torch.randn(classes, dimensions, generator=generator)
    features = torch.randn(TRAIN + HELD_OUT, dimensions, generator=generator).mul_(2).add_(centres[label]).relu_()
    weights = centres.relu() - centres.relu().mean(dim=0)
    logits = features @ weights.T * (8 / dimensions**0.5) / 4
    train, held_out = (Outputs(logits[part], features[part]) for part in (slice(TRAIN), slice(TRAIN, None)))
    teacher = Checkpoint(0.1, train, held_out)
    return Evidence(torch.arange(TRAIN), label[:TRAIN], label[TRAIN:], (teacher,), has_bias=True, size=TRAIN + HELD_OUT)


def peak_gib() -> float:
    """The most memory this process has held so far; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def measure(classes: int, dimensions: int) -> dict[str, object]:
    torch.set_num_threads(THREADS)
    evidence = made_up(classes, dimensions)
    right = evidence.teacher.train.logits.argmax(dim=1) == evidence.label
    before, started = peak_gib(), time.perf_counter()
    stage = Influence()
    stage.fit(evidence)
    seconds = time.perf_counter() - started
    return {
        "classes": classes,
        "dimensions_with_bias": dimensions + 1,
        "teacher_accuracy": float(right.float().mean()),
        "seconds": seconds,
        "peak_gib_of_the_process": peak_gib(),
        "peak_gib_before_the_fit": before,
        "taught": int(stage.weight.sum()),
        "within_the_limits": seconds < MOST_SECONDS and peak_gib() < MOST_GIB,
    }


def in_its_own_process(classes: int, dimensions: int) -> dict[str, object]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, classes, dimensions).result()


if __name__ == "__main__":
    cases = {name: in_its_own_process(*shape) for name, shape in CASES.items()}
    result = {
        "train": TRAIN,
        "held_out": HELD_OUT,
        "threads": THREADS,
        "limits": {"seconds": MOST_SECONDS, "gib": MOST_GIB},
        "versions": versions(),
        "cases": cases,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(cases, indent=1))
