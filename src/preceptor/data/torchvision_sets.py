"""Named data sets through torchvision, which downloads them and checks their MD5 before it reads them."""

import contextlib
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from preceptor.data.dataset import Contents, ImageSet
from preceptor.errors import InputError, MachineError


def read_with_torchvision(class_name: str, root: Path, download: bool) -> Contents:
    """Training and test set of one of torchvision's data set classes.

    Args:
        class_name: in ``torchvision.datasets``, as ``"CIFAR100"``.
        root: folder that holds the data set, or into which it is downloaded.
        download: fetch what isn't there; without it the network is never affected.

    Raises:
        MachineError: torchvision is missing or cannot load, or the download failed.
        InputError: the files are incomplete or damaged.
    """
    source = getattr(_torchvision_datasets(), class_name)
    # Where it reports on standard output it would end up in the middle of --json.
    with contextlib.redirect_stdout(sys.stderr):
        sets = [_open(source, class_name, root, train, download) for train in (True, False)]
    return Contents(_as_image_set(sets[0]), _as_image_set(sets[1]))


def _torchvision_datasets() -> ModuleType:
    try:
        return import_module("torchvision.datasets")
    except ModuleNotFoundError as error:
        if error.name not in ("torchvision", "torchvision.datasets"):
            raise _unloadable(error) from error
        raise MachineError(
            "this data set needs torchvision, which is not installed: pip install 'preceptor[vision]'"
        ) from error
    except (ImportError, RuntimeError, OSError) as error:
        raise _unloadable(error) from error


def _unloadable(error: Exception) -> MachineError:
    return MachineError(
        f"this data set needs torchvision, which is installed but cannot load ({error}): "
        f"install the torchvision build that matches torch {torch.__version__}"
    )


def _open(source: Any, class_name: str, root: Path, train: bool, download: bool) -> Any:
    try:
        return source(root=str(root), train=train, download=download)
    except (RuntimeError, OSError, EOFError) as error:
        if download:
            raise MachineError(
                f"download of {class_name} to {root} failed ({error}): check the network and the space on disk, "
                "then try again"
            ) from error
        raise InputError(
            f"{class_name} under {root} is incomplete or damaged ({error}); remove it and fetch it again"
        ) from error


def _as_image_set(found: Any) -> ImageSet:
    pixels = torch.as_tensor(found.data, dtype=torch.uint8)
    images = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
    return ImageSet(images, torch.as_tensor(found.targets, dtype=torch.int64))
