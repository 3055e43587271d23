"""The data sets that have a name: where each is looked for, how it is normalized, which views it is shown in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from preceptor.data import class_names
from preceptor.data.arrays import read_arrays
from preceptor.data.augmentation import CropFlip
from preceptor.data.cifar import read_cifar10, read_cifar100
from preceptor.data.cifar_python import read_cifar10_python, read_cifar100_python
from preceptor.data.dataset import Contents, Dataset, ImageSet, Normalization
from preceptor.data.idx import read_idx_sets
from preceptor.data.split import hold_out
from preceptor.data.torchvision_sets import read_with_torchvision
from preceptor.errors import InputError

_DIGITS_TEST_SHARE = 0.25
_DIGITS_SPLIT_SEED = 0


@dataclass(frozen=True)
class _Source:
    """A public data set: its constants, and where under the root its files may be."""

    class_names: tuple[str, ...]
    normalization: Normalization
    augmentation: CropFlip
    read: Callable[[Path], Contents | None]
    files: str
    torchvision_class: str
    python_folder: str | None = None


def _read_mnist(root: Path) -> Contents | None:
    return read_idx_sets([root / "MNIST" / "raw", root])


def _read_fashion_mnist(root: Path) -> Contents | None:
    return read_idx_sets([root / "FashionMNIST" / "raw", root])


def _read_cifar10(root: Path) -> Contents | None:
    return read_cifar10(root) or read_cifar10_python(root)


def _read_cifar100(root: Path) -> Contents | None:
    return read_cifar100(root) or read_cifar100_python(root)


_SOURCES = {
    # Constants of PyTorch's own MNIST example; digits are shifted but not mirrored, since mirrored ones are none.
    "mnist": _Source(
        class_names=class_names.DIGITS,
        normalization=Normalization((0.1307,), (0.3081,)),
        augmentation=CropFlip(padding=2, flip=False),
        read=_read_mnist,
        files="MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]",
        torchvision_class="MNIST",
    ),
    # Mean and deviation of the official training images. Crop with padding 4 and flip, as Zhong et al. 2020 ("Random
    # Erasing Data Augmentation", arXiv 1708.04896) train on it and most code since: a mirrored shoe is still a shoe.
    "fashion-mnist": _Source(
        class_names=class_names.FASHION_MNIST,
        normalization=Normalization((0.2860,), (0.3530,)),
        augmentation=CropFlip(padding=4, flip=True),
        read=_read_fashion_mnist,
        files="FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]",
        torchvision_class="FashionMNIST",
    ),
    # Mean and deviation over all training pixels. (The deviation .2023, .1994, .2010 also in use is something else: the
    # mean over images of the deviation within each.)
    "cifar10": _Source(
        class_names=class_names.CIFAR10,
        normalization=Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        augmentation=CropFlip(padding=4, flip=True),
        read=_read_cifar10,
        files="cifar-10-batches-bin/",
        torchvision_class="CIFAR10",
        python_folder="cifar-10-batches-py",
    ),
    # Constants of the protocol that distillation on CIFAR-100 is compared under (Tian et al. 2020, arXiv 1910.10699).
    "cifar100": _Source(
        class_names=class_names.CIFAR100,
        normalization=Normalization((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
        augmentation=CropFlip(padding=4, flip=True),
        read=_read_cifar100,
        files="cifar-100-binary/",
        torchvision_class="CIFAR100",
        python_folder="cifar-100-python",
    ),
}

NAMES = ("digits", *_SOURCES)


def read_named(name: str, root: Path, download: bool) -> Dataset:
    """A data set by name; ``digits`` needs no file, the others are looked for under ``root``.

    Each is taken from the first of: ``NAME.npz`` (as in ``arrays:``), the official files, for CIFAR the official Python
    archive unpacked (``cifar_python``), the network if ``download`` allows it.

    Raises:
        InputError: nothing found, or a damaged or unfitting file.
        MachineError: torchvision is needed and missing or cannot load, or a download failed.
    """
    if name == "digits":
        return _digits()
    source = _SOURCES[name]
    contents = _read(name, source, root, download)
    _check_channels(name, source, contents, root)
    return Dataset(
        name=name,
        class_names=contents.class_names or source.class_names,
        train=contents.train,
        test=contents.test,
        normalization=source.normalization,
        augmentation=source.augmentation,
    )


def _read(name: str, source: _Source, root: Path, download: bool) -> Contents:
    arrays = root / f"{name}.npz"
    if arrays.is_file():
        return read_arrays(arrays)
    if (contents := source.read(root)) is not None:
        return contents
    if download:
        return read_with_torchvision(source.torchvision_class, root, download)
    places = [arrays.name, source.files, *([f"{source.python_folder}/"] if source.python_folder else [])]
    raise InputError(
        f"data set {name!r} is not under {root} (looked for {', '.join(places)}): set PRECEPTOR_DATA to the folder "
        "that holds it, or fetch it with --download (needs pip install 'preceptor[vision]')"
    )


def _check_channels(name: str, source: _Source, contents: Contents, root: Path) -> None:
    found, expected = contents.train.images.shape[1], len(source.normalization.mean)
    if found != expected:
        raise InputError(f"data set {name!r} under {root}: images of {found} channels, {name} has {expected}")


def _digits() -> Dataset:
    """The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn carries, a quarter of them held out for test.

    They are the test part of the UCI set "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998). The
    split is ours, stratified and always the same.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = np.rint(found.data * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    images = ImageSet(torch.from_numpy(pixels), torch.from_numpy(found.target.astype(np.int64)))
    train, test = hold_out(images.labels, _DIGITS_TEST_SHARE, _DIGITS_SPLIT_SEED)
    return Dataset(
        name="digits",
        class_names=class_names.DIGITS,
        train=images.take(train),
        test=images.take(test),
        normalization=Normalization.from_images(images.take(train).images),
        augmentation=CropFlip(padding=1, flip=False),
    )
