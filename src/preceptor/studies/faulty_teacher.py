"""A teacher that learned from wrong labels, students that have right ones: does correcting the teacher pay?"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as TypingProtocol

from pydantic import BaseModel, ConfigDict, Field

from preceptor.chain import Chain
from preceptor.data import Dataset, confusable_pairs, load_dataset
from preceptor.errors import InputError
from preceptor.models import seeded_model
from preceptor.recipes import read_recipe, recipe
from preceptor.runs import versions
from preceptor.studies.result import Exhibit, RecipeRow, StudyResult, TeacherRow, recipe_row
from preceptor.studies.seed import SeedOutcome, SeedSettings, run_seed
from preceptor.studies.side_by_side import Counter, run_seeds
from preceptor.training import Precision, Protocol
from preceptor.training.device import choose_device


class FaultyTeacher(BaseModel):
    """The settings of the study.

    Attributes:
        name, title, setting, shows, does_not_show: for the result file.
        data: a data set by name.
        data_root: where it lies; None as for ``RunConfig``.
        pairs: classes taken for each other; None finds the most confusable ones in the training images.
        rate: share of the labels swapped in each class of a pair, for the teacher.
        held_out: share of the training images that nobody learns from.
        lessons: training images given to each student, stratified, with right labels.
        teacher, student: architectures.
        teacher_protocol, student_protocol: how each is trained.
        recipes: the rows.
        baseline: the recipe that differences are taken to.
        seeds: each draws labels, split, subset, weights, order and views anew.
        precision: "fp32" or "bf16".
        exhibits: how many images to show.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    setting: str
    shows: str
    does_not_show: str
    data: str
    data_root: Path | None = None
    pairs: tuple[tuple[int, int], ...] | None = None
    rate: float = Field(default=0.4, ge=0, le=1)
    held_out: float = Field(default=0.1, ge=0, lt=1)
    lessons: int = Field(ge=2)
    teacher: str
    student: str
    teacher_protocol: Protocol
    student_protocol: Protocol
    recipes: tuple[str, ...]
    baseline: str = "kd"
    seeds: tuple[int, ...] = Field(min_length=1)
    precision: Precision = "fp32"
    exhibits: int = Field(default=12, ge=0)

    def images_trained_on(self, dataset: Dataset) -> int:
        """Over all seeds: teachers' images and the batches every class of students shares."""
        pool = len(dataset.train) - round(self.held_out * len(dataset.train))
        a_seed = pool * self.teacher_protocol.epochs + self.lessons * self.student_protocol.epochs
        return len(self.seeds) * a_seed


class StudyWatcher(TypingProtocol):
    """What wants to know how a study goes, for example a progress bar."""

    def begin_study(self, name: str, images: int) -> None:
        """The study begins; over all seeds so many images will be trained on."""

    def advance(self, images: int) -> None:
        """So many images more have been trained on."""


def run_faulty_teacher(
    study: FaultyTeacher, *, watcher: StudyWatcher | None = None, device: str = "auto", jobs: int | None = None
) -> tuple[StudyResult, list[Exhibit]]:
    """Run every recipe under every seed.

    Under one seed all students start from the same weights and meet the same batches, views and teacher signal.
    Each is tested once, after its last epoch. On a CPU every seed has one thread, so that the numbers do not
    depend on how many run side by side.

    Args:
        study: the settings.
        watcher: told about progress.
        device: "auto", "cpu" or "cuda".
        jobs: seeds at a time; None is 1 on a GPU, else see :func:`preceptor.studies.side_by_side.usual_jobs`.

    Returns:
        the result, and the images on which the first seed's teacher was most confidently wrong.

    Raises:
        InputError: settings that do not fit the data, or a data set that is not there.
    """
    if study.baseline not in study.recipes:
        raise InputError(f"study {study.name}: the baseline {study.baseline!r} is not among its recipes")
    for name in study.recipes:
        recipe(name)  # what is wrong with one is found before anything is trained
    started = time.perf_counter()
    dataset = load_dataset(study.data, root=study.data_root)
    pairs = study.pairs or tuple(confusable_pairs(dataset.train.images, dataset.train.labels, dataset.classes))
    if watcher is not None:
        watcher.begin_study(study.name, study.images_trained_on(dataset))
    place = choose_device(device)
    for name in (study.teacher, study.student):  # an unknown one is found before the work, not after the teacher's
        seeded_model(name, channels=dataset.channels, classes=dataset.classes, seed=0)
    if jobs is None and place.type == "cuda":
        jobs = 1
    run = _RunSeed(SeedSettings(**study.model_dump(include=_SEED_FIELDS), pairs=pairs), device)
    outcomes = run_seeds(run, study.seeds, watcher.advance if watcher is not None else _ignore, jobs)
    result = StudyResult(
        study=study.name,
        title=study.title,
        setting=study.setting,
        shows=study.shows,
        does_not_show=study.does_not_show,
        config={
            **study.model_dump(mode="json", exclude=_NOT_CONFIG),
            "pairs": [list(pair) for pair in pairs],
            "device": place.type,
            "threads_a_seed": 1,
        },
        class_names=dataset.class_names,
        lessons=study.lessons,
        baseline=study.baseline,
        teacher=_teacher_row(outcomes),
        rows=[_row(study, name, outcomes) for name in study.recipes],
        versions=versions(),
        seconds=time.perf_counter() - started,
    )
    return result, outcomes[0].exhibits


_SEED_FIELDS = set(SeedSettings.model_fields) - {"pairs"}
_NOT_CONFIG = {"name", "title", "setting", "shows", "does_not_show", "data_root"}


def _ignore(images: int) -> None:
    return


@dataclass(frozen=True)
class _RunSeed:
    """Picklable, so that it can run in another process."""

    settings: SeedSettings
    device: str

    def __call__(self, seed: int, watcher: Counter) -> SeedOutcome:
        return run_seed(self.settings, seed, self.device, watcher)


def _row(study: FaultyTeacher, name: str, outcomes: list[SeedOutcome]) -> RecipeRow:
    chain = Chain(**recipe(name))
    listens_selectively = chain.correct is not None or chain.select is not None
    return recipe_row(
        name,
        read_recipe(name).about,
        [outcome.accuracy[name] for outcome in outcomes],
        None if name == study.baseline else [outcome.accuracy[study.baseline] for outcome in outcomes],
        [outcome.touched[name] for outcome in outcomes] if listens_selectively else None,
    )


def _teacher_row(outcomes: list[SeedOutcome]) -> TeacherRow:
    return TeacherRow(
        images=outcomes[0].teacher_images,
        wrong_labels=[outcome.wrong_labels for outcome in outcomes],
        accuracy=[outcome.teacher_accuracy for outcome in outcomes],
        accuracy_on_lessons=[outcome.teacher_accuracy_on_lessons for outcome in outcomes],
        error_by_class=[outcome.teacher_error_by_class for outcome in outcomes],
    )
