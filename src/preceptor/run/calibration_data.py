"""Images that a guarantee can rest on: labeled, and used for nothing else."""

from dataclasses import dataclass
from pathlib import Path

import torch

from preceptor.context import UNLABELED
from preceptor.data import ImageSet
from preceptor.data.lazy import joined
from preceptor.errors import InputError
from preceptor.models import CalibrationSet, ModelCard
from preceptor.models.decision import Part
from preceptor.run.cards import load_for_student
from preceptor.run.folder import RUN_FILE, fingerprint
from preceptor.run.history import DatasetCache, SavedRun, number_among, saved_run, teachers_behind

MOST_SEEN = 0.01
"""Share of the images that may be, pixel for pixel, among those learned from: public data sets hold a few twice."""


@dataclass(frozen=True)
class CalibrationSource:
    """Which images to calibrate on; all but the part as for :class:`~preceptor.run.RunConfig`.

    Attributes:
        data: None is that of the student's run.
        part: of it; None is, of the run's own, the images it held out, and of another its test set, or all where it
            has none.
        image_size: None resizes a folder's images to the student's training size.
    """

    data: str | None = None
    part: Part | None = None
    data_root: Path | None = None
    download: bool = False
    image_size: int | None = None
    skip_bad_images: bool = False


@dataclass(frozen=True)
class CalibrationData:
    """Labeled images to calibrate on, where they come from, and what limits the guarantee, a sentence each."""

    images: ImageSet
    source: CalibrationSet
    notes: tuple[str, ...]


def calibration_images(folder: Path, card: ModelCard, source: CalibrationSource) -> CalibrationData:
    """The images to calibrate a student on, checked against what it and its teachers learned from.

    Raises:
        InputError: no such images, none of them labeled, or of another kind than the student's; images that the
            student, its selection or a teacher behind it learned from.
    """
    run, datasets = saved_run(folder), DatasetCache(source.data_root, source.download)
    if source.data is None:
        data, part, chosen = _own_images(folder, run, datasets, source)
    else:
        data = source.data
        part, chosen = _other_images(folder, card, source, data)
    labeled = chosen.labels != UNLABELED
    images = chosen.take(labeled.nonzero().flatten())
    if len(images) == 0:
        raise InputError(f"{data}: none of the {len(chosen)} images has a label, and errors are counted by labels")
    notes = _check_unseen(images, run, datasets, folder)
    if source.data is None and part == "held_out" and run is not None and run.config.train_labels is not None:
        notes.insert(0, f"errors are counted by the labels in {run.config.train_labels}, those it was trained on")
    if part == "test":
        notes.append("the test set has decided something now: evaluating on it no longer tells of new images")
    digest = fingerprint({"images": images.images, "labels": images.labels})
    stated = CalibrationSet(data=data, part=part, samples=len(images), fingerprint=digest)
    return CalibrationData(images, stated, tuple(notes))


def _own_images(
    folder: Path, run: SavedRun | None, datasets: DatasetCache, source: CalibrationSource
) -> tuple[str, Part, ImageSet]:
    """A part of the run's own data."""
    if source.image_size is not None or source.skip_bad_images:
        raise InputError("image_size and skip_bad_images are those of the run where its own images are taken")
    if run is None:
        raise InputError(
            f"{folder}: has no {RUN_FILE}, so that its held-out images are not known; name others with --data"
        )
    data, part = run.config.data, source.part or "held_out"
    if part == "all":
        raise InputError(f"{folder}: was trained on most of {data}; calibrate on its held-out images, or on --data")
    if part == "test":
        test = datasets.dataset(run).test
        if test is None:
            raise InputError(f"{data} has no test set; calibrate on the held-out images, or on --data")
        return data, part, test
    if fitted := run.fitted_on_held_out:
        raise InputError(
            f"{folder}: {fitted} of its recipe was fitted on the held-out images, so that they decided what "
            "it learned; name others with --data, or use --split test"
        )
    held_out = datasets.held_out(run)
    if len(held_out) == 0:
        raise InputError(
            f"{folder}: held no images out (validation = {run.config.validation:g}); name others with --data, or "
            "train with --validation 0.1"
        )
    return data, part, held_out


def _other_images(folder: Path, card: ModelCard, source: CalibrationSource, data: str) -> tuple[Part, ImageSet]:
    """A part of a data set that was named."""
    if source.part == "held_out":
        raise InputError(
            f"{data}: --split held-out is for the images that {folder} itself held out; leave out --data, or use "
            "--split test or all"
        )
    dataset = load_for_student(
        f"student {folder}",
        card,
        data,
        source.image_size,
        root=source.data_root,
        download=source.download,
        skip_bad_images=source.skip_bad_images,
    )
    train, test = dataset.train, dataset.test
    if test is None:
        if source.part == "test":
            raise InputError(f"{dataset.name} has no test set; use --split all for the whole of it")
        return "all", train
    if source.part == "all":
        return "all", ImageSet(joined(train.images, test.images), torch.cat([train.labels, test.labels]))
    return "test", test


def _check_unseen(images: ImageSet, run: SavedRun | None, datasets: DatasetCache, folder: Path) -> list[str]:
    """Notes on images that the student or a teacher behind it learned from; refused where there are more than a few."""
    if run is None:
        return [f"{folder} has no {RUN_FILE}: whether it was trained on these images is not known"]
    notes = []
    for behind in (run, *teachers_behind(run)):
        if isinstance(behind, Path):
            notes.append(f"whether the teacher {behind} was trained on these images is not known")
            continue
        try:
            learned = datasets.learned_from(behind)
        except InputError as error:
            notes.append(f"whether {behind.folder} was trained on these images is not known ({error})")
            continue
        seen = number_among(images.images, learned)
        if seen == 0:
            continue
        who, remedy = str(run.folder), ""
        if behind is not run:
            who = f"its teacher {behind.folder}"
            remedy = ", or train both on the same labels with one --split-seed and --validation"
        note = f"{seen:,} of these {len(images):,} images are, pixel for pixel, among those that {who} learned from"
        if seen > MOST_SEEN * len(images):
            raise InputError(f"{note}; a guarantee needs images used for nothing else: name others with --data{remedy}")
        notes.append(note)
    return list(dict.fromkeys(notes))
