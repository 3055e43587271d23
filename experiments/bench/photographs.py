"""Photographs from a folder: speed of decoding beside Pillow's own, and memory by the number of files.

Speed: photographs made up of 500 x 375 pixels become 224 x 224, by our threads and by as many processes as there are
cores that do nothing but open, convert and resize with Pillow. Memory: a folder of so many small files, hard links to
some hundred made-up ones of many sizes, is read, split and shown for some batches in a process of its own. ``--quick``
takes few of each and writes nothing.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from experiments.bench.common import GIB, RESULTS, in_its_own_process, table, write_json
from experiments.speed.machine import Machine, peak_bytes, this_machine
from preceptor.data import ResizedCrops, hold_out, load_dataset
from preceptor.data.encoded import EncodedImages
from preceptor.data.folder import FolderFiles
from preceptor.data.images import Framing, ImageSpec

CPU = torch.device("cpu")
WIDTH, HEIGHT, SIDE = 500, 375, 224
PHOTOGRAPHS, ROUNDS = 2048, 5
CLASSES, FILES_A_CLASS = 100, 4
FILES = (10_000, 100_000, 1_000_000)
BATCH_SIZE, BATCHES = 64, 20
RESULT = RESULTS / "photographs.json"

CENTER, CROPS = "center of each", "random resized crops"


def photograph(seed: int, width: int, height: int) -> Image.Image:
    """Smooth shapes with some grain: a file about as large as a camera's of this size."""
    generator = np.random.default_rng(seed)
    shapes = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    pixels = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = generator.normal(0, 6, (height, width, 1)).astype(np.int16)
    return Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))


def make_photographs(folder: Path, count: int) -> tuple[str, ...]:
    names = tuple(f"{number}.jpg" for number in range(count))
    for number, name in enumerate(names):
        photograph(number, WIDTH, HEIGHT).save(folder / name, quality=90)
    return names


def by_pillow(paths: list[str]) -> int:
    """Open, convert and resize the center; nothing is kept. Returns their number."""
    for path in paths:
        with Image.open(path) as image:
            scale = min(image.width, image.height) / SIDE
            left, top = (image.width - scale * SIDE) / 2, (image.height - scale * SIDE) / 2
            box = (left, top, left + scale * SIDE, top + scale * SIDE)
            image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box)
    return len(paths)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def pillow_processes(paths: list[str]) -> Iterator[Callable[[], int]]:
    """A call decodes all of the paths, by a process a core that is running already."""
    parts = [paths[n : n + 16] for n in range(0, len(paths), 16)]
    with ProcessPoolExecutor(cores(), get_context("spawn")) as pool:
        list(pool.map(by_pillow, parts[: 4 * cores()]))
        yield lambda: sum(pool.map(by_pillow, parts))


def measure_speed(photographs: int, rounds: int) -> dict[str, Any]:
    """Images a second of each way, in rounds that take turns."""
    with tempfile.TemporaryDirectory(prefix="preceptor-photographs-") as place:
        names = make_photographs(Path(place), photographs)
        size = statistics.mean((Path(place) / name).stat().st_size for name in names)
        images = EncodedImages(FolderFiles(Path(place), names), ImageSpec(3, SIDE, SIDE))
        crops = ResizedCrops()
        index = torch.arange(photographs).split(BATCH_SIZE)

        def random_crops() -> int:
            requests = ((part, part % (crops.count - 1) + 1) for part in index)
            return sum(len(batch) for batch in images.batches(requests, crops))

        with pillow_processes([f"{place}/{name}" for name in names]) as pillow:
            ways: dict[str, Callable[[], int]] = {
                "Pillow alone": pillow,
                CENTER: lambda: sum(len(part) for part in images.split(BATCH_SIZE)),
                CROPS: random_crops,
            }
            rates: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, run in ways.items():
                    started = time.perf_counter()
                    count = run()
                    rates[name].append(count / (time.perf_counter() - started))
    limit = statistics.median(rates["Pillow alone"])
    return {
        "photographs": photographs,
        "mean_kib": size / 1024,
        "cores": cores(),
        "images_a_second": rates,
        "share_of_pillow": {name: statistics.median(rates[name]) / limit for name in (CENTER, CROPS)},
    }


