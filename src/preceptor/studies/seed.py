"""One seed of a study: a teacher of every kind, its students, and what they came to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preceptor.context import predicted_class
from preceptor.data import CropFlip, Dataset, ImageSet, hold_out, load_dataset, subset, swap_pairs
from preceptor.errors import InputError
from preceptor.loss import DistillationLoss
from preceptor.metrics.accuracy import evaluate, per_class_accuracy
from preceptor.metrics.logits import network_logits
from preceptor.models import seeded_model
from preceptor.recipes import recipe
from preceptor.studies.examples import surest_mistakes
from preceptor.studies.measures import affected, audit_of, in_training, on_test_set, taught
from preceptor.studies.result import ExampleImage
from preceptor.studies.study import Arm, Study, TeacherKind
from preceptor.teachers import NetworkTeacher, check_teacher
from preceptor.teachers.selection_data import collect_selection_data
from preceptor.training import Callback, EpochRecord, Student, TrainingConfig, fit
from preceptor.training.device import choose_device, deterministic

TEACHER_SEEDS = 2**20
"""Added to a teacher's seed, so that it starts from other weights, and sees other views, than its students."""


@dataclass(frozen=True)
class StudentOutcome:
    """What one student came to.

    Attributes:
        measures: by name; see :data:`preceptor.studies.columns.MEASURES`.
        affected: training_images on which its recipe corrects the teacher, or does not listen to it; None for a recipe that
            does neither.
        uses_teacher: whether its teacher made a difference to it.
    """

    measures: dict[str, float]
    affected: int | None
    uses_teacher: bool


@dataclass(frozen=True)
class TeacherOutcome:
    """What one teacher and its students came to.

    Attributes:
        images: how many the teacher learned from.
        wrong_labels: among theirs.
        accuracy: on the test set.
        accuracy_on_training_images: on the students' images, as they are.
        error_by_class: on the same images; None for a class that is not among them.
        examples: the images on which it was most confidently wrong.
        students: by arm.
    """

    images: int
    wrong_labels: int
    accuracy: float
    accuracy_on_training_images: float
    error_by_class: list[float | None]
    examples: list[ExampleImage]
    students: dict[str, StudentOutcome]


def run_seed(
    study: Study, pairs: Sequence[tuple[int, int]], seed: int, device: str, watcher: Callback
) -> dict[str, TeacherOutcome]:
    """Train a teacher of every kind, and a class of students, one an arm, on right labels; test each once.

    Returns:
        the outcomes by kind of teacher.
    """
    dataset = load_dataset(study.data, root=study.data_root)
    if dataset.test is None:
        raise InputError(f"{study.data} has no test set: the study needs one")
    with deterministic():
        return _Seed(study, pairs, seed, dataset, dataset.test, choose_device(device), watcher).run()


@dataclass(frozen=True)
class _Taught:
    """A student after its last epoch, its chain on the CPU, and its records."""

    pupil: Student
    records: list[EpochRecord]


