"""One epoch of batches, as batched tensor work on the device that trains."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from preceptor.data import Augmentation, ImageSet, epoch_order


@dataclass(frozen=True)
class Batch:
    """Augmented images of 0 to 255, the labels given, and the positions in the training set.

    ``position`` and ``view`` say on the CPU which samples in which views these are, for whoever looks the teacher's
    word up there. ``asked`` holds the places in the batch of the samples to ask the teacher about, on the device and
    on the CPU; None is all of them.
    """

    images: UInt8[Tensor, "batch channels height width"]
    label: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]
    position: Int[Tensor, " batch"]
    view: Int[Tensor, " batch"]
    asked: tuple[Int[Tensor, " some"], Int[Tensor, " some"]] | None = None


@dataclass(frozen=True)
class EpochPlan:
    """Which sample is shown in which view when, known before the epoch begins.

    Attributes:
        position: positions in the training set, in the order of the epoch, on the CPU.
        view: the number of each one's view, on the CPU.
        bounds: where in that order each batch starts and ends.
    """

    position: Int[Tensor, " given"]
    view: Int[Tensor, " given"]
    bounds: tuple[tuple[int, int], ...]


def plan_epoch(
    positions: Int[Tensor, " given"], rule: Augmentation, *, batch_size: int, seed: int, epoch: int
) -> EpochPlan:
    """What an epoch will show. Order and views follow from (seed, epoch) and each sample's position alone.

    Args:
        positions: which samples to use, positions in the training set, on the CPU.
        rule: what the augmentation may do.
        batch_size: samples a batch; the last holds what is left. A single sample left over joins the batch
            before it, since batch normalization cannot work on one.
        seed: of order and views.
        epoch: counted from 0.
    """
    order = positions[epoch_order(seed, epoch, len(positions))]
    return EpochPlan(order, rule.draw(seed, epoch, order), tuple(_bounds(len(order), batch_size)))


def batches_of(
    plan: EpochPlan,
    train: ImageSet,
    rule: Augmentation,
    *,
    device: torch.device | None = None,
    asked: Bool[Tensor, " size"] | None = None,
    first: int = 0,
) -> Iterator[Batch]:
    """The batches of a plan.

    Args:
        plan: of the epoch.
        train: images and labels. Where they live on the device, no batch is copied to it.
        rule: of the plan's views.
        device: where the batches are to be; None is where the images are. From the CPU they come through pinned memory,
            so that the copy does not wait for the device.
        asked: by position in ``train``, whether to ask the teacher; on the CPU, so that no batch waits for the
            device. None is always.
        first: the batch to begin with.
    """
    device = device or train.images.device
    views, index = _to(plan.view, device), _to(plan.position, device)
    stored = index if train.images.device.type == device.type else plan.position
    wanted = None if asked is None else _places(asked[plan.position], plan.bounds, device)
    for number in range(first, len(plan.bounds)):
        part = slice(*plan.bounds[number])
        images = _to(train.images[stored[part]], device)
        yield Batch(
            images=rule.apply(images, views[part]),
            label=_to(train.labels[stored[part]], device),
            index=index[part],
            position=plan.position[part],
            view=plan.view[part],
            asked=None if wanted is None else wanted[number],
        )


def epoch_batches(
    train: ImageSet,
    positions: Int[Tensor, " given"],
    rule: Augmentation,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    asked: Bool[Tensor, " size"] | None = None,
) -> Iterator[Batch]:
    """:func:`plan_epoch` and :func:`batches_of` in one, where the images are."""
    plan = plan_epoch(positions, rule, batch_size=batch_size, seed=seed, epoch=epoch)
    return batches_of(plan, train, rule, asked=asked)


def _bounds(samples: int, batch_size: int) -> list[tuple[int, int]]:
    """Where batches start and end in the order of the epoch."""
    starts = range(0, samples - 1 if samples % batch_size == 1 and samples > 1 else samples, batch_size)
    return list(zip(starts, [*starts[1:], samples], strict=True))


def _places(
    asked: Bool[Tensor, " n"], bounds: tuple[tuple[int, int], ...], device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """For each batch the places in it of the samples to ask about: one transfer for the whole epoch."""
    places = [asked[start:end].nonzero().squeeze(1) for start, end in bounds]
    there = _to(torch.cat(places), device).split([len(part) for part in places])
    return list(zip(there, places, strict=True))


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    if tensor.device.type == device.type or device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def steps_in_epoch(samples: int, batch_size: int) -> int:
    """How many batches an epoch has."""
    full, left = divmod(samples, batch_size)
    return max(1, full + (left > 1))
