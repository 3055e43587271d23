"""Readers of the files that SVHN and KMNIST were published as."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from preceptor.data.arrays import array_names, as_labels, opened_archive, read_array
from preceptor.data.dataset import ImageSet, LoadedData
from preceptor.data.official import read_idx_sets
from preceptor.errors import InputError, first_line

_SVHN_ZERO = 10
"""The label of the digit 0 in the official files."""


def read_svhn(folders: Sequence[Path]) -> LoadedData | None:
    """Training and test set of SVHN's cropped digits, each from the first folder that has its file.

    ``train_32x32.mat`` and ``test_32x32.mat`` hold ``X`` (uint8, 32 x 32 x 3 x n) and ``y`` (n x 1, where 10 is the
    digit 0), see http://ufldl.stanford.edu/housenumbers. The further 531,131 simpler images are not read. None where a
    file is in none of the folders.

    Raises:
        InputError: for a damaged file, naming it.
    """
    sets = []
    for name in ("train_32x32.mat", "test_32x32.mat"):
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is None:
            return None
        sets.append(_read_mat(path))
    return LoadedData(sets[0], sets[1])


def _read_mat(path: Path) -> ImageSet:
    arrays = read_mat(path)
    images, labels = arrays.get("X"), arrays.get("y")
    if images is None or labels is None:
        raise InputError(f"{path}: holds {_names(arrays)}; expected X and y, as in SVHN's cropped digits")
    if images.dtype != np.uint8 or images.shape[:3] != (32, 32, 3) or images.ndim != 4:
        raise InputError(f"{path}: X is {images.dtype} of shape {images.shape}; expected uint8, 32 x 32 x 3 x n")
    flat = as_labels(f"{path}: y", labels.reshape(-1))
    if len(flat) != images.shape[3] or not bool(((flat >= 0) & (flat <= _SVHN_ZERO)).all()):
        raise InputError(
            f"{path}: y has {len(flat)} labels, from {flat.min()} to {flat.max()}, for {images.shape[3]} images; "
            "expected one an image, 1 to 10"
        )
    return ImageSet(torch.from_numpy(np.ascontiguousarray(images.transpose(3, 2, 0, 1))), flat % _SVHN_ZERO)


def read_mat(path: Path) -> dict[str, NDArray[Any]]:
    """The variables of a MATLAB file of version 4 to 7.2, by name.

    Raises:
        InputError: it cannot be read.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(str(path), squeeze_me=False)
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file SciPy raises nearly anything
        raise InputError(f"{path}: not a readable .mat file ({first_line(error)}); fetch it again") from error
    return {name: value for name, value in content.items() if isinstance(value, np.ndarray)}


def read_kmnist(folders: Sequence[Path]) -> LoadedData | None:
    """KMNIST as idx files, as MNIST has them, or as the official four ``.npz`` files of one array each.

    Clanuwat et al. 2018, arXiv:1812.01718, https://github.com/rois-codh/kmnist. None where neither is whole.

    Raises:
        InputError: for a damaged file, naming it.
    """
    if (data := read_idx_sets(folders)) is not None:
        return data
    sets = []
    for split in ("train", "test"):
        paths = [
            next((folder / name for folder in folders if (folder / name).is_file()), None)
            for name in (f"kmnist-{split}-imgs.npz", f"kmnist-{split}-labels.npz")
        ]
        if paths[0] is None or paths[1] is None:
            return None
        images, labels = _only_array(paths[0]), _only_array(paths[1])
        if images.dtype != np.uint8 or images.ndim != 3:
            raise InputError(f"{paths[0]}: {images.dtype} of shape {images.shape}; expected uint8, n x height x width")
        sets.append(ImageSet(torch.from_numpy(images)[:, None], as_labels(f"{paths[1]}: the array", labels)))
    return LoadedData(sets[0], sets[1])


def _only_array(path: Path) -> NDArray[Any]:
    with opened_archive(path) as archive:
        names = array_names(archive)
        if len(names) != 1:
            raise InputError(f"{path}: holds {', '.join(names) or 'nothing'}; expected one array, as published")
        return read_array(path, archive, names[0])


def _names(arrays: dict[str, NDArray[Any]]) -> str:
    return ", ".join(sorted(arrays)) or "no array"
