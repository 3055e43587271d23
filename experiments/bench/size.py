"""Cost of an epoch and of a cache by number of images: 10,000 to 1,000,000 random ones of 8 x 8 gray pixels.

Time and memory of training a small student from labels, from a filled cache and from one that fills meanwhile; and the
disk space of caches against ``plan``. Each case has a process of its own. ``--quick`` prints the tables of a few
thousand images and writes nothing.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from experiments.bench.common import MIB, RESULTS, in_its_own_process, table, write_json
from experiments.speed.machine import Machine, peak_bytes, status_bytes, this_machine
from experiments.training import new_student
from experiments.training import train as train_students
from preceptor.data import CropFlip, ImageSet, Normalization
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.cache import CacheKey, Layout, LogitCache, fill, open_cache
from preceptor.training import Callback, Trainer, TrainingConfig

CPU = torch.device("cpu")
Kind = Literal["labels", "filled cache", "filling cache"]

EPOCHS = {10_000: 9, 100_000: 3, 1_000_000: 1}
QUICK = {1000: 3, 3000: 2}
WARM_UP = 1000
KINDS: tuple[Kind, ...] = ("labels", "filled cache", "filling cache")
CACHES: dict[str, tuple[int, int | None]] = {"10 classes, fp16": (10, None), "1,000 classes, top 50": (1000, 50)}
TRAINING_CACHE = "10 classes, fp16"
PIXELS = 64
STUDENT, CLASSES = "convnet8", 10
BATCH_SIZE = 256
AUGMENTATION = CropFlip(padding=0, flip=True)
NORMALIZATION = Normalization((0.5,), (0.25,))
READ_AT_A_TIME = 8192
MOST_OFF = 0.02
RESULT = RESULTS / "size.json"


class Linear:
    """The cheapest of teachers: a matrix."""

    def __init__(self, classes: int) -> None:
        self.classes: int | None = classes
        self.weights = torch.randn(PIXELS, classes, generator=torch.Generator().manual_seed(1)) / 4

    def outputs(self, images: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        return TeacherOutput((images.flatten(1).float() / 255 - 0.5) @ self.weights)


class OwnMemory(Callback):
    """The peak of the process's own memory, sampled a few times an epoch."""

    def __init__(self) -> None:
        self.most = held_mib()

    def on_log(self, trainer: Trainer, losses: Mapping[str, Mapping[str, float]]) -> None:
        self.most = most(self.most, held_mib())


def random_images(samples: int) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (samples, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.randint(CLASSES, (samples,), generator=generator))


def peak_mib() -> float:
    """The most memory this process has held so far, pages of mapped files included."""
    return peak_bytes(CPU) / MIB


def held_mib(entry: str = "RssAnon") -> float | None:
    """The process's own memory, or "RssFile", pages of files, which the system drops at need; None where unknown."""
    held = status_bytes(entry)
    return None if held is None else held / MIB