class _Seed:
    def __init__(
        self,
        study: Study,
        pairs: Sequence[tuple[int, int]],
        seed: int,
        dataset: Dataset,
        test: ImageSet,
        device: torch.device,
        watcher: Callback,
    ) -> None:
        self.study, self.pairs, self.seed, self.dataset, self.watcher = study, pairs, seed, dataset, watcher
        labels = dataset.train.labels
        self.pool, self.held_out = hold_out(labels, study.held_out, seed)
        self.training_images = self.pool[subset(labels[self.pool], study.training_images, seed)]
        self.right = ImageSet(dataset.train.images.to(device), labels.to(device))
        self.given = self.right.take(self.training_images.to(device))
        self.test = ImageSet(test.images.to(device), test.labels)
        self.device = device

    def run(self) -> dict[str, TeacherOutcome]:
        """Every kind of teacher in turn."""
        outcomes: dict[str, TeacherOutcome] = {}
        alone: dict[str, StudentOutcome] = {}
        for kind in self.study.teachers:
            outcomes[kind.name] = outcome = self._run_kind(kind, alone)
            alone |= {name: student for name, student in outcome.students.items() if not student.uses_teacher}
        return outcomes

    def _run_kind(self, kind: TeacherKind, alone: Mapping[str, StudentOutcome]) -> TeacherOutcome:
        """One kind of teacher; ``alone`` holds the students that have learned without any."""
        labels = self.dataset.train.labels
        faulty = swap_pairs(labels, self.pairs, kind.rate, self.seed)
        network = self._taught_by_labels(faulty, self.study.protocol_of(kind))
        teacher = NetworkTeacher(network, self.dataset.normalization, self.device)
        check_teacher(
            teacher, self.given.images, self.given.labels, self.dataset.classes, positions=self.training_images
        )
        students = self._taught_by(teacher, self.study.arms_for(kind))

        said, truth = self._logits(network, self.given.images), self.given.labels.cpu()
        error = 1 - per_class_accuracy(predicted_class(said), truth, self.dataset.classes)
        losses = [student.pupil.loss for student in students]
        fresh = {student.pupil.name: self._outcome(student, said, truth) for student in students}
        return TeacherOutcome(
            images=len(self.pool),
            wrong_labels=int((faulty != labels)[self.pool].sum()),
            accuracy=evaluate(self._logits(network, self.test.images), self.test.labels).accuracy,
            accuracy_on_training_images=evaluate(said, truth).accuracy,
            error_by_class=[None if share != share else share for share in error.tolist()],
            examples=surest_mistakes(
                losses, self.given.images, said, truth, most=self.study.examples, teacher=kind.name
            ),
            students={arm.name: fresh[arm.name] if arm.name in fresh else alone[arm.name] for arm in self.study.arms},
        )

    def _taught_by_labels(self, labels: Tensor, training: TrainingConfig) -> nn.Module:
        seed = self.seed + TEACHER_SEEDS
        network = self._network(self.study.teacher, seed)
        train = ImageSet(self.right.images, labels.to(self.device))
        self._fit(
            [Student("teacher", network, DistillationLoss(**recipe("none")))], train, self.pool, training, None, seed
        )
        return network

    def _taught_by(self, teacher: NetworkTeacher, arms: Sequence[Arm]) -> list[_Taught]:
        losses = {arm.name: arm.loss() for arm in arms}
        self._fit_selections(teacher, losses.values())
        pupils = [
            Student(name, self._network(self.study.student, self.seed, loss.abstains), loss)
            for name, loss in losses.items()
        ]
        if not pupils:
            return []
        training = self.study.student_protocol
        records = self._fit(pupils, self.right, self.training_images, training, teacher, self.seed)
        for pupil in pupils:
            pupil.loss.cpu()  # where it is looked at from now on
        return [_Taught(pupil, [epoch[place] for epoch in records]) for place, pupil in enumerate(pupils)]

    def _fit_selections(self, teacher: NetworkTeacher, losses: Iterable[DistillationLoss]) -> None:
        """Settle which training_images are taught; the teacher is asked once for all chains."""
        waiting = [loss for loss in losses if loss.needs_fit]
        if waiting:
            selection_data = collect_selection_data(
                teacher, self.right, self.training_images, self.held_out, seed=self.seed
            )
            for loss in waiting:
                loss.fit(selection_data)

    def _network(self, name: str, seed: int, abstains: bool = False) -> nn.Module:
        classes = self.dataset.classes + abstains
        return seeded_model(name, channels=self.dataset.channels, classes=classes, seed=seed)

    def _fit(
        self,
        pupils: list[Student],
        train: ImageSet,
        positions: Tensor,
        training: TrainingConfig,
        teacher: NetworkTeacher | None,
        seed: int,
    ) -> list[list[EpochRecord]]:
        return list(
            fit(
                pupils,
                train,
                positions,
                self.dataset.augmentation if self.study.augment else CropFlip(padding=0, flip=False),
                self.dataset.normalization,
                training,
                teacher=teacher,
                seed=seed,
                precision=self.study.precision,
                watcher=self.watcher,
            )
        )

    def _outcome(self, student: _Taught, said: Tensor, truth: Tensor) -> StudentOutcome:
        loss = student.pupil.loss
        logits = self._logits(student.pupil.student, self.test.images)
        audit = audit_of(loss, said, truth, self.training_images)
        selects = taught(audit) if loss.selection is not None else {}
        return StudentOutcome(
            measures={
                **on_test_set(logits, self.test.labels, loss.abstains),
                **in_training(loss, student.records),
                **selects,
            },
            affected=affected(audit) if loss.correction is not None or loss.selection is not None else None,
            uses_teacher=loss.uses_teacher,
        )

    def _logits(self, network: nn.Module, images: Tensor) -> Tensor:
        return network_logits(network, self.dataset.normalization, images)
