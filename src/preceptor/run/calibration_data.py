"""Images that a guarantee can rest on: labeled, and used for nothing else."""

from dataclasses import dataclass
from pathlib import Path

import torch

from preceptor.context import UNLABELED
from preceptor.data import Dataset, ImageSet, load_dataset
from preceptor.errors import InputError
from preceptor.models import CalibrationSet, ModelCard
from preceptor.models.decision import Part
from preceptor.run.cards import check_card
from preceptor.run.folder import RUN_FILE, fingerprint
from preceptor.run.history import DatasetCache, SavedRun, number_among, saved_run, teachers_behind

MOST_SEEN = 0.01
"""Share of the images that may be, pixel for pixel, among those learned from: public data sets hold a few twice."""


@dataclass(frozen=True)
class Given:
    """Which images to calibrate on.

    Attributes:
        data: a data set; None is that of the student's run.
        part: of it; None is, of the run's own, the images it held out, and of another its test set, or all where it
            has none.
        data_root, download, image_size, skip_bad_images: as for :class:`~preceptor.run.RunConfig`. A folder's images
            are resized to what the student was trained on unless a size is given.
    """

    data: str | None = None
    part: Part | None = None
    data_root: Path | None = None
    download: bool = False
    image_size: int | None = None
    skip_bad_images: bool = False


@dataclass(frozen=True)
class CalibrationData:
    """Images to calibrate on.

    Attributes:
        images: the labeled ones.
        source: where they come from; for the card.
        notes: what to bear in mind about them, a sentence each.
    """

    images: ImageSet
    source: CalibrationSet
    notes: tuple[str, ...]


def calibration_images(folder: Path, card: ModelCard, given: Given) -> CalibrationData:
    """The images to calibrate a student on, after a look at what it and its teachers learned from.

    Args:
        folder: of the student.
        card: its card.
        given: which images.

    Raises:
        InputError: no such images, none of them labeled, or of another kind than the student's; images that the
            student, its selection or a teacher behind it learned from.
    """
    run, dataset_cache = saved_run(folder), DatasetCache(given.data_root, given.download)
    if given.data is None:
        if given.image_size is not None or given.skip_bad_images:
            raise InputError("image_size and skip_bad_images are those of the run where its own images are taken")
        spec, part, chosen, notes = _own(folder, run, dataset_cache, given.part or "held_out")
    else:
        spec, (part, chosen), notes = given.data, _others(folder, card, given, given.data), []
    labeled = chosen.labels != UNLABELED
    images = ImageSet(chosen.images[labeled], chosen.labels[labeled])
    if len(images) == 0:
        raise InputError(f"{spec}: none of the {len(chosen)} images has a label, and errors are counted by labels")
    notes += _looked_for(images, run, dataset_cache, folder)
    if part == "test":
        notes.append("the test set has decided something now: what evaluate finds on it no longer tells of new images")
    digest = fingerprint({"images": images.images, "labels": images.labels})
    source = CalibrationSet(data=spec, part=part, samples=len(images), fingerprint=digest)
    return CalibrationData(images, source, tuple(notes))


def _own(
    folder: Path, run: SavedRun | None, dataset_cache: DatasetCache, part: Part
) -> tuple[str, Part, ImageSet, list[str]]:
    """A part of what the run itself was given, and what to bear in mind."""
    if run is None:
        raise InputError(f"{folder}: no {RUN_FILE}, so that nobody knows what it held out: give images with --data")
    data = run.config.data
    if part == "all":
        raise InputError(f"{folder}: was trained on most of {data}: calibrate on what it held out, or give --data")
    if part == "held_out":
        return data, part, _held_out(run, dataset_cache), _about_labels(run)
    test = dataset_cache.dataset(run).test
    if test is None:
        raise InputError(f"{data} has no test set: calibrate on what was held out, or give --data")
    return data, part, test, []


def _held_out(run: SavedRun, dataset_cache: DatasetCache) -> ImageSet:
    if selection := run.selected_by_held_out:
        raise InputError(
            f"{run.folder}: its selection, {selection}, was fitted against the held-out images, which so decided what "
            "it learned: give others with --data, or --split test"
        )
    held_out = dataset_cache.held_out(run)
    if len(held_out) == 0:
        raise InputError(
            f"{run.folder}: held no images out (validation = {run.config.validation:g}): give others with --data, or "
            "train with --validation 0.1"
        )
    return held_out


def _about_labels(run: SavedRun) -> list[str]:
    stated = run.config.train_labels
    return [] if stated is None else [f"errors are counted by the labels in {stated}, those it was trained on"]


def _others(folder: Path, card: ModelCard, given: Given, data: str) -> tuple[Part, ImageSet]:
    """Part of a data set that was named."""
    if given.part == "held_out":
        raise InputError(
            f"{data}: --split held-out is about the images that {folder} itself held out: leave --data away, or give "
            "--split test or all"
        )
    size = given.image_size
    if size is None and data.startswith("folder:") and card.image_size[0] == card.image_size[1]:
        size = card.image_size[0]
    dataset = load_dataset(
        data, root=given.data_root, download=given.download, image_size=size, skip_bad_images=given.skip_bad_images
    )
    check_card(f"student {folder}", card, dataset)
    return _part_of(dataset, given.part)


def _part_of(dataset: Dataset, part: Part | None) -> tuple[Part, ImageSet]:
    train, test = dataset.train, dataset.test
    if test is None:
        if part == "test":
            raise InputError(f"{dataset.name} has no test set: give --split all for the whole of it")
        return "all", train
    if part == "all":
        return "all", ImageSet(torch.cat([train.images, test.images]), torch.cat([train.labels, test.labels]))
    return "test", test


def _looked_for(images: ImageSet, run: SavedRun | None, dataset_cache: DatasetCache, folder: Path) -> list[str]:
    """Hold the images against those that the student and every teacher behind it learned from."""
    if run is None:
        return [f"{folder} has no {RUN_FILE}: whether it was trained on these images is not known"]
    found = [
        note for behind in (run, *teachers_behind(run)) for note in _held_against(images, behind, dataset_cache, run)
    ]
    return list(dict.fromkeys(found))


def _held_against(images: ImageSet, behind: SavedRun | Path, dataset_cache: DatasetCache, run: SavedRun) -> list[str]:
    if isinstance(behind, Path):
        return [f"whether the teacher {behind} was trained on these images is not known"]
    try:
        learned = dataset_cache.learned_from(behind)
    except InputError as error:
        return [f"whether {behind.folder} was trained on these images is not known ({error})"]
    seen, n = number_among(images.images, learned), len(images)
    if seen == 0:
        return []
    who, remedy = str(run.folder), ""
    if behind is not run:
        who, remedy = f"its teacher {behind.folder}", ", or train both with one --split-seed and --validation"
    found = f"{seen:,} of these {n:,} images are, pixel for pixel, among those that {who} learned from"
    if seen > MOST_SEEN * n:
        raise InputError(
            f"{found}, and a guarantee needs images used for nothing else: give others with --data{remedy}"
        )
    return [found]
