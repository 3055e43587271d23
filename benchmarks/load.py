"""What selection, cache and evaluation hold of 1,000,000 samples of 1,000 classes, against what docs/memory.md states.

Images, labels and networks are made up: 8 x 8 gray pixels, since what is held hangs on numbers of samples and classes.
Every case has a process of its own, so that its peak is its own. ``python benchmarks/load.py`` writes
results/bench/load.json and ends with 1 if a case held more than is stated; ``--quick`` prints the table of 20,000
samples and writes nothing.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from preceptor import DistillationLoss, recipe
from preceptor.data import CropFlip, ImageSet, Normalization
from preceptor.metrics import Predictions, evaluate, full_report
from preceptor.metrics.logits import network_logits
from preceptor.models import seeded_model
from preceptor.registry import build_component
from preceptor.selections import RankedSelection
from preceptor.speed.machine import Machine, this_machine
from preceptor.speed.peak import peak_bytes, status_bytes
from preceptor.teachers import NetworkTeacher, check_teacher, collect_selection_data
from preceptor.teachers.cache import CacheKey, Layout, LogitCache, open_cache
from preceptor.training import Student, TrainingConfig, fit

CPU = torch.device("cpu")
SAMPLES, CLASSES, TOP_K = 1_000_000, 1000, 50
QUICK = 20_000
HELD_OUT = 10_000
NETWORK, FEATURES = "convnet8", 16
PIXELS = 64
RULE = CropFlip(padding=0, flip=True)
NORMALIZE = Normalization((0.5,), (0.25,))
BATCH_SIZE = 512
RESAMPLES = 10
STEPS = 2
"""Of conjugate gradients: more take longer, and hold the same."""
SELECTIONS: dict[str, dict[str, Any]] = {
    "random": {},
    "el2n": {},
    "teacher_loss": {},
    "correctness": {},
    "gradient_cosine": {},
    "tracin": {},
    "influence": {"steps": STEPS},
}
MOMENTS = {"tracin": 2}
MIB = 2**20
RESULT = Path(__file__).parents[1] / "results" / "bench" / "load.json"


@dataclass(frozen=True)
class Stated:
    """What docs/memory.md says is held: tables, in words and in bytes a sample, and what every case takes besides."""

    what: str
    columns: int

    FIXED_MIB = 768
    """Networks, a batch, blocks of rows, packages imported on the way, and what the C library keeps of freed memory."""
    SAMPLE_BYTES = 640
    """Labels, positions, scores, and the orders and draws of a report, 8 bytes each."""

    def mib(self, samples: int) -> float:
        return samples * (PIXELS + self.SAMPLE_BYTES + self.columns) / MIB + self.FIXED_MIB


def made_up(samples: int) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (samples, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.randint(CLASSES, (samples,), generator=generator))


def teacher(seed: int = 0) -> NetworkTeacher:
    return NetworkTeacher(seeded_model(NETWORK, channels=1, classes=CLASSES, seed=seed), NORMALIZE)


def asking(samples: int) -> dict[str, Any]:
    """The look at the teacher with which every run begins."""
    train = made_up(samples)
    found = check_teacher(teacher(), train.images, train.labels, CLASSES)
    return {"samples_answered": found.images}


def selecting(samples: int, name: str) -> dict[str, Any]:
    """Gather what a selection is fitted on, and fit it."""
    train, held_out = made_up(samples), min(HELD_OUT, samples // 10)
    select = build_component("selection", name, SELECTIONS[name])
    assert isinstance(select, RankedSelection)
    history = [(0.1, teacher(seed)) for seed in range(MOMENTS.get(name, 1))]
    positions = torch.arange(samples)
    selection_data = collect_selection_data(
        history[-1][1],
        train,
        positions[held_out:],
        positions[:held_out] if select.needs_held_out else positions[:0],
        seed=0,
        features=select.needs_features,
        history=history,
    )
    select.fit(selection_data)
    return {"samples_taught": int(select.weight.sum())}


@contextmanager
def a_bank(samples: int, top_k: int | None) -> Iterator[LogitCache]:
    """An empty one with a live teacher behind it."""
    names = [str(number) for number in range(CLASSES)]
    fingerprint = CacheKey.of("made up", "made up", NORMALIZE, RULE, names)
    layout = Layout(samples=samples, views=RULE.count, classes=CLASSES, top_k=top_k)
    with (
        tempfile.TemporaryDirectory(prefix="preceptor-load-") as place,
        open_cache(Path(place) / "cache", fingerprint, layout, teacher()) as cache,
    ):
        yield cache


def banking(samples: int, top_k: int | None) -> dict[str, Any]:
    """Fill a cache with one view of every sample, and look all of it up as training does."""
    images = made_up(samples).images
    with a_bank(samples, top_k) as cache:
        for index in torch.arange(samples).split(BATCH_SIZE):
            cache.query_and_store(images[index], index, torch.zeros_like(index))
        for index in torch.randperm(samples, generator=torch.Generator().manual_seed(1)).split(4096):
            assert cache.lookup(index, torch.zeros_like(index)).known.all(), "it was filled"
        return {"cells": cache.count}


def teaching(samples: int) -> dict[str, Any]:
    """An epoch of a student whose teacher is asked once, through a cache of the top classes."""
    train, training = made_up(samples), TrainingConfig(epochs=1, batch_size=BATCH_SIZE)
    student = Student(
        "student", seeded_model(NETWORK, channels=1, classes=CLASSES, seed=1), DistillationLoss(**recipe("kd"))
    )
    with a_bank(samples, TOP_K) as cache:
        how: dict[str, Any] = {"teacher": cache, "compile": "never"}
        list(fit([student], train, torch.arange(samples), RULE, NORMALIZE, training, **how))
        return {"cells": cache.count}


def measuring(samples: int) -> dict[str, Any]:
    """What ``preceptor evaluate`` does."""
    train = made_up(samples)
    metrics = evaluate(network_logits(teacher().network, NORMALIZE, train.images), train.labels)
    return {"samples_measured": metrics.n}


def reporting(samples: int) -> dict[str, Any]:
    """A report with everything in it."""
    train = made_up(samples)
    said, taught = (network_logits(teacher(seed).network, NORMALIZE, train.images) for seed in (0, 1))
    few = slice(0, min(HELD_OUT, samples // 10))
    held_out = Predictions(said[few]), train.labels[few]
    report = full_report(Predictions(said, teacher=taught), train.labels, held_out=held_out, resamples=RESAMPLES)
    return {"samples_measured": report.n}


LOGITS = 4 * CLASSES
NO_TABLE = Stated("no table", 0)
Work = Callable[..., dict[str, Any]]


def stated_of(select: str) -> Stated:
    """What a selection is stated to hold."""
    moments = MOMENTS.get(select, 1)
    if select not in ("gradient_cosine", "influence", "tracin"):
        return Stated("logits", LOGITS)
    of = f" of {moments} moments" if moments > 1 else ""
    return Stated(f"logits and features{of}", moments * (LOGITS + 4 * FEATURES))


CASES: dict[str, tuple[Stated, Work, tuple[object, ...]]] = {
    "the look at the teacher before a run": (NO_TABLE, asking, ()),
    **{f"selection by {name}": (stated_of(name), selecting, (name,)) for name in SELECTIONS},
    "cache, all classes: fill, look up": (NO_TABLE, banking, (None,)),
    f"cache, top {TOP_K}: fill, look up": (NO_TABLE, banking, (TOP_K,)),
    f"an epoch through a cache of the top {TOP_K}": (NO_TABLE, teaching, ()),
    "evaluation of a student": (Stated("logits", LOGITS), measuring, ()),
    "report with a teacher": (Stated("logits, and the teacher's", 2 * LOGITS), reporting, ()),
}


@contextmanager
def own_memory(found: dict[str, float]) -> Iterator[None]:
    """The most memory that is the process's own, looked at a hundred times a second: pages of a cache's files are the
    system's, which drops them at need."""
    before, done = status_bytes("RssAnon") or 0, threading.Event()
    most = [before]

    def look() -> None:
        while not done.wait(0.01):
            most.append(max(most.pop(), status_bytes("RssAnon") or 0))

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()
        found["own_mib"] = (most[0] - before) / MIB


