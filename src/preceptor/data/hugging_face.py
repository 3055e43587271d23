"""Data sets of the Hugging Face hub, by the library ``datasets`` (extra ``huggingface``), from disk or the network."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from preceptor.data.listing import SPLITS, TRAIN, Listing, number_labels, split_of, used_splits
from preceptor.data.tables import needed_column, only_column
from preceptor.errors import InputError, few, first_line
from preceptor.extras import import_extra
from preceptor.files import is_inside


@dataclass(frozen=True, eq=False)
class HubImages:
    """The encoded images of a data set's sets, one after the other.

    Attributes:
        where: the data set's name or folder.
        names: of each image: its set, and its row in it.
        rows: a set of ``datasets`` whose only column holds images that it does not decode.
        anywhere: whether the files that it names may lie outside its folder and the caches of ``datasets``: as those of
            a set that the user made in Python. Default False.
    """

    where: Path
    names: Sequence[str]
    rows: Any
    anywhere: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def open(self, position: int) -> tuple[Path, BinaryIO | None]:
        """The content of an image, or its file, where the data set only names it."""
        path = self.where / self.names[position]
        try:
            (image,) = self.rows[position].values()
        except Exception as error:  # datasets and pyarrow raise errors of many classes
            raise InputError(f"{path}: cannot be read ({first_line(error)}); fetch the data set again") from error
        if image is not None and image["bytes"] is not None:
            return path, BytesIO(image["bytes"])
        if image is None or image["path"] is None:
            raise InputError(f"{path}: no image in this row; remove it")
        place = os.path.realpath(image["path"])
        if not self.anywhere and not any(is_inside(place, os.path.realpath(root)) for root in _roots(self.where)):
            raise InputError(f"{path}: names the file {image['path']}, outside the data set; fetch the data set again")
        return Path(place), None


def _roots(where: Path) -> list[Path]:
    """Where the files of a data set may lie: its folder, and the caches of ``datasets``."""
    prepared = Path(import_module("datasets.config").HF_DATASETS_CACHE)
    fetched = Path(import_module("huggingface_hub.constants").HF_HUB_CACHE)
    return [*([where] if where.is_dir() else []), prepared, fetched]


def list_hugging_face(name: str, download: bool = False) -> Listing:
    """The images of ``OWNER/NAME`` or ``OWNER/NAME:CONFIGURATION`` of the hub, or of a folder on disk.

    A folder is one that ``save_to_disk`` of ``datasets`` wrote, or one that its ``load_dataset`` reads: Parquet files,
    or image folders with or without ``metadata.csv``. No code of a data set is run. The column of images is that of the
    type ``Image`` (of several, one with a usual name, as ``data.tables.COLUMNS`` has them); the labels are in the
    column of the type ``ClassLabel``, which has the class names, or in one with a usual name. Sets of other names than
    :data:`~preceptor.data.listing.SPELLINGS` are not used.

    Args:
        name: of the data set or its folder.
        download: use the network. Without it the data set must be on disk or in the cache of ``datasets``.

    Raises:
        InputError: no such data set, one that cannot be loaded, that has no column of images or labels, or no training
            images.
        MachineError: ``datasets`` is not installed.
    """
    where = Path(name)
    return listing_of(_by_split(where, _loaded(name, download)), where)


def own_listing(sets: Mapping[str, Any]) -> Listing:
    """The images of sets that were made with ``datasets`` in Python, by the names of :data:`SPLITS`.

    Raises:
        InputError: no column of images or labels.
    """
    by_split = {SPLITS.index(name): (name, rows) for name, rows in sets.items()}
    return listing_of(by_split, Path(), anywhere=True)


def holds_images(dataset: Any) -> bool:
    """Whether it is a data set of ``datasets`` with a column of images."""
    if type(dataset).__module__.partition(".")[0] != "datasets" or not hasattr(dataset, "features"):
        return False
    image = _library().Image
    return any(isinstance(feature, image) for feature in dataset.features.values())


def listing_of(by_split: Mapping[int, tuple[str, Any]], where: Path, *, anywhere: bool = False) -> Listing:
    """The listing of some sets by the number of their kind, each with its name."""
    features = next(iter(by_split.values()))[1].features
    image, label = _image_column(features, where), _label_column(features, where)
    names = [f"{name}:{row}" for name, rows in by_split.values() for row in range(len(rows))]
    images = _library().concatenate_datasets([_undecoded(rows, image) for _, rows in by_split.values()])
    source = HubImages(where, names, images, anywhere)
    cells = [cell for _, rows in by_split.values() for cell in _column(rows, label)]
    counts = [len(rows) for _, rows in by_split.values()]
    splits = np.repeat(np.array(list(by_split), dtype=np.uint8), counts)
    labels, class_names = number_labels(cells, splits, where, getattr(features[label], "names", None))
    return Listing(where, source, names, labels, used_splits(splits, labels), class_names)


def _library() -> Any:
    return import_extra("datasets", "huggingface", "a Hugging Face data set")


def _loaded(name: str, download: bool) -> Any:
    """What ``datasets`` makes of it: a set, or several by name."""
    library, folder = _library(), Path(name)
    try:
        with _network(download):
            if folder.is_dir():
                saved = (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()
                return library.load_from_disk(name) if saved else library.load_dataset(name)
            hub_name, _, configuration = name.partition(":")
            return library.load_dataset(hub_name, configuration or None)
    except MemoryError:
        raise
    except Exception as error:  # datasets and the libraries below it raise errors of many classes
        remedy = "check its name" if download else "name a folder on disk, or fetch it with --download"
        raise InputError(f"data set hf:{name} cannot be loaded ({first_line(error)}); {remedy}") from error


@contextmanager
def _network(allowed: bool) -> Iterator[None]:
    """Neither ``datasets`` nor the library below it uses the network, unless it is allowed."""
    places: list[Any] = [import_module("datasets.config"), import_module("huggingface_hub.constants")]
    before, library = [place.HF_HUB_OFFLINE for place in places], _library()
    bars = not allowed and not library.are_progress_bars_disabled()
    try:
        if not allowed:
            for place in places:
                place.HF_HUB_OFFLINE = True
        if bars:
            library.disable_progress_bars()
        yield
    finally:
        for place, offline in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = offline
        if bars:
            library.enable_progress_bars()


def _by_split(where: Path, loaded: Any) -> dict[int, tuple[str, Any]]:
    """Name and rows of each set, by the number of its kind, in order."""
    if not isinstance(loaded, dict):
        return {TRAIN: ("train", loaded)}
    if len(loaded) == 1:
        return {TRAIN: next(iter(loaded.items()))}
    by_split: dict[int, tuple[str, Any]] = {}
    for key, rows in loaded.items():
        split = split_of(key)
        if split in by_split:
            raise InputError(f"{where}: has the sets {by_split[split][0]!r} and {key!r}; keep one {SPLITS[split]} set")
        if split is not None:
            by_split[split] = key, rows
    if TRAIN not in by_split:
        raise InputError(f"{where}: no training set among {few(list(loaded), 5)}; call one 'train'")
    return dict(sorted(by_split.items()))


def _image_column(features: Any, where: Path) -> str:
    image = _library().Image
    columns = [name for name, feature in features.items() if isinstance(feature, image)]
    return only_column(columns, "image", where, "columns of images")


def _label_column(features: Any, where: Path) -> str:
    """The column of classes; of several, the one that has a usual name."""
    library = _library()
    classes = [name for name, feature in features.items() if isinstance(feature, library.ClassLabel)]
    if len(classes) == 1:
        return str(classes[0])
    values = [name for name, feature in features.items() if isinstance(feature, library.Value)]
    return needed_column(classes or values, "label", where)


def _undecoded(rows: Any, column: str) -> Any:
    return rows.select_columns([column]).cast_column(column, _library().Image(decode=False))


def _column(rows: Any, column: str) -> list[Any]:
    values: list[Any] = rows.select_columns([column]).with_format("arrow")[:].column(column).to_pylist()
    return values
