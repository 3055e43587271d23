"""Banks made ahead of training: how large one will be, and filling it."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

import torch
from torch import Tensor

from preceptor.errors import InputError
from preceptor.runs.banks import card_there, layout_of, setting_of
from preceptor.runs.config import RunConfig
from preceptor.runs.material import split, training_data, view_rule
from preceptor.runs.signals import compiled, load_teacher, pooled_features
from preceptor.runs.teaching import compiles
from preceptor.teachers.bank import Bank, Info, Layout, Plan, fill, info, look_into, plan, spot_check
from preceptor.teachers.bank.card import check_fingerprint, check_layout
from preceptor.training.device import choose_device, deterministic

BATCH_SIZE = 256
"""Images the teacher is asked about at a time."""


CELLS_AT_ONCE = 2**20
"""Cells that are looked at at a time when they are counted: a million samples have more than a hundred views each."""


@dataclass(frozen=True)
class BankPlan:
    """What a bank will take, before anything is written.

    Attributes:
        layout: its shape.
        plan: bytes, cells, and images the teacher looks at.
        filled: cells of the bank that is there already; 0 when there is none.
        free_bytes: on the disk where it is to lie.
    """

    layout: Layout
    plan: Plan
    filled: int
    free_bytes: int


@dataclass(frozen=True)
class Filled:
    """What filling a bank came to.

    Attributes:
        asked: images, each in a view, that the teacher was asked about.
        teacher: what it is.
        made_fast: what was done to its networks.
        apart: the largest difference of a probability when it was asked again about some cells.
        info: how the bank stands.
    """

    asked: int
    teacher: str
    made_fast: tuple[str, ...]
    apart: float
    info: Info


def plan_bank(config: RunConfig, *, features: bool = False) -> BankPlan:
    """What the bank of a configuration will take; nothing is written.

    Args:
        config: names data and bank; the teacher is looked at for features alone.
        features: whether pooled features are to be kept.

    Raises:
        InputError: the data cannot be read, the bank that is there is of another shape, or features without a network
            to give them.
    """
    assert config.bank is not None, "a plan is of a bank in a folder"
    dataset = training_data(config)
    rule, there = view_rule(config, dataset), card_there(config.bank)
    dims = pooled_features(config, dataset, torch.device("cpu")) if features else None
    layout = layout_of(dataset, rule, there, top_k=config.bank_top_k, features=dims)
    if there is not None:
        check_fingerprint(config.bank, there.fingerprint, setting_of(dataset, rule))
        check_layout(config.bank, there.layout, layout)
    filled = 0 if there is None else look_into(config.bank).store.count()
    return BankPlan(layout, plan(layout), filled, disk_usage(_nearest(config.bank)).free)


def _nearest(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.resolve().parents) if path.is_dir())


def fill_bank(
    config: RunConfig,
    *,
    features: bool = False,
    trained_on_only: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Filled:
    """Fill the bank of a configuration, then ask the teacher again about some of it. It may be stopped at any time, and
    goes on where it was when it is called again.

    Args:
        config: names data, teacher and bank.
        features: whether a bank to be made keeps pooled features.
        trained_on_only: leave out the training images that a run of this configuration holds out or does not use.
        progress: called at the start and after each batch with the cells done and those there were to do.

    Raises:
        InputError: no teacher, or anything wrong with it, the data or the bank.
        EnvironmentProblem: no such device, or the disk has no room.
    """
    assert config.bank is not None, "it is a bank in a folder that is filled"
    if not config.teachers:
        raise InputError("no teacher to fill the bank from: give --teacher RUN_FOLDER, or an .onnx file")
    device, dataset = choose_device(config.device), training_data(config)
    rule = view_rule(config, dataset)
    positions = split(config, dataset)[0] if trained_on_only else None
    images = dataset.train.images.to(device)
    with deterministic(), closing(load_teacher(config, dataset, rule, device, features=features)) as teacher:
        bank = teacher.bank
        assert bank is not None, "the configuration names one"
        missing = _missing(bank, positions)
        if progress is not None:
            progress(0, missing)  # a first batch that is compiled takes a minute
        if compiles(config, teacher, dataset, missing, BATCH_SIZE, device):
            teacher = compiled(teacher, config, dataset, BATCH_SIZE)
        asked = fill(bank, images, rule, positions=positions, batch_size=BATCH_SIZE, progress=progress)
        apart = spot_check(bank, images, rule)
        return Filled(asked, teacher.kind, teacher.made_fast, apart, info(bank))


def _missing(bank: Bank, positions: Tensor | None) -> int:
    """How many cells are empty, of all samples or of some."""
    if positions is None:
        return bank.layout.cells - bank.store.count()
    views = torch.arange(bank.layout.views)
    cells = (part[:, None] * len(views) + views for part in positions.split(max(1, CELLS_AT_ONCE // len(views))))
    return sum(int((~bank.store.known(some.flatten().numpy())).sum()) for some in cells)
