"""What statistics of a batch have in common: rows of weight zero count as absent, directions of zeros as zeros."""

import torch
from jaxtyping import Float
from torch import Tensor

from preceptor.context import PerSample, shares

NO_DIRECTION = 1e-12
"""A vector shorter than this has no direction (the ``eps`` of ``torch.nn.functional.normalize``)."""


def kept_rows(features: Float[Tensor, "batch ..."], weight: PerSample) -> Float[Tensor, "batch dimensions"]:
    """The features as rows; zeros where the weight is zero, so that whatever they hold reaches nothing."""
    rows = features.flatten(1)
    return torch.where((weight > 0).unsqueeze(1), rows, 0)


def pair_shares(weight: PerSample) -> Float[Tensor, "batch batch"]:
    """``w_i w_j / (sum w)^2``: the mean over pairs of rows."""
    share = shares(weight)
    return share.unsqueeze(1) * share


def inverse_root(squares: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """``1 / sqrt(squares)``; 0 with gradient 0 where the root is ``NO_DIRECTION`` or below, as it has none at 0."""
    has_none = squares <= NO_DIRECTION**2
    return torch.where(has_none, 0, torch.where(has_none, 1, squares).rsqrt())


def directions(rows: Float[Tensor, "batch dimensions"]) -> Float[Tensor, "batch dimensions"]:
    """Rows of Euclidean length 1; zeros stay zeros."""
    return rows * inverse_root(rows.square().sum(dim=1, keepdim=True))
