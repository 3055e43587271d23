"""Filling a bank ahead of training."""

import shutil
from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64, UInt8
from numpy import ndarray
from torch import Tensor

from preceptor.data import Views
from preceptor.errors import EnvironmentProblem, InputError
from preceptor.teachers.bank.bank import Bank


def fill(
    bank: Bank,
    images: UInt8[Tensor, "samples channels height width"],
    rule: Views,
    *,
    positions: Int[Tensor, " some"] | None = None,
    batch_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Ask the bank's live signal for every cell that is still empty. It may be stopped at any time and called again.

    Several processes may fill one bank: each goes through it in an order of its own and passes over what another has
    filled meanwhile, so they hardly ever do the same work.

    Args:
        bank: with a live signal.
        images: all training images, 0 to 255, on the device where the teacher runs.
        rule: of the views.
        positions: fill the views of these samples only; None is all.
        batch_size: images the teacher is asked about at a time. Default 256.
        progress: called after each batch with the cells done so far and those there were to do.

    Returns:
        how many cells it filled itself.

    Raises:
        InputError: images or rule do not fit the bank, or as by :meth:`Bank.learn`.
        EnvironmentProblem: the disk has less room than what is missing takes (said before any work), or is full.
    """
    _check_fit(bank, images, rule)
    wanted = _wanted(bank, positions)
    total = sum(len(_empty(bank, wanted, shard)) for shard in range(bank.layout.shards))
    _check_room(bank, total)
    done = asked = 0
    for cells in _batches(bank, wanted, batch_size):
        empty = cells[~bank.store.known(cells)]
        if len(empty):
            _ask(bank, images, rule, empty)
        asked += len(empty)
        done += len(cells)
        if progress is not None:
            progress(min(done, total), total)
    bank.flush()
    return asked


def _ask(bank: Bank, images: Tensor, rule: Views, cells: Int64[ndarray, " n"]) -> None:
    index, view = (torch.from_numpy(numbers) for numbers in np.divmod(cells, bank.layout.views))
    shown = rule.apply(images[index.to(images.device)], view.to(images.device))
    bank.learn(shown, index, view)


def _batches(bank: Bank, wanted: Bool[ndarray, " samples"], batch_size: int) -> Iterator[Int64[ndarray, " n"]]:
    """The empty cells in batches of neighbours, the batches in an order that no other process has.

    The order changes no number, so it needs no seed.
    """
    order = np.random.default_rng()
    for shard in order.permutation(bank.layout.shards).tolist():
        cells = _empty(bank, wanted, shard)
        for start in order.permutation(np.arange(0, len(cells), batch_size)).tolist():
            yield cells[start : start + batch_size]


def _empty(bank: Bank, wanted: Bool[ndarray, " samples"], shard: int) -> Int64[ndarray, " n"]:
    cells = bank.store.empty(shard)
    return cells if wanted.all() else cells[wanted[cells // bank.layout.views]]


def _wanted(bank: Bank, positions: Int[Tensor, " some"] | None) -> Bool[ndarray, " samples"]:
    wanted = np.full(bank.layout.samples, positions is None)
    if positions is not None:
        wanted[positions.cpu().numpy()] = True
    return wanted


def _check_fit(bank: Bank, images: Tensor, rule: Views) -> None:
    if len(images) != bank.layout.samples or rule.count != bank.layout.views:
        raise InputError(
            f"bank {bank.folder}: is for {bank.layout.samples} samples of {bank.layout.views} views, given are "
            f"{len(images)} of {rule.count}: give all training images and the rule the bank was made for"
        )


def _check_room(bank: Bank, cells: int) -> None:
    needed, free = cells * bank.layout.cell_bytes, shutil.disk_usage(bank.folder).free
    if needed > free:
        raise EnvironmentProblem(
            f"{bank.folder}: {needed / 1e9:.1f} GB are to be written and {free / 1e9:.1f} GB are free: make room, "
            "use a disk with more, or keep the top classes only"
        )
