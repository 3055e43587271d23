"""Sums over bins, of many draws of samples at once."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor


def bin_sums(
    place: Int[Tensor, "*draws n"], bins: int, values: Float[Tensor, "*draws n"] | None = None
) -> Shaped[Tensor, "*draws bins"]:
    """The values added up over the samples in each bin, of every draw by itself; without values, how many there are."""
    rows = place.reshape(-1, place.shape[-1])
    slot = rows + bins * torch.arange(len(rows), device=place.device).unsqueeze(1)
    sums = slot.flatten().bincount(None if values is None else values.flatten(), minlength=bins * len(rows))
    return sums.view(*place.shape[:-1], bins)
