"""Differentiable ranks of each row: a fast windowed form, and the projection that the literature uses.

Both give ascending ranks 1 to C that sum to C (C + 1) / 2, tend to the hard ranks as their strength goes to 0, and
compute in float32 at least, without a loop over rows and without waiting for the device.
"""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.context import BatchClasses, at_least_float32


def window_soft_rank(values: BatchClasses, strength: float) -> BatchClasses:
    """``r_i = 1/2 + sum_j H(x_i - x_j)`` with the ramp ``H(d) = clamp(1/2 + d / (2 tau), 0, 1)``, tau the strength.

    Only elements within tau of each other share a rank. By sorting and prefix sums: O(C log C) time, O(C) memory a
    row. The sums are taken in float64, since float32's error grows as 1 / tau. The gradient is autograd's.

    Args:
        values: standardized beforehand, so that the strength means the same for every row.
        strength: above 0.

    This project's choice of ramp; the closed form is the windowed sum of the pairwise one.
    """
    ordered, order = at_least_float32(values).sort(dim=1)
    ordered = ordered.double()
    ordered = ordered - ordered.mean(dim=1, keepdim=True).detach()  # keeps the prefix sums small
    edges = ordered.detach().contiguous()
    low = torch.searchsorted(edges, edges - strength)
    high = torch.searchsorted(edges, edges + strength, right=True)
    sums = torch.nn.functional.pad(ordered.cumsum(dim=1), (1, 0))
    count = (high - low).double()
    window = count * ordered - (sums.gather(1, high) - sums.gather(1, low))
    ranks = low + count / 2 + window / (2 * strength) + 0.5
    return torch.zeros_like(ranks).scatter(1, order, ranks).to(at_least_float32(values).dtype)


def permutahedron_soft_rank(values: BatchClasses, strength: float) -> BatchClasses:
    """The Euclidean projection of ``x / eps`` onto the permutahedron of (C, ..., 1), eps the strength.

    If no two neighbours are nearer than eps the ranks are exact and the gradient is zero; if all elements are pooled
    it is ``(C + 1) / 2 + (x_i - mean) / eps``, linear in x. The gradient is ``(g - block mean of g) / eps``.

    Args:
        values: standardized beforehand, so that the strength means the same for every row.
        strength: above 0.

    Blondel, Teboul, Berthet and Djolonga, "Fast Differentiable Sorting and Ranking", 2020, arXiv:2002.08871 (l2).
    """
    ranks: Tensor = _Projection.apply(at_least_float32(values), strength)  # type: ignore[no-untyped-call]
    return ranks


class _Projection(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, strength: float) -> Tensor:
        classes = values.shape[1]
        ordered, order = (values / strength).sort(dim=1, descending=True)
        ordered = ordered - ordered.mean(
            dim=1, keepdim=True
        )  # the projection is the same but for the mean; keeps sums small
        target = torch.arange(classes, 0, -1, device=values.device, dtype=values.dtype)
        block, mean = pooled_blocks((ordered - target).double())
        ranks = ordered - mean.gather(1, block).to(values.dtype)
        ctx.save_for_backward(order, block)
        ctx.strength = strength
        return torch.empty_like(ranks).scatter_(1, order, ranks)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        order, block = ctx.saved_tensors
        gradient = gradients[0].gather(1, order)
        zeros = torch.zeros_like(gradient)
        sums = zeros.scatter_add(1, block, gradient)
        sizes = zeros.scatter_add(1, block, torch.ones_like(gradient)).clamp(min=1)
        within = (gradient - (sums / sizes).gather(1, block)) / ctx.strength
        return torch.empty_like(within).scatter_(1, order, within), None


def pooled_blocks(values: BatchClasses) -> tuple[Int[Tensor, "batch classes"], BatchClasses]:
    """Non-increasing isotonic regression of every row at once, by pooling adjacent violators.

    Each row keeps a stack of blocks. In one step a row either merges its two topmost blocks, when they violate the
    order, or pushes its next element. 2 C - 1 steps are enough for every row, so the loop never waits for the device.

    Returns:
        block: which block each element belongs to.
        mean: the mean of each block, by block number; entries beyond a row's last block are undefined.
    """
    batch, classes = values.shape
    sums, sizes = torch.zeros_like(values), torch.ones_like(values)
    top = torch.full((batch, 1), -1, dtype=torch.long, device=values.device)
    taken = torch.zeros_like(top)
    for _ in range(2 * classes - 1):
        current, below = top.clamp(min=0), (top - 1).clamp(min=0)
        sum_current, size_current = sums.gather(1, current), sizes.gather(1, current)
        sum_below, size_below = sums.gather(1, below), sizes.gather(1, below)
        merge = (top > 0) & (sum_current * size_below > sum_below * size_current)  # means compared without a division
        push = ~merge & (taken < classes)
        next_value = values.gather(1, taken.clamp(max=classes - 1))
        top = top + push.long() - merge.long()
        new_top = top.clamp(min=0)
        old_sum, old_size = sums.gather(1, new_top), sizes.gather(1, new_top)
        merged_sum, merged_size = sum_below + sum_current, size_below + size_current
        sums.scatter_(1, new_top, torch.where(merge, merged_sum, torch.where(push, next_value, old_sum)))
        sizes.scatter_(1, new_top, torch.where(merge, merged_size, torch.where(push, 1.0, old_size)))
        taken = taken + push.long()
    column = torch.arange(classes, device=values.device)
    ends = torch.where(column <= top, sizes, 0).cumsum(dim=1)
    block = torch.searchsorted(ends, (column + 1).to(ends.dtype).expand_as(ends).contiguous())
    return block, sums / sizes
