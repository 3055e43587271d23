"""Encoding of logits as the records of a cache, in float16."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from numpy import ndarray
from torch import Tensor

from preceptor.chunking import chunked
from preceptor.teachers.cache.metadata import Layout

LOWEST = float(torch.finfo(torch.float16).min)
"""A logit further below the largest of its row than this, -65504, is raised to it."""

_SMALLEST = 2.0**-24  # of the float16 above zero

Records = Shaped[ndarray, " n"]
"""A structured array of type ``Layout.record``."""


class Codec:
    """Rounds rows of logits ``z`` to records.

    A record holds the largest logit ``m`` in float32 and ``z - m`` in float16: the rounding is finest where the
    probability is, and softmax never meets ``m``. What comes back differs from ``z`` by at most
    ``2^-11 (m - z) + 2^-24 + 2^-22 max|z|``, as long as no logit lies more than 65504 below ``m``; the largest comes
    back as it was, and no other becomes equal to it, so the predicted class is never another.

    With ``top_k`` it holds the k largest alone, and for the others the one value ``log(sum of exp(z - m) over them) -
    log(their number)``: the k probabilities at temperature 1 are kept within the rounding, the others share what
    remains evenly. At a higher temperature T the others come out too large together, by a factor of
    ``mean(p)^(1/T) / mean(p^(1/T)) >= 1`` over their probabilities p.

    Args:
        layout: of the cache.
    """

    def __init__(self, layout: Layout) -> None:
        self.classes, self.top_k = layout.classes, layout.top_k
        self._record: np.dtype[Any] = layout.record

    def encode(self, logits: Float[Tensor, "n classes"]) -> Records:
        """The records of finite logits."""
        top = logits.float().amax(dim=1, keepdim=True)
        below = logits.float() - top
        records = np.zeros(len(logits), self._record)
        for name, values in {"top": top.squeeze(1), **self._kept(below)}.items():
            records[name] = values.cpu().numpy()
        return records

    def _kept(self, below: Float[Tensor, "n classes"]) -> dict[str, Tensor]:
        k = self.top_k
        if k is None:
            return {"values": _rounded(below)}
        ids = _largest(below, k)
        others = below.scatter(1, ids, -torch.inf)
        share = others.logsumexp(dim=1) - math.log(self.classes - k)
        # Rounding alone could lift the mean above the largest of the others. A class just below a tie at the top must
        # stay below it: with the smallest index of all it would become the predicted one.
        largest = others.amax(dim=1)
        below_top = others.masked_fill_(others >= 0, -torch.inf).amax(dim=1)
        most = torch.where(below_top > -torch.inf, below_top, 0)
        rest = torch.minimum(share, torch.minimum(largest, most)).clamp_min(LOWEST)
        return {"values": _rounded(below.gather(1, ids)), "ids": ids, "rest": rest}

    def logits(self, records: Records) -> Float[Tensor, "n classes"]:
        """Float32 logits on the CPU, in their own memory."""
        top = torch.from_numpy(records["top"])
        values = torch.from_numpy(records["values"]).float()
        if self.top_k is not None:
            ids = torch.from_numpy(records["ids"].astype(np.int64))
            rest = torch.from_numpy(records["rest"])
            values = rest[:, None].repeat(1, self.classes).scatter_(1, ids, values)
        return values.add_(top[:, None])


@chunked
def _largest(below: Float[Tensor, "n classes"], k: int) -> Int64[Tensor, "n k"]:
    """Indices of the k largest of values of 0 or less, descending; of equals the smallest indices.

    A stable sort gives the same and takes many times as long for thousands of classes. As integers the bits of such
    floats, without their sign, ascend as the values descend; the index below them decides between equals.
    """
    order = below.abs().view(torch.int32).long()
    order <<= 32
    order |= torch.arange(below.shape[1], device=below.device)
    return order.topk(k, dim=1, largest=False).values & (2**32 - 1)


def _rounded(below: Float[Tensor, "n kept"]) -> Tensor:
    """To float16, where what is below zero stays below it."""
    return torch.where(below < 0, below.clamp(LOWEST, -_SMALLEST), below).half()
