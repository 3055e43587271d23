"""What it takes to rank 10 million predictions and to measure every metric of the risk-coverage curve, on one core.

Each case runs in a process of its own, on one thread, so that its peak of memory is its own: errors at six coverages,
AURC, E-AURC, AUGRC, AUROC of failure prediction and coverages at three risks, all by ``selective_metrics``. Beside it
stands scikit-learn's AUROC of the same samples, and a whole report of a test set with bootstrap intervals. Seconds are
those of the clock; CPU seconds tell whether other work was in the way. ``python benchmarks/selective.py`` writes
results/bench/selective.json.
"""

import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from preceptor.metrics import Predictions, full_report, selective_metrics
from preceptor.run import versions

SAMPLES = 10_000_000
MOST_SECONDS = 10
ROUNDS = 3
IMAGES, CLASSES, RESAMPLES = 10_000, 10, 1000
RESULT = Path(__file__).parents[1] / "results" / "bench" / "selective.json"


def made_up() -> tuple[Tensor, Tensor]:
    """Confidences on [0, 1], and errors that are rarer where they are high."""
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(SAMPLES, dtype=torch.float64, generator=generator)
    return confidence, torch.rand(SAMPLES, dtype=torch.float64, generator=generator) > confidence.sqrt()


CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "float64": lambda confidence: confidence,
    "float32": lambda confidence: confidence.float(),
    "1,000 levels, so that many tie": lambda confidence: (confidence * 1000).floor(),
}


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Of the round that took the least time."""
    rounds = []
    for _ in range(ROUNDS):
        started, used = time.perf_counter(), time.process_time()
        work()
        rounds.append((time.perf_counter() - started, time.process_time() - used))
    seconds, cpu_seconds = min(rounds)
    return {"seconds": seconds, "cpu_seconds": cpu_seconds}


def curve_metrics(case: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    confidence, wrong = made_up()
    confidence = CASES[case](confidence)
    before = peak_gib()
    found = timed(lambda: selective_metrics(confidence, wrong, case))
    within = found["seconds"] < MOST_SECONDS
    return {**found, "peak_gib": peak_gib(), "peak_gib_before": before, "within_the_limit": within}


def scikit_learn_auroc(case: str) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    torch.set_num_threads(1)
    confidence, wrong = made_up()
    right, ranked = ~wrong.numpy(), CASES[case](confidence).numpy()
    return timed(lambda: roc_auc_score(right, ranked))


def whole_report(_: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (IMAGES,), generator=generator)
    logits = torch.randn(IMAGES, CLASSES + 1, generator=generator)
    logits[torch.arange(IMAGES), labels] += 3
    answers = Predictions(logits, abstains=True)
    return timed(lambda: full_report(answers, labels, resamples=RESAMPLES))


def peak_gib() -> float:
    """The most memory this process has held so far; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def in_its_own_process(work: Callable[[str], dict[str, Any]], case: str = "float64") -> dict[str, Any]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, case).result()


def markdown(content: dict[str, Any]) -> str:
    """The result file as a table."""
    lines = [["confidences", "seconds", "CPU seconds", "memory at most, GiB"], ["---", "---:", "---:", "---:"]]
    for name, case in content["curve_metrics"].items():
        lines.append([name, *(f"{case[key]:.1f}" for key in ("seconds", "cpu_seconds", "peak_gib"))])
    auroc, report = content["scikit_learn_auroc"], content["report"]
    lines.append(["scikit-learn's AUROC alone, float64", f"{auroc['seconds']:.1f}", f"{auroc['cpu_seconds']:.1f}", ""])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    of_report = f"{report['images']:,} images, {report['classes']} classes and {report['scores']} scores"
    machine = content["versions"]
    return (
        f"{table}\n\nEvery metric of the risk-coverage curve of {content['samples']:,} predictions on one core, best of"
        f" {content['rounds']} rounds. A report of {of_report} with {report['resamples']:,} resamples takes "
        f"{report['seconds']:.1f} s ({report['cpu_seconds']:.1f} CPU seconds). Made by "
        f"`python benchmarks/selective.py` ({machine['machine']}, torch {machine['torch']})."
    )


if __name__ == "__main__":
    shape = {"images": IMAGES, "classes": CLASSES, "scores": 6, "resamples": RESAMPLES}
    result: dict[str, Any] = {
        "samples": SAMPLES,
        "threads": 1,
        "rounds": ROUNDS,
        "limit_seconds": MOST_SECONDS,
        "versions": versions(),
        "curve_metrics": {case: in_its_own_process(curve_metrics, case) for case in CASES},
        "scikit_learn_auroc": in_its_own_process(scikit_learn_auroc),
        "report": {**shape, **in_its_own_process(whole_report)},
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))
