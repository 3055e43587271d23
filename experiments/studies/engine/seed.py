"""One seed of a study: a teacher of every kind, its students, and their measures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from experiments.studies.engine.measures import affected, audit_of, in_training, on_test_set
from experiments.studies.engine.study import Arm, Study, TeacherKind
from preceptor.context import predicted_class
from preceptor.data import CropFlip, ImageSet, hold_out, load_dataset, subset, swap_pairs
from preceptor.errors import InputError
from preceptor.loss import DistillationLoss
from preceptor.metrics.accuracy import evaluate, per_class_accuracy
from preceptor.metrics.logits import network_logits
from preceptor.models import seeded_model
from preceptor.models.features import ImageModel
from preceptor.teachers import NetworkTeacher, check_teacher
from preceptor.teachers.selection_data import collect_selection_data
from preceptor.training import Callback, EpochRecord, EpochRecords, Student, Trainer, TrainingConfig, TrainingData
from preceptor.training.device import choose_device, deterministic

TEACHER_SEEDS = 2**20
"""Added to a teacher's seed, so that its weights and views differ from its students'."""


@dataclass(frozen=True)
class StudentOutcome:
    """One student's numbers, as in :class:`ArmRow`, and whether the teacher made a difference to it."""

    measures: dict[str, float]
    affected: int | None
    uses_teacher: bool


@dataclass(frozen=True)
class TeacherOutcome:
    """One teacher's numbers, as in :class:`TeacherRow`, and its students' by arm."""

    images: int
    wrong_labels: int
    accuracy: float
    accuracy_on_training_images: float
    error_by_class: list[float | None]
    students: dict[str, StudentOutcome]


def run_seed(
    study: Study, pairs: Sequence[tuple[int, int]], device: str, seed: int, callback: Callback
) -> dict[str, TeacherOutcome]:
    """Train a teacher of every kind, and one student an arm on right labels; test each once.

    Returns:
        the outcomes by kind of teacher.
    """
    with deterministic():
        return _Seed(study, pairs, choose_device(device), seed, callback).run()


