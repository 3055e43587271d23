"""One epoch of batches, as batched tensor work on the device that holds the images."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from preceptor.data import ImageSet, ViewRule, epoch_order


@dataclass(frozen=True)
class Batch:
    """Augmented images of 0 to 255, the labels given, and the positions in the training set.

    ``asked`` holds the places in the batch of the samples to ask the teacher about; None is all of them.
    """

    images: UInt8[Tensor, "batch channels height width"]
    label: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]
    asked: Int[Tensor, " some"] | None = None


def epoch_batches(
    train: ImageSet,
    positions: Int[Tensor, " given"],
    rule: ViewRule,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    asked: Bool[Tensor, " size"] | None = None,
) -> Iterator[Batch]:
    """The batches of one epoch. Order and views follow from (seed, epoch) and each sample's position alone.

    Args:
        train: images and labels; batches are made where these live.
        positions: which samples to use, positions in ``train``, on the CPU.
        rule: what the augmentation may do.
        batch_size: samples a batch; the last holds what is left. A single sample left over joins the batch
            before it, since batch normalisation cannot work on one.
        seed: of order and views.
        epoch: counted from 0.
        asked: by position in ``train``, whether to ask the teacher; on the CPU, so that no batch waits for the
            device. None is always.
    """
    order = positions[epoch_order(seed, epoch, len(positions))]
    views = rule.draw(seed, epoch, order).to(train.images.device)
    bounds = _bounds(len(order), batch_size)
    wanted = None if asked is None else _places(asked[order], bounds, train.images.device)
    order = order.to(train.images.device)
    for number, (start, end) in enumerate(bounds):
        index = order[start:end]
        images = rule.apply(train.images[index], views[start:end])
        yield Batch(images, train.labels[index], index, None if wanted is None else wanted[number])


def _bounds(samples: int, batch_size: int) -> list[tuple[int, int]]:
    """Where batches start and end in the order of the epoch."""
    starts = range(0, samples - 1 if samples % batch_size == 1 and samples > 1 else samples, batch_size)
    return list(zip(starts, [*starts[1:], samples], strict=True))


def _places(asked: Bool[Tensor, " n"], bounds: list[tuple[int, int]], device: torch.device) -> list[Tensor]:
    """For each batch the places in it of the samples to ask about: one transfer for the whole epoch."""
    places = [asked[start:end].nonzero().squeeze(1) for start, end in bounds]
    return list(torch.cat(places).to(device).split([len(part) for part in places]))


def steps_in_epoch(samples: int, batch_size: int) -> int:
    """How many batches :func:`epoch_batches` gives."""
    full, left = divmod(samples, batch_size)
    return max(1, full + (left > 1))
