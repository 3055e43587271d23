"""Cost of every metric of the risk-coverage curve of 10 million predictions, on one core.

Each case has a process of its own, on one thread: errors at six coverages, AURC, E-AURC, AUGRC, AUROC of failure
prediction and coverages at three risks, all by ``selective_metrics``; then
scikit-learn's AUROC of the same samples, and a report of a test set with bootstrap intervals. CPU seconds beside
wall-clock seconds show whether other work interfered.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from experiments.bench.common import GIB, RESULTS, in_its_own_process, table, write_json
from experiments.speed.machine import peak_bytes
from preceptor.metrics import Predictions, full_report, selective_metrics
from preceptor.run import versions

CPU = torch.device("cpu")
SAMPLES = 10_000_000
MOST_SECONDS = 10
ROUNDS = 3
IMAGES, CLASSES, RESAMPLES = 10_000, 10, 1000
RESULT = RESULTS / "selective.json"


def random_confidences() -> tuple[Tensor, Tensor]:
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
    """Seconds of the fastest round."""
    rounds = []
    for _ in range(ROUNDS):
        started, used = time.perf_counter(), time.process_time()
        work()
        rounds.append((time.perf_counter() - started, time.process_time() - used))
    seconds, cpu_seconds = min(rounds)
    return {"seconds": seconds, "cpu_seconds": cpu_seconds}


def curve_metrics(case: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    confidence, wrong = random_confidences()
    confidence = CASES[case](confidence)
    before = peak_bytes(CPU) / GIB
    seconds = timed(lambda: selective_metrics(confidence, wrong, case))
    within = seconds["seconds"] < MOST_SECONDS
    return {**seconds, "peak_gib": peak_bytes(CPU) / GIB, "peak_gib_before": before, "within_the_limit": within}


def scikit_learn_auroc(case: str) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    torch.set_num_threads(1)
    confidence, wrong = random_confidences()
    right, ranked = ~wrong.numpy(), CASES[case](confidence).numpy()
    return timed(lambda: roc_auc_score(right, ranked))


def full_report_seconds(_: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (IMAGES,), generator=generator)
    logits = torch.randn(IMAGES, CLASSES + 1, generator=generator)
    logits[torch.arange(IMAGES), labels] += 3
    predictions = Predictions(logits, abstains=True)
    return timed(lambda: full_report(predictions, labels, resamples=RESAMPLES))


def markdown(content: dict[str, Any]) -> str:
    """The result file as a table."""
    rows = []
    for name, case in content["curve_metrics"].items():
        rows.append([name, *(f"{case[key]:.1f}" for key in ("seconds", "cpu_seconds", "peak_gib"))])
    auroc, report = content["scikit_learn_auroc"], content["report"]
    rows.append(["scikit-learn's AUROC alone, float64", f"{auroc['seconds']:.1f}", f"{auroc['cpu_seconds']:.1f}", ""])
    shown = table(["confidences", "seconds", "CPU seconds", "memory at most, GiB"], rows)
    of_report = f"{report['images']:,} images, {report['classes']} classes and {report['scores']} scores"
    machine = content["versions"]
    return (
        f"{shown}\n\nEvery metric of the risk-coverage curve of {content['samples']:,} predictions on one core, best of"
        f" {content['rounds']} rounds. A report of {of_report} with {report['resamples']:,} resamples takes "
        f"{report['seconds']:.1f} s ({report['cpu_seconds']:.1f} CPU seconds). Made by "
        f"`python -m experiments.bench.selective` ({machine['machine']}, torch {machine['torch']})."
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
        "scikit_learn_auroc": in_its_own_process(scikit_learn_auroc, "float64"),
        "report": {**shape, **in_its_own_process(full_report_seconds, "float64")},
    }
    write_json(result, RESULT)
    print(markdown(result))
