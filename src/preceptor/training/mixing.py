"""Mixup and cutmix: inputs of a batch mixed in pairs, the same for the teacher and every student."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from preceptor.context import MixedLabels
from preceptor.data.randomness import RandomStream, random_words
from preceptor.errors import InputError
from preceptor.training.batches import Batch, to_device
from preceptor.training.config import TrainingConfig
from preceptor.training.distributed import own_rows, world_size

_CHOICE, _SHARE, _ACROSS, _DOWN, _PAIRS = range(5)
"""Indices of a step's random numbers: mixup or cutmix, share, middle of the rectangle; from the last on, the order."""

_STEP_BITS = 32
"""Random numbers of a step are at most two to this power."""

Box = tuple[slice, slice]
"""Rows and columns of an image."""


def mix(batch: Batch, config: TrainingConfig, seed: int, epoch: int, number: int) -> Batch:
    """The batch with its inputs mixed in pairs, as ``config.mixup`` and ``config.cutmix`` state; unchanged by neither.

    All is drawn from (``seed``, ``epoch``, ``number`` of the step) alone: one of the two methods where both are on, one
    share for the whole batch from Beta(a, a), and a permutation that pairs each sample with a partner of the same
    process, perhaps itself (Zhang et al. 2018, arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899). Mixup's pixels are
    rounded to whole levels, so that the teacher and the students are shown the same uint8 images; floating-point inputs
    are not.
    """
    if not config.mixes:
        return batch
    size, first, own = len(batch.label), number << _STEP_BITS, own_rows(len(batch.label))
    words = random_words(seed, RandomStream.MIXING, first, first + _PAIRS + size, epoch)
    uniform = words[:_PAIRS] / np.float64(2**64)
    by_mixup = config.mixup > 0 and (config.cutmix == 0 or bool(uniform[_CHOICE] < 0.5))
    share = beta_quantile(config.mixup if by_mixup else config.cutmix, float(uniform[_SHARE]))
    partner = to_device(torch.from_numpy(partners(words[_PAIRS:])), batch.label.device)
    other = batch.inputs[partner[own] // world_size()]
    if by_mixup:
        inputs = mixed_up(batch.inputs, other, share)
    else:
        height, width = batch.inputs.shape[2:]
        box = cut_box(share, float(uniform[_ACROSS]), float(uniform[_DOWN]), height, width)
        inputs = batch.inputs.clone()
        inputs[:, :, *box] = other[:, :, *box]
        share = 1 - inputs[0, 0, *box].numel() / (height * width)
    shares = torch.full((size,), share, device=batch.label.device)
    return replace(batch, inputs=inputs, mixed=MixedLabels(batch.label[partner], shares))


def partners(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The row that each row is mixed with; of several processes, one that the same process has."""
    result = np.arange(len(words))
    for first in range(world_size()):
        rows = slice(first, None, world_size())
        result[rows] = result[rows][np.argsort(words[rows], kind="stable")]
    return result


def beta_quantile(a: float, probability: float) -> float:
    """The quantile of Beta(a, a); SciPy is imported when it is first needed."""
    from scipy.special import betaincinv

    return float(betaincinv(a, a, probability))


def mixed_up(inputs: Tensor, other: Tensor, share: float) -> Tensor:
    """``share * inputs + (1 - share) * other`` in fp32, rounded where the inputs are uint8."""
    mixed = share * inputs.float() + (1 - share) * other.float()
    return mixed.round().to(torch.uint8) if inputs.dtype == torch.uint8 else mixed.to(inputs.dtype)


def cut_box(share: float, across: float, down: float, height: int, width: int) -> Box:
    """The rectangle that cutmix replaces: of the image's shape, of area ``1 - share``, cut off at the image's edge.

    Args:
        share: of the image that keeps its pixels, before the rectangle is cut off.
        across, down: the rectangle's middle, as shares of width and height.
    """
    side = (1 - share) ** 0.5
    rows, columns = (
        slice(round(max(0.0, (middle - side / 2) * pixels)), round(min(1.0, middle + side / 2) * pixels))
        for middle, pixels in ((down, height), (across, width))
    )
    return rows, columns


def check_mixable(config: TrainingConfig, inputs: object) -> None:
    """Refuse inputs that cannot be mixed.

    Args:
        config: whose ``mixup`` and ``cutmix`` say what is to be done.
        inputs: of a few samples.

    Raises:
        InputError: inputs by name, whole numbers that are no pixels, or cutmix of something other than images.
    """
    if not isinstance(inputs, Tensor) or not (inputs.dtype == torch.uint8 or inputs.is_floating_point()):
        kind = str(inputs.dtype) if isinstance(inputs, Tensor) else "tensors by name"
        raise InputError(f"mixup and cutmix: inputs are {kind}; expected one tensor, uint8 or floating: leave both out")
    if config.cutmix and inputs.dim() != 4:
        raise InputError(
            f"cutmix: inputs have {inputs.dim()} dimensions; expected images [batch, channels, height, width]: leave "
            "cutmix out"
        )
