"""All seeds of a study, and its result."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from experiments.studies.engine.columns import RESERVATION
from experiments.studies.engine.result import ArmRow, PairedMeasure, Recovery, StudyResult, TeacherRow
from experiments.studies.engine.seed import TeacherOutcome, run_seed
from experiments.studies.engine.study import Arm, Study, TeacherKind
from preceptor.compare.parallel import run_seeds
from preceptor.data import Dataset, confusable_pairs, load_dataset
from preceptor.models import seeded_model
from preceptor.run import versions
from preceptor.training.device import choose_device

SeedOutcomes = Sequence[dict[str, TeacherOutcome]]
"""By kind of teacher, one a seed."""

_NOT_CONFIG = {"name", "title", "setting", "shows", "does_not_show", "data_root"}


class StudyProgress(Protocol):
    """An observer of a study's progress, for example a bar."""

    def start(self, name: str, images: int) -> None:
        """The study begins; ``images`` will be trained on, over all seeds."""

    def advance(self, images: int) -> None:
        """``images`` more have been trained on."""


def run_study(
    study: Study, *, progress: StudyProgress | None = None, device: str = "auto", jobs: int | None = None
) -> StudyResult:
    """Run every arm with every kind of teacher under every seed.

    Under one seed all students start from the same weights and see the same batches and views, and those of one
    teacher the same outputs. Each is tested once, after its last epoch. On a CPU every seed has one thread, so that the
    numbers do not depend on how many run side by side.

    Args:
        study: the settings.
        progress: notified of progress.
        device: "auto", "cpu" or "cuda".
        jobs: seeds at a time; None is 1 on a GPU, else see :func:`preceptor.compare.parallel.default_jobs`.

    Raises:
        InputError: settings that do not fit together or the data, or a data set that is missing.
    """
    started = time.perf_counter()
    dataset = _checked_data(study)
    pairs = study.pairs or tuple(confusable_pairs(dataset.train.images[:], dataset.train.labels, dataset.classes))
    resolved = choose_device(device)
    if progress is not None:
        progress.start(study.name, study.images_trained_on(dataset))
    if jobs is None and resolved.type == "cuda":
        jobs = 1
    report = (lambda images: None) if progress is None else progress.advance
    outcomes = run_seeds(partial(run_seed, study, pairs, device), study.seeds, report, jobs)
    chosen = {"pairs": [list(pair) for pair in pairs], "device": resolved.type}
    return _result(study, dataset, outcomes, chosen, time.perf_counter() - started)


def _checked_data(study: Study) -> Dataset:
    """The study's data, once everything fits: what is wrong fails now, not after a teacher's training."""
    study.check()
    dataset = load_dataset(study.data, root=study.data_root)
    for arm in study.arms:
        arm.loss().check_classes(dataset.classes)
    for name in (study.teacher, study.student):
        seeded_model(name, channels=dataset.channels, classes=dataset.classes, seed=0)
    return dataset


def _result(
    study: Study, dataset: Dataset, outcomes: SeedOutcomes, chosen: Mapping[str, Any], seconds: float
) -> StudyResult:
    config = study.model_dump(mode="json", exclude=_NOT_CONFIG)
    return StudyResult(
        study=study.name,
        title=study.title,
        setting=study.setting,
        shows=study.shows,
        does_not_show=study.does_not_show,
        config={**config, **chosen, "threads_a_seed": 1},
        class_names=dataset.class_names,
        training_images=study.training_images,
        baseline=study.baseline,
        noun=study.noun,
        columns=study.columns,
        teachers=[_teacher_row(kind, [outcome[kind.name] for outcome in outcomes]) for kind in study.teachers],
        rows=[_arm_row(study, kind, arm, outcomes) for kind in study.teachers for arm in study.arms],
        versions=versions(),
        seconds=seconds,
    )


def _teacher_row(kind: TeacherKind, teachers: Sequence[TeacherOutcome]) -> TeacherRow:
    return TeacherRow(
        name=kind.name,
        about=kind.about,
        images=teachers[0].images,
        wrong_labels=[teacher.wrong_labels for teacher in teachers],
        accuracy=[teacher.accuracy for teacher in teachers],
        accuracy_on_training_images=[teacher.accuracy_on_training_images for teacher in teachers],
        error_by_class=[teacher.error_by_class for teacher in teachers],
    )


def _arm_row(study: Study, kind: TeacherKind, arm: Arm, outcomes: SeedOutcomes) -> ArmRow:
    baseline = study.baseline_of(arm)
    own = _values(outcomes, kind.name, arm.name)
    first = {} if baseline is None else _values(outcomes, kind.name, baseline)
    second = {} if arm.second_baseline is None else _values(outcomes, kind.name, arm.second_baseline)
    measures = {}
    for name, values in own.items():
        # A measure by reservation is compared with softmax response on the same networks.
        other = own if name.endswith(RESERVATION) else first
        measures[name] = PairedMeasure.paired(values, other.get(name.removesuffix(RESERVATION)), second.get(name))
    affected = [outcome[kind.name].students[arm.name].affected for outcome in outcomes]
    return ArmRow(
        teacher=kind.name,
        arm=arm.name,
        recipe=arm.recipe,
        about=arm.description,
        baseline=baseline,
        measures=measures,
        affected=None if None in affected else [count for count in affected if count is not None],
        second_baseline=arm.second_baseline,
        group=arm.group,
        recovery=_recovery(study, kind, arm, outcomes),
    )


def _recovery(study: Study, kind: TeacherKind, arm: Arm, outcomes: SeedOutcomes) -> Recovery | None:
    if study.recovery is None or kind.name == study.recovery or arm.name == study.baseline:
        return None
    return Recovery.of(
        _values(outcomes, kind.name, arm.name)["accuracy"],
        _values(outcomes, kind.name, study.baseline)["accuracy"],
        _values(outcomes, study.recovery, study.baseline)["accuracy"],
    )


def _values(outcomes: SeedOutcomes, kind: str, arm: str) -> dict[str, list[float]]:
    """Of each measure that every seed has, one a seed."""
    measures = [outcome[kind].students[arm].measures for outcome in outcomes]
    return {name: [own[name] for own in measures] for name in measures[0] if all(name in own for own in measures)}
