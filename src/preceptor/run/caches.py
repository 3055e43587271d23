"""The cache of a run, held against what the run is about."""

from pathlib import Path

from preceptor.config import validated
from preceptor.data import CropFlip, Dataset
from preceptor.run.folder import fingerprint
from preceptor.teachers.cache import Layout
from preceptor.teachers.cache.metadata import CARD_FILE, CacheMetadata, DatasetKey, check_fingerprint, read_card


def setting_of(dataset: Dataset, rule: CropFlip) -> DatasetKey:
    """What a run has to do with a cache, its teacher left aside."""
    return DatasetKey.without_teacher(fingerprint({"images": dataset.train.images}), rule, dataset.class_names)


def card_there(folder: Path) -> CacheMetadata | None:
    """The card of the cache in a folder; None when there is none yet.

    Raises:
        InputError: it is damaged.
    """
    return read_card(folder) if (folder / CARD_FILE).exists() else None


def check_bank(folder: Path, given: DatasetKey) -> CacheMetadata:
    """The card of a cache that is of what is given.

    Raises:
        InputError: there is none, or it is of something else.
    """
    card = read_card(folder)
    check_fingerprint(folder, card.fingerprint, given)
    return card


def layout_of(
    dataset: Dataset,
    rule: CropFlip,
    there: CacheMetadata | None = None,
    *,
    top_k: int | None = None,
    features: int | None = None,
) -> Layout:
    """The layout of a cache for a data set.

    Args:
        dataset: whose training images it is of.
        rule: of their views.
        there: of the cache that is there already, which keeps what it keeps, unless something else is stated.
        top_k: how many logits to keep; None is what is there, or else all.
        features: dimensions to keep; None is what is there, or else 0.

    Raises:
        InputError: as many classes are to be kept as there are, or more.
    """
    kept = None if there is None else there.layout
    content = {
        "samples": len(dataset.train),
        "views": rule.count,
        "classes": dataset.classes,
        "top_k": kept.top_k if kept is not None and top_k is None else top_k,
        "features": (kept.features if kept is not None else 0) if features is None else features,
    }
    return validated(Layout, content, "the cache")