class _Seed:
    def __init__(
        self, study: Study, pairs: Sequence[tuple[int, int]], device: torch.device, seed: int, callback: Callback
    ) -> None:
        self.study, self.pairs, self.device, self.seed, self.callback = study, pairs, device, seed, callback
        self.dataset = load_dataset(study.data, root=study.data_root)
        train, test = self.dataset.train, self.dataset.test
        if test is None:
            raise InputError(f"{study.data} has no test set: the study needs one")
        self.pool, self.held_out = hold_out(train.labels, study.held_out, seed)
        source = self.held_out if study.unseen else self.pool
        self.index = source[subset(train.labels[source], study.training_images, seed)]
        self.right = ImageSet(train.images.to(device), train.labels.to(device))
        self.student_set = self.right.take(self.index.to(device))
        self.test = ImageSet(test.images.to(device), test.labels)

    def run(self) -> dict[str, TeacherOutcome]:
        """Every kind of teacher in turn."""
        outcomes: dict[str, TeacherOutcome] = {}
        without_teacher: dict[str, StudentOutcome] = {}
        for kind in self.study.teachers:
            outcomes[kind.name] = outcome = self._run_kind(kind, without_teacher)
            without_teacher |= {name: one for name, one in outcome.students.items() if not one.uses_teacher}
        return outcomes

    def _run_kind(self, kind: TeacherKind, without_teacher: Mapping[str, StudentOutcome]) -> TeacherOutcome:
        """One kind of teacher; students that need none were trained under the first kind."""
        labels = self.dataset.train.labels
        faulty = swap_pairs(labels, self.pairs, kind.rate, self.seed)
        network = self._train_teacher(faulty, self.study.training_of(kind))
        teacher = NetworkTeacher(network, self.dataset.normalization, self.device)
        images, label = self.student_set.images[:], self.student_set.labels
        check_teacher(teacher, images, label, self.dataset.classes, index=self.index)
        students, records = self._train_students(teacher, self.study.arms_for(kind))

        logits, label = self._logits(network, images), label.cpu()
        error = 1 - per_class_accuracy(predicted_class(logits), label, self.dataset.classes)
        trained = {
            student.name: self._outcome(student, [epoch[place] for epoch in records], logits, label)
            for place, student in enumerate(students)
        }
        return TeacherOutcome(
            images=len(self.pool),
            wrong_labels=int((faulty != labels)[self.pool].sum()),
            accuracy=evaluate(self._logits(network, self.test.images[:]), self.test.labels).accuracy,
            accuracy_on_training_images=evaluate(logits, label).accuracy,
            error_by_class=[None if share != share else share for share in error.tolist()],  # NaN is no JSON
            students={arm.name: trained.get(arm.name) or without_teacher[arm.name] for arm in self.study.arms},
        )

    def _train_teacher(self, labels: Tensor, config: TrainingConfig) -> nn.Module:
        seed = self.seed + TEACHER_SEEDS
        network = self._network(self.study.teacher, seed)
        train = ImageSet(self.right.images, labels.to(self.device))
        wrapped = ImageModel(network, self.dataset.normalization)
        student = Student("teacher", wrapped, DistillationLoss.from_recipe("none"))
        self._train([student], train, self.pool, config, None, seed)
        return network

    def _train_students(
        self, teacher: NetworkTeacher, arms: Sequence[Arm]
    ) -> tuple[list[Student], list[list[EpochRecord]]]:
        """One student an arm, all in one pass over the data, and the records of each epoch."""
        losses = {arm.name: arm.loss() for arm in arms}
        self._fit_selections(teacher, losses.values())
        networks = [self._network(self.study.student, self.seed, loss.abstains) for loss in losses.values()]
        students = [
            Student(name, ImageModel(network, self.dataset.normalization), loss)
            for network, (name, loss) in zip(networks, losses.items(), strict=True)
        ]
        if not students:
            return [], []
        records = self._train(students, self.right, self.index, self.study.student_training, teacher, self.seed)
        for student in students:
            student.loss.cpu()  # audits run on the CPU
        return students, records

    def _fit_selections(self, teacher: NetworkTeacher, losses: Iterable[DistillationLoss]) -> None:
        """Choose which training images to distill; the teacher is queried once for all losses."""
        unfitted = [loss for loss in losses if loss.needs_fit]
        if unfitted:
            chosen = set(self.index.tolist())
            held_out = torch.tensor([index for index in self.held_out.tolist() if index not in chosen])
            selection_data = collect_selection_data(teacher, self.right, self.index, held_out, seed=self.seed)
            for loss in unfitted:
                loss.fit(selection_data)

    def _network(self, name: str, seed: int, abstains: bool = False) -> nn.Module:
        classes = self.dataset.classes + abstains
        return seeded_model(name, channels=self.dataset.channels, classes=classes, seed=seed)

    def _train(
        self,
        students: list[Student],
        train: ImageSet,
        index: Tensor,
        config: TrainingConfig,
        teacher: NetworkTeacher | None,
        seed: int,
    ) -> list[list[EpochRecord]]:
        """Train students together; the records of each epoch."""
        records = EpochRecords()
        augmentation = self.dataset.augmentation if self.study.augment else CropFlip(padding=0, flip=False)
        Trainer(
            students,
            teacher,
            TrainingData.of_images(train, index, augmentation),
            config,
            [records, self.callback],
            seed=seed,
            precision=self.study.precision,
        ).fit()
        return records.epochs

    def _outcome(self, student: Student, records: list[EpochRecord], logits: Tensor, label: Tensor) -> StudentOutcome:
        loss = student.loss
        audit = audit_of(loss, logits, label, self.index)
        measures = on_test_set(self._logits(student.network, self.test.images[:]), self.test.labels, loss.abstains)
        measures |= in_training(loss, records)
        if loss.selection is not None and audit is not None:
            measures["taught"] = float((audit.weight > 0).double().mean())
        return StudentOutcome(
            measures=measures,
            affected=affected(audit) if loss.correction is not None or loss.selection is not None else None,
            uses_teacher=loss.uses_teacher,
        )

    def _logits(self, network: nn.Module, images: Tensor) -> Tensor:
        inner = network.network if isinstance(network, ImageModel) else network
        return network_logits(inner, self.dataset.normalization, images)
