"""The data sets that have a name: where each is looked for, its normalization and its augmentation."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from preceptor.data.arrays import read_arrays
from preceptor.data.augmentation import CropFlip
from preceptor.data.dataset import Dataset, ImageSet, LoadedData, Normalization
from preceptor.data.digit_files import read_kmnist, read_svhn
from preceptor.data.official import read_cifar, read_idx_sets, read_with_torchvision
from preceptor.data.split import hold_out
from preceptor.errors import InputError

_DIGITS_TEST_SHARE = 0.25
_DIGITS_SPLIT_SEED = 0

_DIGITS = tuple("0123456789")
# Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747
_FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
# Krizhevsky 2009, "Learning multiple layers of features from tiny images"
_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree
pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea
seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table
tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman
worm
"""


@dataclass(frozen=True)
class _Named:
    """A public data set: its constants, and where under the data folder its official files may be."""

    class_names: tuple[str, ...]
    normalization: Normalization
    augmentation: CropFlip
    read: Callable[[Path], LoadedData | None]
    files: str
    torchvision_class: str
    pickled: str | None = None


_NAMED = {
    # Constants of PyTorch's MNIST example. Digits are shifted but not mirrored: a mirrored digit is not a digit.
    "mnist": _Named(
        class_names=_DIGITS,
        normalization=Normalization((0.1307,), (0.3081,)),
        augmentation=CropFlip(padding=2, flip=False),
        read=lambda root: read_idx_sets([root / "MNIST" / "raw", root]),
        files="MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]",
        torchvision_class="MNIST",
    ),
    # Mean and deviation of the official training images. Crop with padding 4 and flip, as Zhong et al. 2020 ("Random
    # Erasing Data Augmentation", arXiv 1708.04896) train on it and most code since: a mirrored shoe is still a shoe.
    "fashion-mnist": _Named(
        class_names=_FASHION,
        normalization=Normalization((0.2860,), (0.3530,)),
        augmentation=CropFlip(padding=4, flip=True),
        read=lambda root: read_idx_sets([root / "FashionMNIST" / "raw", root]),
        files="FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]",
        torchvision_class="FashionMNIST",
    ),
    # Constants of the field, mean and deviation of the training images. Characters are shifted but not mirrored.
    "kmnist": _Named(
        class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        normalization=Normalization((0.1918,), (0.3483,)),
        augmentation=CropFlip(padding=2, flip=False),
        read=lambda root: read_kmnist([root / "KMNIST" / "raw", root / "KMNIST", root / "kmnist"]),
        files="KMNIST/raw/ as of mnist, or KMNIST/kmnist-{train,test}-{imgs,labels}.npz",
        torchvision_class="KMNIST",
    ),
    # Constants of the field, mean and deviation of the 73,257 training images. Digits are not mirrored; that they are
    # shifted by up to 2 pixels, so that the neighboring digits stay out of the center, is this project's choice.
    "svhn": _Named(
        class_names=_DIGITS,
        normalization=Normalization((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        augmentation=CropFlip(padding=2, flip=False),
        read=lambda root: read_svhn([root / "SVHN", root / "svhn", root]),
        files="SVHN/{train,test}_32x32.mat",
        torchvision_class="SVHN",
    ),
    # Mean and deviation over all training pixels. (The deviation .2023, .1994, .2010 also in use is something else: the
    # mean over images of the deviation within each.)
    "cifar10": _Named(
        class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        normalization=Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        augmentation=CropFlip(padding=4, flip=True),
        read=lambda root: read_cifar(
            root / "cifar-10-batches-bin",
            train=[f"data_batch_{number}.bin" for number in range(1, 6)],
            test="test_batch.bin",
            label_bytes=1,
        ),
        files="cifar-10-batches-bin/",
        torchvision_class="CIFAR10",
        pickled="cifar-10-batches-py",
    ),
    # Constants of the protocol that distillation on CIFAR-100 is compared under (Tian et al. 2020, arXiv 1910.10699).
    "cifar100": _Named(
        class_names=tuple(_CIFAR100.split()),
        normalization=Normalization((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
        augmentation=CropFlip(padding=4, flip=True),
        read=lambda root: read_cifar(
            root / "cifar-100-binary",
            train=["train.bin"],
            test="test.bin",
            label_bytes=2,
        ),
        files="cifar-100-binary/",
        torchvision_class="CIFAR100",
        pickled="cifar-100-python",
    ),
}

NAMES = ("digits", *_NAMED)


def read_named(name: str, root: Path, download: bool) -> Dataset:
    """A data set by name; ``digits`` needs no file, the others are looked for under ``root``.

    Each is taken from the first of: ``NAME.npz`` (as in ``arrays:``); the official files that hold plain bytes; CIFAR's
    Python archive unpacked, through torchvision; the network if ``download`` allows it, through torchvision.

    Raises:
        InputError: nothing there, or a damaged or unfitting file.
        MachineError: torchvision is needed and missing or cannot load, or a download failed.
    """
    if name == "digits":
        return _digits()
    named = _NAMED[name]
    data = _read(name, named, root, download)
    channels, expected = data.train.images.shape[1], len(named.normalization.mean)
    if channels != expected:
        raise InputError(f"data set {name!r} under {root}: images have {channels} channels; {name} has {expected}")
    return Dataset(
        name=name,
        class_names=data.class_names or named.class_names,
        train=data.train,
        test=data.test,
        normalization=named.normalization,
        augmentation=named.augmentation,
    )


def _read(name: str, named: _Named, root: Path, download: bool) -> LoadedData:
    arrays = root / f"{name}.npz"
    if arrays.is_file():
        return read_arrays(arrays)
    if (data := named.read(root)) is not None:
        return data
    if download or (named.pickled is not None and (root / named.pickled).is_dir()):
        return read_with_torchvision(named.torchvision_class, root, download)
    places = [arrays.name, named.files, *([f"{named.pickled}/"] if named.pickled else [])]
    raise InputError(
        f"data set {name!r} is not under {root} (looked for {', '.join(places)}); set PRECEPTOR_DATA to the folder "
        "that holds it, or fetch it with --download (needs pip install 'preceptor[vision]')"
    )


def _digits() -> Dataset:
    """The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn carries, a quarter of them held out for test.

    They are the test part of the UCI set "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998). The
    split is this project's own, stratified and always the same.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.data * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    images = ImageSet(torch.from_numpy(pixels), torch.from_numpy(digits.target.astype(np.int64)))
    train, test = hold_out(images.labels, _DIGITS_TEST_SHARE, _DIGITS_SPLIT_SEED)
    return Dataset(
        name="digits",
        class_names=_DIGITS,
        train=images.take(train),
        test=images.take(test),
        normalization=Normalization.from_images(images.take(train).images),
        augmentation=CropFlip(padding=1, flip=False),
    )
