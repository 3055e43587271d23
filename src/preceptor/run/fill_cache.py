"""Banks made ahead of training: how large one will be, and filling it."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

import torch
from torch import Tensor

from preceptor.errors import InputError
from preceptor.run.caches import card_there, layout_of, setting_of
from preceptor.run.config import RunConfig
from preceptor.run.set_up import augmentation, split, training_data
from preceptor.run.teachers import compiled, load_teacher, pooled_features
from preceptor.run.teaching import compiles
from preceptor.teachers.cache import Info, Layout, LogitCache, Plan, fill, info, open_readonly, plan, spot_check
from preceptor.teachers.cache.metadata import check_fingerprint, check_layout
from preceptor.training.device import choose_device, deterministic

BATCH_SIZE = 256
"""Images the teacher is asked about at a time."""


CELLS_AT_ONCE = 2**20
"""Cells that are looked at at a time when they are counted: a million samples have more than a hundred views each."""


@dataclass(frozen=True)
class CachePlan:
    """What a cache will take, before anything is written.

    Attributes:
        layout: its shape.
        plan: bytes, cells, and images the teacher looks at.
        filled: cells of the cache that is there already; 0 when there is none.
        free_bytes: on the disk where it is to lie.
    """

    layout: Layout
    plan: Plan
    filled: int
    free_bytes: int


@dataclass(frozen=True)
class Filled:
    """What filling a cache came to.

    Attributes:
        asked: images, each in a view, that the teacher was asked about.
        teacher: what it is.
        optimize_for_inference: what was done to its networks.
        apart: the largest difference of a probability when it was asked again about some cells.
        info: how the cache stands.
    """

    asked: int
    teacher: str
    optimize_for_inference: tuple[str, ...]
    apart: float
    info: Info


def plan_cache(config: RunConfig, *, features: bool = False) -> CachePlan:
    """What the cache of a configuration will take; nothing is written.

    Args:
        config: names data and cache; the teacher is looked at for features alone.
        features: whether pooled features are to be kept.

    Raises:
        InputError: the data cannot be read, the cache that is there is of another shape, or features without a network
            to give them.
    """
    assert config.cache is not None, "a plan is of a cache in a folder"
    dataset = training_data(config)
    rule, there = augmentation(config, dataset), card_there(config.cache)
    dims = pooled_features(config, dataset, torch.device("cpu")) if features else None
    layout = layout_of(dataset, rule, there, top_k=config.cache_top_k, features=dims)
    if there is not None:
        check_fingerprint(config.cache, there.fingerprint, setting_of(dataset, rule))
        check_layout(config.cache, there.layout, layout)
    filled = 0 if there is None else open_readonly(config.cache).store.count()
    return CachePlan(layout, plan(layout), filled, disk_usage(_nearest(config.cache)).free)


def _nearest(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.resolve().parents) if path.is_dir())


def fill_cache(
    config: RunConfig,
    *,
    features: bool = False,
    trained_on_only: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Filled:
    """Fill the cache of a configuration, then ask the teacher again about some of it. It may be stopped at any time, and
    goes on where it was when it is called again.

    Args:
        config: names data, teacher and cache.
        features: whether a cache to be made keeps pooled features.
        trained_on_only: leave out the training images that a run of this configuration holds out or does not use.
        progress: called at the start and after each batch with the cells done and those there were to do.

    Raises:
        InputError: no teacher, or anything wrong with it, the data or the cache.
        MachineError: no such device, or the disk has no room.
    """
    assert config.cache is not None, "it is a cache in a folder that is filled"
    if not config.teachers:
        raise InputError("no teacher to fill the cache from: give --teacher RUN_FOLDER, or an .onnx file")
    device, dataset = choose_device(config.device), training_data(config)
    rule = augmentation(config, dataset)
    positions = split(config, dataset)[0] if trained_on_only else None
    images = dataset.train.images.to(device)
    with deterministic(), closing(load_teacher(config, dataset, rule, device, features=features)) as teacher:
        cache = teacher.cache
        assert cache is not None, "the configuration names one"
        missing = _missing(cache, positions)
        if progress is not None:
            progress(0, missing)  # a first batch that is compiled takes a minute
        if compiles(config, teacher, dataset, missing, BATCH_SIZE, device):
            teacher = compiled(teacher, config, dataset, BATCH_SIZE)
        asked = fill(cache, images, rule, positions=positions, batch_size=BATCH_SIZE, progress=progress)
        apart = spot_check(cache, images, rule)
        return Filled(asked, teacher.kind, teacher.optimize_for_inference, apart, info(cache))


def _missing(cache: LogitCache, positions: Tensor | None) -> int:
    """How many cells are empty, of all samples or of some."""
    if positions is None:
        return cache.layout.cells - cache.store.count()
    views = torch.arange(cache.layout.views)
    cells = (part[:, None] * len(views) + views for part in positions.split(max(1, CELLS_AT_ONCE // len(views))))
    return sum(int((~cache.store.known(some.flatten().numpy())).sum()) for some in cells)
