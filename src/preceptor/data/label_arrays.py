"""Labels in files that may hold several arrays by name: ``.npz``, and ``.pt`` as CIFAR-N has them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from preceptor.data.arrays import array_names, as_labels, opened_archive, read_array
from preceptor.data.plain_files import load_plain
from preceptor.errors import InputError, few, first_line, unknown_name

ENDINGS = (".npz", ".pt", ".pth")
_CLEAN = ("clean_label", "clean_labels", "clean")
"""What such files call the labels that the data set has itself."""


def read_label_array(path: Path, key: str | None, own: Int[Tensor, " n"] | None) -> Int[Tensor, " n"]:
    """One array of labels of a file, int64.

    Args:
        path: an ``.npz`` archive, or what ``torch.save`` wrote: a tensor, an array, a list, or a dictionary of such.
            CIFAR-N (Wei et al. 2022, arXiv:2110.12088) publishes dictionaries: ``CIFAR-10_human.pt`` with
            ``clean_label``, ``aggre_label``, ``worse_label`` and ``random_label1`` to ``random_label3``, and
            ``CIFAR-100_human.pt`` with ``clean_label`` and ``noisy_label``.
        key: which of several arrays; None is for a file of one.
        own: the data set's own labels. Where the file has clean labels too, they must be these: else its images have
            another order.

    Raises:
        InputError: a damaged file, several arrays and no key, an unknown one (the nearest is offered), an array that is
            not of integers, or clean labels that are not the data set's.
    """
    arrays = _npz(path) if path.suffix.lower() == ".npz" else _torch(path)
    if key is None and len(arrays) > 1:
        first = next(iter(arrays))
        raise InputError(f"{path}: holds {few(list(arrays), 8)}; name one of them, as in {path.name}:{first}")
    key = next(iter(arrays)) if key is None else key
    if key not in arrays:
        raise unknown_name(f"array of {path}", key, arrays)
    labels = as_labels(f"{path}: {key}", arrays[key])
    _check_order(path, arrays, own)
    return labels


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    with opened_archive(path) as archive:
        names = array_names(archive)
        if not names:
            raise InputError(f"{path}: holds no array; write it with numpy.savez")
        return {name: read_array(path, archive, name) for name in names}


def _torch(path: Path) -> dict[str, NDArray[Any]]:
    try:
        content = load_plain(path)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes torch raise nearly anything
        raise InputError(
            f"{path}: not a file of arrays that torch opens with weights_only=True ({first_line(error)}); save the "
            "labels alone"
        ) from error
    named = content if isinstance(content, Mapping) else {"labels": content}
    arrays = {str(name): array for name, value in named.items() if (array := _as_array(value)) is not None}
    if not arrays:
        raise InputError(f"{path}: holds no array of labels; expected a tensor, an array, or a dictionary of such")
    return arrays


def _as_array(value: Any) -> NDArray[Any] | None:
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if isinstance(value, np.ndarray):
        return value
    is_list = isinstance(value, list) and all(type(one) is int for one in value)
    return np.array(value, dtype=np.int64) if is_list else None


def _check_order(path: Path, arrays: Mapping[str, NDArray[Any]], own: Int[Tensor, " n"] | None) -> None:
    name = next((name for name in _CLEAN if name in arrays), None)
    if name is None or own is None:
        return
    clean = as_labels(f"{path}: {name}", arrays[name])
    if len(clean) != len(own):
        return  # the count is checked of the labels that are asked for
    labels = own.cpu()
    differ = int(((labels >= 0) & (clean != labels)).sum())
    if differ:
        raise InputError(
            f"{path}: its {name} is not the data's own label at {differ:,} of {len(own):,} images: the images have "
            "another order; bring the labels into the order of the data"
        )
