"""Labels from a file of their own, for example noisy ones in place of a data set's."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.data.arrays import unreadable
from preceptor.errors import InputError
from preceptor.files import check_is_file


def read_labels(path: Path, count: int) -> Int[Tensor, " n"]:
    """Labels from a ``.npy`` file, int64, shape [n]; -1 marks an unlabeled image. Nothing is unpickled.

    Args:
        path: a one-dimensional array of integers.
        count: how many there must be.

    Raises:
        InputError: the file is missing or no such array, or has another length.
    """
    check_is_file(path)
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged header makes NumPy raise nearly anything, a TokenError for one
        raise unreadable(path, error) from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: an archive of several arrays: expected one array saved by numpy.save")
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"{path}: {array.dtype} of shape {array.shape}: expected one row of integers, one a training image"
        )
    if len(array) != count:
        raise InputError(f"{path}: {len(array)} labels for {count} training images: give one for each, in their order")
    if array.max(initial=0) > np.iinfo(np.int64).max:
        raise InputError(f"{path}: label {array.max()}: no data set has so many classes")
    return torch.from_numpy(array.astype(np.int64))