def make_files(folder: Path, count: int) -> None:
    """A class folder each for so many files: hard links to a few, none of which is in two classes."""
    for label in range(CLASSES):
        place = folder / f"class{label:03}"
        place.mkdir()
        for number in range(FILES_A_CLASS):
            seed = label * FILES_A_CLASS + number
            photograph(seed, 24 + seed % 17, 24 + seed % 13).save(folder / f"{number}.jpg", quality=80)
        for number in range(count // CLASSES):
            os.link(folder / f"{number % FILES_A_CLASS}.jpg", place / f"{number:07}.jpg")
        for number in range(FILES_A_CLASS):
            (folder / f"{number}.jpg").unlink()


def measure_memory(folder: Path) -> dict[str, Any]:
    """Peak of reading the folder, holding a part out and some batches. In a process of its own."""
    imported, started = peak_bytes(CPU), time.perf_counter()
    with warnings.catch_warnings(action="ignore"):
        dataset = load_dataset(f"folder:{folder}", framing=Framing(SIDE))
    loaded = time.perf_counter()
    train, _ = hold_out(dataset.train.labels, 0.01, seed=0, images=dataset.train.images)
    split = time.perf_counter()
    images, augmentation = dataset.train.images, dataset.augmentation
    assert isinstance(images, EncodedImages)
    order = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))]
    parts = order[: BATCHES * BATCH_SIZE].split(BATCH_SIZE)
    shown = sum(len(batch) for batch in images.batches(((part, part % 7) for part in parts), augmentation))
    return {
        "files": len(dataset.train),
        "images_shown": shown,
        "seconds_to_load": loaded - started,
        "seconds_to_hold_out": split - loaded,
        "imported_bytes": imported,
        "peak_bytes": peak_bytes(CPU),
    }


def markdown(content: dict[str, Any]) -> str:
    """The result file as two tables."""
    speed = content["speed"]
    rates = {name: statistics.median(each) for name, each in speed["images_a_second"].items()}
    rows = [
        [name, f"{rate:,.0f}", f"{speed['share_of_pillow'][name]:.0%}" if name in speed["share_of_pillow"] else ""]
        for name, rate in rates.items()
    ]
    decoding = table(["decoding", "images a second", "share of Pillow alone"], rows)
    heading = ["files", "peak (GiB)", "of it imports (GiB)", "seconds to load", "seconds to hold out"]
    rows = [
        [
            f"{one['files']:,}",
            *(f"{one[key] / GIB:.2f}" for key in ("peak_bytes", "imported_bytes")),
            *(f"{one[key]:.0f}" for key in ("seconds_to_load", "seconds_to_hold_out")),
        ]
        for one in content["memory"]
    ]
    made = (
        f"{speed['photographs']:,} made-up JPEGs of {WIDTH} x {HEIGHT} pixels and {speed['mean_kib']:.0f} KiB, to "
        f"{SIDE} x {SIDE}, on {speed['cores']} cores, median of rounds that take turns; Pillow alone: a process a core "
        "that opens, converts and resizes, and hands nothing on. Memory: the peak of a process that loads a folder of "
        f"small files, holds 1 % out and shows {BATCHES} batches of {BATCH_SIZE} at {SIDE} pixels. Made by `python -m "
        f"experiments.bench.photographs` ({Machine.model_validate(content['machine'])})."
    )
    return f"{decoding}\n\n{table(heading, rows, names=0)}\n\n{made}"


def measure(photographs: int, rounds: int, files: tuple[int, ...]) -> dict[str, Any]:
    speed, memory = measure_speed(photographs, rounds), []
    for count in files:
        with tempfile.TemporaryDirectory(prefix="preceptor-files-") as place:
            make_files(Path(place), count)
            memory.append(in_its_own_process(measure_memory, Path(place)))
        print(f"{count:,} files: {memory[-1]['peak_bytes'] / GIB:.2f} GiB", file=sys.stderr, flush=True)
    machine = this_machine(CPU).model_dump(mode="json")
    return {"kind": "photographs", "machine": machine, "speed": speed, "memory": memory}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="256 photographs and 2,000 files; writes nothing")
    quick = parser.parse_args().quick
    result = measure(256, 2, (2_000,)) if quick else measure(PHOTOGRAPHS, ROUNDS, FILES)
    if not quick:
        write_json(result, RESULT)
    print(markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
