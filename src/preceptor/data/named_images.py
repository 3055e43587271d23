"""Data sets of encoded images that have a name: CINIC-10, Tiny ImageNet and ImageNet, in their official layouts.

As these were published, some images occur twice, also in several classes or sets; they are used as they are.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from preceptor.data.augmentation import Augmentation, CropFlip
from preceptor.data.dataset import Normalization
from preceptor.data.digit_files import read_mat
from preceptor.data.folder import FolderFiles, list_folder
from preceptor.data.list_file import missing_files
from preceptor.data.listing import SPLITS, TRAIN, Listing
from preceptor.errors import InputError, few

_TEST = SPLITS.index("test")
_DEVKIT = "ILSVRC2012_devkit_t12"
_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_SOLUTION = "LOC_val_solution.csv"


@dataclass(frozen=True)
class NamedImages:
    """A public data set of encoded images.

    Attributes:
        places: where under the data folder it may be; each holds a folder ``train``.
        list: the images of such a place.
        normalization: the field's constants; None: measured on the training images.
        augmentation: None: the usual one for images of its kind.
        page: where it is published.
    """

    places: tuple[str, ...]
    list: Callable[[Path], Listing]
    page: str
    normalization: Normalization | None = None
    augmentation: Augmentation | None = None


def list_named_images(name: str, root: Path) -> Listing:
    """The images of a data set of ``NAMED_IMAGES`` under a data folder.

    Raises:
        InputError: nothing there, or a layout that is not the official one.
    """
    named = NAMED_IMAGES[name]
    place = next((root / place for place in named.places if (root / place / "train").is_dir()), None)
    if place is None:
        looked = ", ".join(f"{place}/train/" for place in named.places)
        raise InputError(
            f"data set {name!r} is not under {root} (looked for {looked}); unpack the archive of {named.page} there, "
            "or set PRECEPTOR_DATA to the folder that holds it"
        )
    return replace(named.list(place), as_published=True)


def list_tiny_imagenet(place: Path) -> Listing:
    """Tiny ImageNet: ``train/CLASS/images/*.JPEG``, and as test set ``val/images`` by ``val/val_annotations.txt``.

    The images of ``test`` have no public labels. Where ``val`` has been sorted into class folders, these count. Classes
    are WordNet ids, in their order.
    """
    table = place / "val" / "val_annotations.txt"
    if not (place / "val" / "images").is_dir():
        return _with_sorted_test(place)
    rows = [line.split("\t") for line in _lines(table)]
    if any(len(row) < 2 for row in rows):
        raise InputError(f"{table}: a line without a tab; expected the file's name, a tab and its class")
    return _with_flat_test(place, [f"val/images/{row[0]}" for row in rows], [row[1] for row in rows], table)


def list_imagenet(place: Path) -> Listing:
    """ImageNet of ILSVRC 2012: ``train/CLASS/*.JPEG``, and as test set ``val/CLASS/*.JPEG``, or ``val/*.JPEG``.

    The classes of a flat ``val`` are those of the development kit (``ILSVRC2012_devkit_t12/data``, there, one folder up
    or beside the images) or of Kaggle's ``LOC_val_solution.csv``. Classes are WordNet ids, in their order, as in
    torchvision and timm. Without ``val`` there is no test set.
    """
    val = place / "val"
    if not val.is_dir() or any(entry.is_dir() for entry in val.iterdir() if not entry.name.startswith(".")):
        return _with_sorted_test(place)
    above = (place, *place.parents[:3])
    solution = next((folder / _SOLUTION for folder in above if (folder / _SOLUTION).is_file()), None)
    kits = [folder / part for folder in above for part in (f"{_DEVKIT}/data", "data", ".")]
    kit = next((folder for folder in kits if (folder / _GROUND_TRUTH).is_file()), None)
    if solution is not None:
        classes = _kaggle_classes(solution)
        return _with_flat_test(place, [f"val/{name}.JPEG" for name in classes], list(classes.values()), solution)
    if kit is None:
        raise InputError(
            f"{val}: has no class folders, and neither {_DEVKIT}/data/{_GROUND_TRUTH} nor {_SOLUTION} is at {place} or "
            "above: put one of them there, or sort the images into class folders"
        )
    classes_in_order = _devkit_classes(kit)
    names = [f"val/ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, len(classes_in_order) + 1)]
    return _with_flat_test(place, names, classes_in_order, kit / _GROUND_TRUTH)


def _kaggle_classes(table: Path) -> dict[str, str]:
    """The class of each image by its name."""
    rows = list(csv.reader(_lines(table)))[1:]
    if any(len(row) != 2 or not row[1].split() for row in rows):
        raise InputError(f"{table}: expected the columns ImageId and PredictionString, which begins with the class")
    return {name: prediction.split()[0] for name, prediction in rows}


def _devkit_classes(kit: Path) -> list[str]:
    """The WordNet id of each validation image, in their order."""
    numbers = _lines(kit / _GROUND_TRUTH)
    meta = kit / "meta.mat"
    if not meta.is_file():
        raise InputError(f"{meta}: no such file; it tells the classes of {_GROUND_TRUTH}: unpack the whole kit")
    synsets = read_mat(meta).get("synsets")
    if synsets is None or not {"ILSVRC2012_ID", "WNID"} <= set(synsets.dtype.names or ()):
        raise InputError(f"{meta}: no table 'synsets' with ILSVRC2012_ID and WNID; unpack the development kit again")
    try:
        wordnet = {
            str(np.asarray(row["ILSVRC2012_ID"]).item()): str(np.asarray(row["WNID"]).item()) for row in synsets.flat
        }
    except ValueError as error:  # a cell of several values, or of none
        raise InputError(f"{meta}: a class with several ids, or none; unpack the development kit again") from error
    unknown = sorted({number for number in numbers if number not in wordnet})
    if unknown:
        raise InputError(f"{kit / _GROUND_TRUTH}: {few(unknown)} are no ILSVRC2012_ID of {meta}; unpack the kit again")
    return [wordnet[number] for number in numbers]


def _with_sorted_test(place: Path) -> Listing:
    """The training images, and as test set the class folders of ``val``, if it is there.

    The field measures on these images, since the official test set has no public labels.
    """
    if not (place / "val").is_dir():
        return _with_flat_test(place, (), (), place)
    val = list_folder(place / "val")
    class_names = val.class_names or ()
    names = [f"val/{name}" for name in val.names]
    return _with_flat_test(place, names, [class_names[label] for label in val.labels], place / "val")


def _with_flat_test(place: Path, names: Sequence[str], classes: Sequence[str], table: Path) -> Listing:
    """The training images in class folders, and test images whose classes a table lists."""
    train = list_folder(place / "train")
    label_of: Mapping[str, int] = {name: label for label, name in enumerate(train.class_names or ())}
    unknown = sorted(set(classes) - set(label_of))
    if unknown:
        raise InputError(f"{table}: {few(unknown)} are no training classes; there are {few(list(label_of))}")
    all_names = [*(f"train/{name}" for name in train.names), *names]
    count, missing = len(train), missing_files(place, list(names))
    return Listing(
        place,
        FolderFiles(place, all_names),
        all_names,
        np.concatenate([train.labels, np.array([label_of[name] for name in classes], dtype=np.int64)]),
        np.array([TRAIN] * count + [_TEST] * len(names), dtype=np.uint8),
        train.class_names,
        errors=train.errors | {count + position: error for position, error in missing.items()},
    )


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as text ({error}); unpack the archive again") from error


NAMED_IMAGES = {
    # Constants and sets of Darlow et al. 2018, arXiv:1810.03505; augmentation as CIFAR-10's.
    "cinic10": NamedImages(
        places=("CINIC-10", "cinic-10", "cinic10"),
        list=list_folder,
        page="https://github.com/BayesWatch/cinic-10",
        normalization=Normalization((0.4789, 0.4723, 0.4305), (0.2421, 0.2383, 0.2587)),
        augmentation=CropFlip(padding=4, flip=True),
    ),
    "tiny-imagenet": NamedImages(
        places=("tiny-imagenet-200", "tiny-imagenet"),
        list=list_tiny_imagenet,
        page="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    ),
    # Constants of torchvision's pretrained networks, which nearly all code has taken over.
    "imagenet": NamedImages(
        places=("imagenet", "ImageNet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC"),
        list=list_imagenet,
        page="https://image-net.org (ILSVRC 2012)",
        normalization=Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ),
}