def most(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else max(first, second)


def more(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def cache_in(folder: Path, samples: int, name: str, live: Linear | None = None, batch_size: int = 64) -> LogitCache:
    classes, top_k = CACHES[name]
    key = CacheKey.of("linear", "random", NORMALIZATION, AUGMENTATION, [str(number) for number in range(classes)])
    layout = Layout(samples=samples, views=AUGMENTATION.count, classes=classes, top_k=top_k)
    return open_cache(folder, key, layout, live, batch_size)


def epoch_seconds(train: ImageSet, kind: Kind, folder: Path, seed: int, callback: OwnMemory | None = None) -> float:
    """Seconds of a run of one epoch."""
    student = new_student("none" if kind == "labels" else "kd", STUDENT, channels=1, classes=CLASSES, seed=seed)
    live = Linear(CLASSES) if kind == "filling cache" else None
    cache = None if kind == "labels" else cache_in(folder, len(train), TRAINING_CACHE, live)
    config, index = TrainingConfig(epochs=1, batch_size=BATCH_SIZE), torch.arange(len(train))
    started = time.perf_counter()
    how: dict[str, Any] = {"teacher": cache, "seed": seed, "compile": "never", "callbacks": [callback or OwnMemory()]}
    train_students([student], train, index, AUGMENTATION, NORMALIZATION, config, **how)
    seconds = time.perf_counter() - started
    if cache is not None:
        cache.close()
    return seconds


def measure_training(samples: int, epochs: int, kind: Kind, filled: Path) -> dict[str, Any]:
    """Several runs of an epoch each; a cache that fills is a new one each time."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="preceptor-size-") as folder:
        epoch_seconds(
            random_images(WARM_UP), "labels" if kind == "labels" else "filling cache", Path(folder) / "warm-up", 0
        )
        before, own_before = peak_mib(), held_mib()
        train, memory = random_images(samples), OwnMemory()
        seconds = [
            epoch_seconds(train, kind, filled if kind == "filled cache" else Path(folder) / str(seed), seed, memory)
            for seed in range(epochs)
        ]
    return {
        "samples": samples,
        "seconds": seconds,
        "median_seconds": statistics.median(seconds),
        "microseconds_a_sample": statistics.median(seconds) / samples * 1e6,
        "peak_mib_before": before,
        "more_at_the_peak_mib": peak_mib() - before,
        "more_of_its_own_mib": more(memory.most, own_before),
        "images_labels_and_positions_mib": samples * (PIXELS + 8 + 8) / MIB,
    }


def measure_filling(samples: int, name: str, folder: Path) -> dict[str, Any]:
    """Fill a cache ahead, and compare its files with what was planned."""
    torch.set_num_threads(1)
    images, started = random_images(samples).images, time.perf_counter()
    with cache_in(folder, samples, name, Linear(CACHES[name][0]), batch_size=1024) as cache:
        fill(cache, images, AUGMENTATION)
        layout = cache.layout
    seconds = time.perf_counter() - started
    files = [path.stat() for path in folder.iterdir()]
    size, blocks = sum(file.st_size for file in files), sum(file.st_blocks * 512 for file in files)
    return {
        "samples": samples,
        "views": AUGMENTATION.count,
        "entry_bytes": layout.entry_bytes,
        "planned_bytes": layout.bytes,
        "bytes_of_all_files": size,
        "bytes_in_blocks": blocks,
        "off_by": max(abs(actual / layout.bytes - 1) for actual in (size, blocks)),
        "seconds_to_fill": seconds,
    }


def measure_reading(samples: int, name: str, folder: Path) -> dict[str, Any]:
    """Read every entry, some thousand at a time, as training looks them up."""
    torch.set_num_threads(1)
    with cache_in(folder, samples, name) as cache:
        order = torch.randperm(cache.layout.entries, generator=torch.Generator().manual_seed(0))
        # A first lookup, so that what is loaded at first use does not count.
        cache.lookup(order[:2] // AUGMENTATION.count, order[:2] % AUGMENTATION.count)
        mapped, started = held_mib("RssFile"), time.perf_counter()
        own = own_most = held_mib()
        for entries in order.split(READ_AT_A_TIME):
            assert cache.lookup(entries // AUGMENTATION.count, entries % AUGMENTATION.count).known.all(), (
                "it was filled"
            )
            own_most = most(own_most, held_mib())
        return {
            "reading_seconds": time.perf_counter() - started,
            "reading_more_of_its_own_mib": more(own_most, own),
            "reading_mapped_pages_mib": more(held_mib("RssFile"), mapped),
        }


def measure(epochs: dict[int, int], folder: Path) -> dict[str, Any]:
    training: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    caches: dict[str, list[dict[str, Any]]] = {name: [] for name in CACHES}
    for samples, repetitions in epochs.items():
        places = {name: folder / f"{samples} {name}" for name in CACHES}
        for name, place in places.items():
            filled = in_its_own_process(measure_filling, samples, name, place)
            caches[name].append(filled | in_its_own_process(measure_reading, samples, name, place))
            print(f"{samples:,} samples, cache of {name}: {filled['seconds_to_fill']:.1f} s to fill", flush=True)
        for kind in KINDS:
            measured = in_its_own_process(measure_training, samples, repetitions, kind, places[TRAINING_CACHE])
            training[kind].append(measured)
            print(f"{samples:,} samples, {kind}: {measured['median_seconds']:.1f} s an epoch", flush=True)
    return {
        "training": {kind: with_ratios(measured) for kind, measured in training.items()},
        "caches": caches,
        "caches_within_the_limit": all(measured["off_by"] <= MOST_OFF for each in caches.values() for measured in each),
    }


def with_ratios(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """Each size against the smallest, and the exponent b of the fit ``seconds = a samples^b``: 1 is linear."""
    sizes, seconds = ([math.log(each[key]) for each in measured] for key in ("samples", "median_seconds"))
    for each in measured:
        each["times_the_smallest"] = each["microseconds_a_sample"] / measured[0]["microseconds_a_sample"]
    return {"exponent": statistics.linear_regression(sizes, seconds).slope, "sizes": measured}


def markdown(content: dict[str, Any]) -> str:
    """The result file as two tables."""
    exponents = ", ".join(f"{measured['exponent']:.2f} by {kind}" for kind, measured in content["training"].items())
    made = (
        f"{content['student']} on images of {content['image']}, batch {content['batch_size']}, "
        f"{AUGMENTATION.count} views. "
        f"Seconds grow as the number of images to the power of {exponents}; "
        f"memory as more than after a run on {WARM_UP:,} images. Files and blocks are those of the cache's folder. "
        f"Made by `python -m experiments.bench.size` ({Machine.model_validate(content['machine'])})."
    )
    return f"{_training_table(content['training'])}\n\n{_cache_table(content['caches'])}\n\n{made}"


def _training_table(training: dict[str, Any]) -> str:
    rows = [
        [
            f"{each['samples']:,}",
            kind,
            f"{each['median_seconds']:.2f}",
            f"{each['microseconds_a_sample']:.1f}",
            f"{each['times_the_smallest']:.2f}",
            f"{each['more_at_the_peak_mib']:.1f}",
            _mib(each["more_of_its_own_mib"]),
            f"{each['images_labels_and_positions_mib']:.1f}",
        ]
        for kind, measured in training.items()
        for each in measured["sizes"]
    ]
    heading = "images|taught by|seconds an epoch|µs an image|against the smallest|peak memory grew by (MiB)"
    heading += "|of it the process's own (MiB)|images, labels, positions (MiB)"
    return table(heading.split("|"), rows, names=2)


def _cache_table(caches: dict[str, Any]) -> str:
    rows = [
        [
            f"{each['samples']:,}",
            name,
            f"{each['planned_bytes'] / MIB:.2f}",
            f"{each['bytes_of_all_files'] / MIB:.2f}",
            f"{each['bytes_in_blocks'] / MIB:.2f}",
            f"{100 * each['off_by']:.2f} %",
            _mib(each["reading_more_of_its_own_mib"]),
            _mib(each["reading_mapped_pages_mib"]),
        ]
        for name, measured in caches.items()
        for each in measured
    ]
    heading = "images|cache|planned (MiB)|files (MiB)|blocks (MiB)|off by"
    heading += "|own memory to read it all (MiB)|pages of it mapped then (MiB)"
    return table(heading.split("|"), rows, names=2)


def _mib(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few thousand images; writes nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)  # as the processes do that measure
    with tempfile.TemporaryDirectory(prefix="preceptor-size-") as place:
        measured = measure(QUICK if quick else EPOCHS, Path(place))
    result = {
        "image": "8 x 8 gray, uint8",
        "student": STUDENT,
        "batch_size": BATCH_SIZE,
        "limit_of_caches_against_plan": MOST_OFF,
        "machine": this_machine(CPU).model_dump(mode="json"),
        **measured,
    }
    print(markdown(result))
    if not quick:
        write_json(result, RESULT)
