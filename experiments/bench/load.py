"""Memory of selection, cache and evaluation with 1,000,000 samples of 1,000 classes, against docs/memory.md.

Images, labels and networks are random, 8 x 8 gray pixels: memory depends on the numbers of samples and classes. Each
case has a process of its own. The exit code is 1 if a case held more than docs/memory.md states; ``--quick`` prints the
table of 20,000 samples and writes nothing.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.bench.common import MIB, RESULTS, in_its_own_process, table, write_json
from experiments.speed.machine import Machine, peak_bytes, status_bytes, this_machine
from experiments.training import new_student
from experiments.training import train as train_students
from preceptor.data import CropFlip, ImageSet, Normalization
from preceptor.metrics import Predictions, evaluate, full_report
from preceptor.metrics.logits import network_logits
from preceptor.models import seeded_model
from preceptor.registry import build_component
from preceptor.selections import RankedSelection
from preceptor.teachers import NetworkTeacher, check_teacher, collect_selection_data
from preceptor.teachers.cache import CacheKey, Layout, LogitCache, open_cache
from preceptor.training import TrainingConfig

CPU = torch.device("cpu")
SAMPLES, CLASSES, TOP_K = 1_000_000, 1000, 50
QUICK = 20_000
HELD_OUT = 10_000
NETWORK, FEATURES = "convnet8", 16
PIXELS = 64
AUGMENTATION = CropFlip(padding=0, flip=True)
NORMALIZATION = Normalization((0.5,), (0.25,))
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
SNAPSHOTS = {"tracin": 2}
RESULT = RESULTS / "load.json"


@dataclass(frozen=True)
class Stated:
    """Memory according to docs/memory.md: tables, in bytes a sample, and what every case takes besides."""

    what: str
    columns: int

    FIXED_MIB = 768
    """Networks, a batch, chunks of rows, packages imported on the way, and freed memory that the C library keeps."""
    SAMPLE_BYTES = 640
    """Labels, indices, scores, and the orders and draws of a report, 8 bytes each."""

    def mib(self, samples: int) -> float:
        return samples * (PIXELS + self.SAMPLE_BYTES + self.columns) / MIB + self.FIXED_MIB


def random_images(samples: int) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (samples, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.randint(CLASSES, (samples,), generator=generator))


def teacher(seed: int = 0) -> NetworkTeacher:
    return NetworkTeacher(seeded_model(NETWORK, channels=1, classes=CLASSES, seed=seed), NORMALIZATION)


def checking(samples: int) -> dict[str, Any]:
    """The check of the teacher with which every run begins."""
    train = random_images(samples)
    report = check_teacher(teacher(), train.images, train.labels, CLASSES)
    return {"samples_answered": report.images}


def selecting(samples: int, name: str) -> dict[str, Any]:
    """Gather what a selection is fitted on, and fit it."""
    train, held_out = random_images(samples), min(HELD_OUT, samples // 10)
    select = build_component("selection", name, SELECTIONS[name])
    assert isinstance(select, RankedSelection)
    history = [(0.1, teacher(seed)) for seed in range(SNAPSHOTS.get(name, 1))]
    index = torch.arange(samples)
    selection_data = collect_selection_data(
        history[-1][1],
        train,
        index[held_out:],
        index[:held_out] if select.needs_held_out else index[:0],
        seed=0,
        features=select.needs_features,
        history=history,
    )
    select.fit(selection_data)
    return {"samples_taught": int(select.weight.sum())}


@contextmanager
def empty_cache(samples: int, top_k: int | None) -> Iterator[LogitCache]:
    """An empty cache with a live teacher behind it."""
    names = [str(number) for number in range(CLASSES)]
    key = CacheKey.of("random", "random", NORMALIZATION, AUGMENTATION, names)
    layout = Layout(samples=samples, views=AUGMENTATION.count, classes=CLASSES, top_k=top_k)
    with (
        tempfile.TemporaryDirectory(prefix="preceptor-load-") as place,
        open_cache(Path(place) / "cache", key, layout, teacher()) as cache,
    ):
        yield cache


def caching(samples: int, top_k: int | None) -> dict[str, Any]:
    """Fill a cache with one view of every sample, and look all of it up as training does."""
    images = random_images(samples).images
    with empty_cache(samples, top_k) as cache:
        for index in torch.arange(samples).split(BATCH_SIZE):
            cache.query_and_store(images[index], index, torch.zeros_like(index))
        for index in torch.randperm(samples, generator=torch.Generator().manual_seed(1)).split(4096):
            assert cache.lookup(index, torch.zeros_like(index)).known.all(), "it was filled"
        return {"entries": cache.count}


def teaching(samples: int) -> dict[str, Any]:
    """An epoch of a student whose teacher is queried once, through a cache of the top classes."""
    train, config = random_images(samples), TrainingConfig(epochs=1, batch_size=BATCH_SIZE)
    student = new_student("kd", NETWORK, channels=1, classes=CLASSES, seed=1)
    with empty_cache(samples, TOP_K) as cache:
        arguments = [student], train, torch.arange(samples), AUGMENTATION, NORMALIZATION, config
        train_students(*arguments, teacher=cache, compile="never")
        return {"entries": cache.count}


def measuring(samples: int) -> dict[str, Any]:
    """An evaluation, as by ``preceptor evaluate``."""
    train = random_images(samples)
    metrics = evaluate(network_logits(teacher().network, NORMALIZATION, train.images), train.labels)
    return {"samples_measured": metrics.n}


def reporting(samples: int) -> dict[str, Any]:
    """A full report with a teacher."""
    train = random_images(samples)
    student_logits, teacher_logits = (
        network_logits(teacher(seed).network, NORMALIZATION, train.images) for seed in (0, 1)
    )
    few = slice(0, min(HELD_OUT, samples // 10))
    held_out = Predictions(student_logits[few]), train.labels[few]
    report = full_report(
        Predictions(student_logits, teacher=teacher_logits), train.labels, held_out=held_out, resamples=RESAMPLES
    )
    return {"samples_measured": report.n}


LOGITS = 4 * CLASSES
NO_TABLE = Stated("no table", 0)
Work = Callable[..., dict[str, Any]]


def stated_for(select: str) -> Stated:
    """The stated memory of a selection."""
    snapshots = SNAPSHOTS.get(select, 1)
    if select not in ("gradient_cosine", "influence", "tracin"):
        return Stated("logits", LOGITS)
    of = f" of {snapshots} snapshots" if snapshots > 1 else ""
    return Stated(f"logits and features{of}", snapshots * (LOGITS + 4 * FEATURES))


CASES: dict[str, tuple[Stated, Work, tuple[object, ...]]] = {
    "the check of the teacher before a run": (NO_TABLE, checking, ()),
    **{f"selection by {name}": (stated_for(name), selecting, (name,)) for name in SELECTIONS},
    "cache, all classes: fill, look up": (NO_TABLE, caching, (None,)),
    f"cache, top {TOP_K}: fill, look up": (NO_TABLE, caching, (TOP_K,)),
    f"an epoch through a cache of the top {TOP_K}": (NO_TABLE, teaching, ()),
    "evaluation of a student": (Stated("logits", LOGITS), measuring, ()),
    "report with a teacher": (Stated("logits, and the teacher's", 2 * LOGITS), reporting, ()),
}


@contextmanager
def own_memory(measured: dict[str, float]) -> Iterator[None]:
    """The peak of the process's own memory, sampled a hundred times a second, without the pages of a cache's files,
    which the system drops at need."""
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
        measured["own_mib"] = (most[0] - before) / MIB


def measure(name: str, samples: int) -> dict[str, Any]:
    """The peak memory of one case beyond what importing takes. In a process of its own."""
    stated, work, arguments = CASES[name]
    measured: dict[str, float] = {}
    before, started = peak_bytes(CPU), time.perf_counter()
    with own_memory(measured):
        counts = work(samples, *arguments)
    return {
        "case": name,
        "holds": stated.what,
        "stated_mib": stated.mib(samples),
        "more_of_its_own_mib": measured["own_mib"],
        "more_at_the_peak_mib": (peak_bytes(CPU) - before) / MIB,
        "seconds": time.perf_counter() - started,
        **counts,
    }


def exceeded(cases: list[dict[str, Any]]) -> list[str]:
    """The cases that held more than is stated."""
    return [case["case"] for case in cases if held(case) > case["stated_mib"]]


def held(case: dict[str, Any]) -> float:
    # Without mapped files the high-water mark counts, which misses nothing.
    more: float = case["more_of_its_own_mib" if "cache" in case["case"] else "more_at_the_peak_mib"]
    return more


def markdown(content: dict[str, Any]) -> str:
    """The result file as a table."""
    heading = ["case", "tables that are held", "stated (GiB)", "held at most (GiB)", "seconds"]
    rows = []
    for case in content["cases"]:
        gib = [f"{mib / 1024:.2f}" for mib in (case["stated_mib"], held(case))]
        rows.append([case["case"], case["holds"], *gib, f"{case['seconds']:.0f}"])
    machine = Machine.model_validate(content["machine"])
    made = (
        f"{content['samples']:,} samples of {content['classes']:,} classes, {content['image']}; {NETWORK}, "
        f"{FEATURES} features; a report of {content['resamples']} resamples. More than importing takes, each case in a "
        f"process of its own; with a cache, memory of its own. Made by `python -m experiments.bench.load` ({machine})."
    )
    return f"{table(heading, rows, names=2)}\n\n{made}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} samples; writes nothing")
    parser.add_argument("--case", action="append", choices=CASES, help="may be repeated; writes nothing; default all")
    arguments = parser.parse_args()
    samples = QUICK if arguments.quick else SAMPLES
    cases = []
    for name in arguments.case or CASES:
        cases.append(in_its_own_process(measure, name, samples))
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
    if not (arguments.quick or arguments.case):
        write_json(result, RESULT)
    print(markdown(result))
    over = exceeded(cases)
    print(f"held more than is stated: {', '.join(over)}" if over else "every case held at most what is stated")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
