"""Runs a study, all seeds of it, and makes its result."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from preceptor.data import confusable_pairs, load_dataset
from preceptor.models import seeded_model
from preceptor.run import versions
from preceptor.studies.columns import RESERVATION
from preceptor.studies.parallel import Counter, run_seeds
from preceptor.studies.result import (
    ArmRow,
    ExampleImage,
    Measure,
    Repair,
    StudyResult,
    TeacherRow,
    measure,
    repair,
    value_lists,
)
from preceptor.studies.seed import TeacherOutcome, run_seed
from preceptor.studies.study import Arm, Study, TeacherKind
from preceptor.training.device import choose_device

SeedOutcomes = Sequence[dict[str, TeacherOutcome]]
"""By kind of teacher, one a seed."""


class StudyWatcher(Protocol):
    """What wants to know how a study goes, for example a progress bar."""

    def begin_study(self, name: str, images: int) -> None:
        """The study begins; over all seeds so many images will be trained on."""

    def advance(self, images: int) -> None:
        """So many images more have been trained on."""


def run_study(
    study: Study, *, watcher: StudyWatcher | None = None, device: str = "auto", jobs: int | None = None
) -> tuple[StudyResult, list[ExampleImage]]:
    """Run every arm with every kind of teacher under every seed.

    Under one seed all students start from the same weights and meet the same batches and views, and those of one
    teacher the same signal. Each is tested once, after its last epoch. On a CPU every seed has one thread, so that the
    numbers do not depend on how many run side by side.

    Args:
        study: the settings.
        watcher: told about progress.
        device: "auto", "cpu" or "cuda".
        jobs: seeds at a time; None is 1 on a GPU, else see :func:`preceptor.studies.parallel.usual_jobs`.

    Returns:
        the result, and the images on which, of the first seed's teachers, the one most often wrong was most
        confidently wrong.

    Raises:
        InputError: settings that do not fit together or the data, or a data set that is not there.
    """
    study.check()
    started = time.perf_counter()
    dataset = load_dataset(study.data, root=study.data_root)
    for arm in study.arms:
        arm.loss().check_classes(dataset.classes)
    pairs = study.pairs or tuple(confusable_pairs(dataset.train.images, dataset.train.labels, dataset.classes))
    if watcher is not None:
        watcher.begin_study(study.name, study.images_trained_on(dataset))
    place = choose_device(device)
    for name in (study.teacher, study.student):  # an unknown one is found before the work, not after the teacher's
        seeded_model(name, channels=dataset.channels, classes=dataset.classes, seed=0)
    if jobs is None and place.type == "cuda":
        jobs = 1
    run = _RunSeed(study, pairs, device)
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
        training_images=study.training_images,
        baseline=study.baseline,
        noun=study.noun,
        columns=study.columns,
        teachers=[_teacher_row(kind, outcomes) for kind in study.teachers],
        rows=[_arm_row(study, kind, arm, outcomes) for kind in study.teachers for arm in study.arms],
        versions=versions(),
        seconds=time.perf_counter() - started,
    )
    return result, _exhibits(outcomes[0])


_NOT_CONFIG = {"name", "title", "setting", "shows", "does_not_show", "data_root"}


def _ignore(images: int) -> None:
    return


@dataclass(frozen=True)
class _RunSeed:
    """Picklable, so that it can run in another process."""

    study: Study
    pairs: tuple[tuple[int, int], ...]
    device: str

    def __call__(self, seed: int, watcher: Counter) -> dict[str, TeacherOutcome]:
        return run_seed(self.study, self.pairs, seed, self.device, watcher)


def _values(outcomes: SeedOutcomes, kind: str, arm: str) -> dict[str, list[float]]:
    return value_lists([outcome[kind].students[arm].measures for outcome in outcomes])


def _arm_row(study: Study, kind: TeacherKind, arm: Arm, outcomes: SeedOutcomes) -> ArmRow:
    against = study.against(arm)
    values = _values(outcomes, kind.name, arm.name)
    others = {} if against is None else _values(outcomes, kind.name, against)
    seconds = {} if arm.also_against is None else _values(outcomes, kind.name, arm.also_against)
    affected = [outcome[kind.name].students[arm.name].affected for outcome in outcomes]
    return ArmRow(
        teacher=kind.name,
        arm=arm.name,
        recipe=arm.recipe,
        about=arm.said,
        against=against,
        measures={name: _measure(name, values, others, seconds) for name in values},
        affected=None if None in affected else [count for count in affected if count is not None],
        also_against=arm.also_against,
        group=arm.group,
        repair=_repair(study, kind, arm, outcomes),
    )


def _measure(
    name: str, values: dict[str, list[float]], others: dict[str, list[float]], seconds: dict[str, list[float]]
) -> Measure:
    """Reservation is held against softmax response on the same networks, everything else against the other arm."""
    rivals = values if name.endswith(RESERVATION) else others
    return measure(values[name], rivals.get(name.removesuffix(RESERVATION)), seconds.get(name))


def _repair(study: Study, kind: TeacherKind, arm: Arm, outcomes: SeedOutcomes) -> Repair | None:
    if study.repair is None or kind.name == study.repair or arm.name == study.baseline:
        return None
    return repair(
        _values(outcomes, kind.name, arm.name)["accuracy"],
        _values(outcomes, kind.name, study.baseline)["accuracy"],
        _values(outcomes, study.repair, study.baseline)["accuracy"],
    )


def _teacher_row(kind: TeacherKind, outcomes: SeedOutcomes) -> TeacherRow:
    teachers = [outcome[kind.name] for outcome in outcomes]
    return TeacherRow(
        name=kind.name,
        about=kind.about,
        images=teachers[0].images,
        wrong_labels=[teacher.wrong_labels for teacher in teachers],
        accuracy=[teacher.accuracy for teacher in teachers],
        accuracy_on_training_images=[teacher.accuracy_on_training_images for teacher in teachers],
        error_by_class=[teacher.error_by_class for teacher in teachers],
    )


def _exhibits(teachers: dict[str, TeacherOutcome]) -> list[ExampleImage]:
    return min(teachers.values(), key=lambda teacher: teacher.accuracy_on_training_images).examples
