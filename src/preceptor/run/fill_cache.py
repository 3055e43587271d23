"""Caches made ahead of training: how large one will be, how long it takes to fill, and filling it."""

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from preceptor.data.lazy import views_of
from preceptor.errors import InputError
from preceptor.run.cache_plan import should_compile
from preceptor.run.config import RunConfig
from preceptor.run.set_up import augmentation, split, training_data
from preceptor.run.teachers import LoadedTeacher, compile_teacher, dataset_parts, fitting_cache, load_teacher
from preceptor.teachers.cache import Layout, Part, count_missing, fill, open_readonly
from preceptor.training.device import choose_device, deterministic

BATCH_SIZE = 256
"""Images that the teacher is queried about at a time."""

MEASURED_SECONDS, MEASURED_BATCHES = 3.0, 40
"""A teacher's rate is measured for so long, or on so many batches."""


class Rate(NamedTuple):
    """A measured rate.

    Attributes:
        images_per_second: that the teacher answered, its answers stored.
        images: that it was measured on.
        data: the data set they are of.
    """

    images_per_second: float
    images: int
    data: str


def plan_cache(config: RunConfig) -> tuple[Layout, int, int]:
    """What the cache of a configuration will take; nothing is written and no teacher is loaded.

    Returns:
        its shape, with its size and its queries; entries that an existing one holds; bytes free on its disk.

    Raises:
        InputError: the data cannot be read, or the existing cache is of other data or another shape.
    """
    folder, dataset = _local(config), training_data(config)
    views = augmentation(config, dataset)
    existing, layout = fitting_cache(config, dataset, views, dataset_parts(dataset, views))
    filled = 0 if existing is None else open_readonly(folder).count
    return layout, filled, free_bytes(config)


def free_bytes(config: RunConfig) -> int:
    """Bytes free on the disk of a configuration's cache, which need not exist."""
    folder = _local(config)
    return disk_usage(next(path for path in (folder, *folder.resolve().parents) if path.is_dir())).free


def measure_rate(config: RunConfig) -> Rate:
    """How fast the configuration's teacher fills a cache on this machine, by some batches of its data set.

    It is not compiled, which a long filling is where that pays.

    Raises:
        InputError: no teacher, or anything wrong with it or the data.
        MachineError: no such device.
    """
    device, dataset = choose_device(config.device), training_data(config)
    views = augmentation(config, dataset)
    with TemporaryDirectory(prefix="preceptor-rate-") as folder:
        kept = config.cache_top_k if (config.cache_top_k or 0) < dataset.classes else None
        changed = config.model_copy(update={"cache": Path(folder) / "cache", "cache_top_k": kept})
        with deterministic(), closing(load_teacher(changed, dataset, views, device, batch_size=BATCH_SIZE)) as teacher:
            cache, images = teacher.cache, dataset.train.images.to(device)
            assert cache is not None, "the configuration names one"
            draw = torch.Generator().manual_seed(0)
            started, batches = 0.0, -1
            while batches < 1 or (time.perf_counter() - started < MEASURED_SECONDS and batches < MEASURED_BATCHES):
                entries = torch.randint(cache.layout.entries, (BATCH_SIZE,), generator=draw)
                index, view = entries // views.count, entries % views.count
                cache.query_and_store(views_of(images, index, view, views), index, view)
                batches += 1
                if batches == 0:  # the first one warms up
                    started = time.perf_counter()
            return Rate(batches * BATCH_SIZE / (time.perf_counter() - started), batches * BATCH_SIZE, dataset.name)


def fill_cache(
    config: RunConfig,
    *,
    trained_on_only: bool = False,
    part: Part | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, LoadedTeacher]:
    """Fill the cache of a configuration. It may be stopped at any time, and goes on where it was when called again.

    Args:
        config: names data, teacher and cache.
        trained_on_only: leave out the training images that a run of this configuration holds out or does not use.
        part: fill the chunks of this part only, as other processes fill theirs.
        progress: called at the start and after each batch with the entries done and those that were missing.

    Returns:
        how many images, each in a view, the teacher was queried about; and the teacher, its cache closed.

    Raises:
        InputError: no teacher, or anything wrong with it, the data or the cache.
        MachineError: no such device, the disk has no room, or another process is filling this part.
    """
    _local(config)
    if not config.teachers:
        raise InputError("no teacher to fill the cache from: give --teacher RUN_FOLDER, or an .onnx file")
    device, dataset = choose_device(config.device), training_data(config)
    if device.type == "cuda" and part is not None and "LOCAL_RANK" in os.environ:  # by torchrun: each its own
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    views = augmentation(config, dataset)
    samples = split(config, dataset)[0] if trained_on_only else None
    with deterministic(), closing(load_teacher(config, dataset, views, device, batch_size=BATCH_SIZE)) as teacher:
        cache = teacher.cache
        assert cache is not None, "the configuration names one"
        missing = count_missing(cache, samples, part)
        if progress is not None:
            progress(0, missing)  # a first batch that is compiled takes a minute
        if should_compile(config, teacher, dataset, missing, BATCH_SIZE, device):
            teacher = compile_teacher(teacher, config, dataset, BATCH_SIZE)
        queries = fill(cache, dataset.train.images.to(device), views, samples=samples, part=part, progress=progress)
        return queries, teacher


def _local(config: RunConfig) -> Path:
    """The folder of a cache that is planned or filled."""
    assert config.cache is not None, "the configuration names one"
    if isinstance(config.cache, Path):
        return config.cache
    raise InputError(
        f"cache {config.cache}: is at a URL: fill a cache in a local folder, and copy it by preceptor cache DIR --copy "
        f"{config.cache}"
    )