def measure(name: str, samples: int) -> dict[str, Any]:
    """One case, in a process of its own: what it held at the most, beyond what importing takes."""
    stated, work, given = CASES[name]
    found: dict[str, float] = {}
    before, started = peak_bytes(CPU), time.perf_counter()
    with own_memory(found):
        told = work(samples, *given)
    return {
        "case": name,
        "holds": stated.what,
        "stated_mib": stated.mib(samples),
        "more_of_its_own_mib": found["own_mib"],
        "more_at_the_peak_mib": (peak_bytes(CPU) - before) / MIB,
        "seconds": time.perf_counter() - started,
        **told,
    }


def apart(name: str, samples: int) -> dict[str, Any]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, name, samples).result()


def exceeded(cases: list[dict[str, Any]]) -> list[str]:
    """The cases that held more than is stated. Where no file is mapped the high-water mark, which misses nothing, is
    what counts."""
    return [case["case"] for case in cases if held(case) > case["stated_mib"]]


def held(case: dict[str, Any]) -> float:
    more: float = case["more_of_its_own_mib" if "cache" in case["case"] else "more_at_the_peak_mib"]
    return more


def markdown(content: dict[str, Any]) -> str:
    """The result file as a table."""
    header = ["case", "tables that are held", "stated (GiB)", "held at most (GiB)", "seconds"]
    lines = [header, ["---"] * 2 + ["---:"] * 3]
    for case in content["cases"]:
        gib = [f"{mib / 1024:.2f}" for mib in (case["stated_mib"], held(case))]
        lines.append([case["case"], case["holds"], *gib, f"{case['seconds']:.0f}"])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    machine = Machine.model_validate(content["machine"])
    made = (
        f"{content['samples']:,} samples of {content['classes']:,} classes, {content['image']}; {NETWORK}, "
        f"{FEATURES} features; a report of {content['resamples']} resamples. More than importing takes, each case in a "
        f"process of its own; with a cache, memory of its own. Made by `python benchmarks/load.py` ({machine})."
    )
    return f"{table}\n\n{made}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} samples; writes nothing")
    parser.add_argument("--case", action="append", choices=CASES, help="may be repeated; writes nothing; default all")
    given = parser.parse_args()
    samples = QUICK if given.quick else SAMPLES
    cases = []
    for name in given.case or CASES:
        cases.append(apart(name, samples))
        print(f"{name}: {held(cases[-1]):.0f} MiB in {cases[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
    result = {
        "kind": "load",
        "samples": samples,
        "classes": CLASSES,
        "image": "8 x 8 gray, uint8",
        "resamples": RESAMPLES,
        "machine": this_machine(CPU).model_dump(mode="json"),
        "cases": cases,
    }
    if not (given.quick or given.case):
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))
    over = exceeded(cases)
    print(f"held more than is stated: {', '.join(over)}" if over else "every case held at most what is stated")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
