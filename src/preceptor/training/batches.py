"""One epoch of batches, as batched tensor work on the device that holds the images."""

from collections.abc import Iterator
from dataclasses import dataclass

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
    places, order = order, order.to(train.images.device)
    start = 0
    while start < len(order):
        left = len(order) - start
        size = left if left <= batch_size or left == batch_size + 1 else batch_size
        index = order[start : start + size]
        images = rule.apply(train.images[index], views[start : start + size])
        wanted = None if asked is None else asked[places[start : start + size]].nonzero().squeeze(1).to(index.device)
        yield Batch(images, train.labels[index], index, wanted)
        start += size


def steps_in_epoch(samples: int, batch_size: int) -> int:
    """How many batches :func:`epoch_batches` gives."""
    full, left = divmod(samples, batch_size)
    return max(1, full + (left > 1))
