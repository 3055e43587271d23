"""One seed of a study: a teacher of every kind, its students, and what they came to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preceptor.chain import Chain
from preceptor.data import Dataset, ImageSet, ViewRule, hold_out, load_dataset, subset, swap_pairs
from preceptor.errors import InputError
from preceptor.evaluation import evaluate, per_class_accuracy
from preceptor.evaluation.logits import network_logits
from preceptor.lesson import predicted_class
from preceptor.models import seeded_model
from preceptor.recipes import recipe
from preceptor.studies.exhibits import surest_mistakes
from preceptor.studies.measures import audit_of, in_training, on_test_set, taught, touched
from preceptor.studies.result import Exhibit
from preceptor.studies.study import Arm, Study, TeacherKind
from preceptor.teachers import LiveTeacher, check_teacher
from preceptor.teachers.evidence import gather_evidence
from preceptor.training import EpochRecord, Protocol, Pupil, Watcher, fit
from preceptor.training.device import choose_device, deterministic

TEACHER_SEEDS = 2**20
"""Added to a teacher's seed, so that it starts from other weights, and sees other views, than its students."""


@dataclass(frozen=True)
class StudentOutcome:
    """What one student came to.

    Attributes:
        measures: by name; see :data:`preceptor.studies.columns.MEASURES`.
        touched: lessons on which its recipe corrects the teacher, or does not listen to it; None for a recipe that
            does neither.
        needs_teacher: whether its teacher made a difference to it.
    """

    measures: dict[str, float]
    touched: int | None
    needs_teacher: bool


@dataclass(frozen=True)
class TeacherOutcome:
    """What one teacher and its students came to.

    Attributes:
        images: how many the teacher learned from.
        wrong_labels: among theirs.
        accuracy: on the test set.
        accuracy_on_lessons: on the students' images, as they are.
        error_by_class: on the same images; None for a class that is not among them.
        exhibits: the images on which it was most confidently wrong.
        students: by arm.
    """

    images: int
    wrong_labels: int
    accuracy: float
    accuracy_on_lessons: float
    error_by_class: list[float | None]
    exhibits: list[Exhibit]
    students: dict[str, StudentOutcome]


def run_seed(
    study: Study, pairs: Sequence[tuple[int, int]], seed: int, device: str, watcher: Watcher
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

    pupil: Pupil
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
        watcher: Watcher,
    ) -> None:
        self.study, self.pairs, self.seed, self.dataset, self.watcher = study, pairs, seed, dataset, watcher
        labels = dataset.train.labels
        self.pool, self.held_out = hold_out(labels, study.held_out, seed)
        self.lessons = self.pool[subset(labels[self.pool], study.lessons, seed)]
        self.right = ImageSet(dataset.train.images.to(device), labels.to(device))
        self.given = self.right.take(self.lessons.to(device))
        self.test = ImageSet(test.images.to(device), test.labels)
        self.device = device

    def run(self) -> dict[str, TeacherOutcome]:
        """Every kind of teacher in turn."""
        outcomes: dict[str, TeacherOutcome] = {}
        alone: dict[str, StudentOutcome] = {}
        for kind in self.study.teachers:
            outcomes[kind.name] = outcome = self._run_kind(kind, alone)
            alone |= {name: student for name, student in outcome.students.items() if not student.needs_teacher}
        return outcomes

    def _run_kind(self, kind: TeacherKind, alone: Mapping[str, StudentOutcome]) -> TeacherOutcome:
        """One kind of teacher; ``alone`` holds the students that have learned without any."""
        labels = self.dataset.train.labels
        faulty = swap_pairs(labels, self.pairs, kind.rate, self.seed)
        network = self._taught_by_labels(faulty, self.study.protocol_of(kind))
        teacher = LiveTeacher(network, self.dataset.normalisation, self.device)
        check_teacher(teacher, self.given.images, self.given.labels, self.dataset.classes, positions=self.lessons)
        students = self._taught_by(teacher, self.study.arms_for(kind))

        said, truth = self._logits(network, self.given.images), self.given.labels.cpu()
        error = 1 - per_class_accuracy(predicted_class(said), truth, self.dataset.classes)
        chains = [student.pupil.chain for student in students]
        fresh = {student.pupil.name: self._outcome(student, said, truth) for student in students}
        return TeacherOutcome(
            images=len(self.pool),
            wrong_labels=int((faulty != labels)[self.pool].sum()),
            accuracy=evaluate(self._logits(network, self.test.images), self.test.labels).accuracy,
            accuracy_on_lessons=evaluate(said, truth).accuracy,
            error_by_class=[None if share != share else share for share in error.tolist()],
            exhibits=surest_mistakes(
                chains, self.given.images, said, truth, most=self.study.exhibits, teacher=kind.name
            ),
            students={arm.name: fresh[arm.name] if arm.name in fresh else alone[arm.name] for arm in self.study.arms},
        )

    def _taught_by_labels(self, labels: Tensor, protocol: Protocol) -> nn.Module:
        seed = self.seed + TEACHER_SEEDS
        network = self._network(self.study.teacher, seed)
        train = ImageSet(self.right.images, labels.to(self.device))
        self._fit([Pupil("teacher", network, Chain(**recipe("none")))], train, self.pool, protocol, None, seed)
        return network

    def _taught_by(self, teacher: LiveTeacher, arms: Sequence[Arm]) -> list[_Taught]:
        chains = {arm.name: arm.chain() for arm in arms}
        self._fit_selections(teacher, chains.values())
        pupils = [
            Pupil(name, self._network(self.study.student, self.seed, chain.abstains), chain)
            for name, chain in chains.items()
        ]
        if not pupils:
            return []
        protocol = self.study.student_protocol
        records = self._fit(pupils, self.right, self.lessons, protocol, teacher, self.seed)
        for pupil in pupils:
            pupil.chain.cpu()  # where it is looked at from now on
        return [_Taught(pupil, [epoch[place] for epoch in records]) for place, pupil in enumerate(pupils)]

    def _fit_selections(self, teacher: LiveTeacher, chains: Iterable[Chain]) -> None:
        """Settle which lessons are taught; the teacher is asked once for all chains."""
        waiting = [chain for chain in chains if chain.needs_fit]
        if waiting:
            evidence = gather_evidence(teacher, self.right, self.lessons, self.held_out, seed=self.seed)
            for chain in waiting:
                chain.fit(evidence)

    def _network(self, name: str, seed: int, abstains: bool = False) -> nn.Module:
        classes = self.dataset.classes + abstains
        return seeded_model(name, channels=self.dataset.channels, classes=classes, seed=seed)

    def _fit(
        self,
        pupils: list[Pupil],
        train: ImageSet,
        positions: Tensor,
        protocol: Protocol,
        teacher: LiveTeacher | None,
        seed: int,
    ) -> list[list[EpochRecord]]:
        return list(
            fit(
                pupils,
                train,
                positions,
                self.dataset.view_rule if self.study.augment else ViewRule(padding=0, flip=False),
                self.dataset.normalisation,
                protocol,
                teacher=teacher,
                seed=seed,
                precision=self.study.precision,
                watcher=self.watcher,
            )
        )

    def _outcome(self, student: _Taught, said: Tensor, truth: Tensor) -> StudentOutcome:
        chain = student.pupil.chain
        logits = self._logits(student.pupil.student, self.test.images)
        audit = audit_of(chain, said, truth, self.lessons)
        selects = taught(audit) if chain.select is not None else {}
        return StudentOutcome(
            measures={
                **on_test_set(logits, self.test.labels, chain.abstains),
                **in_training(chain, student.records),
                **selects,
            },
            touched=touched(audit) if chain.correct is not None or chain.select is not None else None,
            needs_teacher=chain.needs_teacher,
        )

    def _logits(self, network: nn.Module, images: Tensor) -> Tensor:
        return network_logits(network, self.dataset.normalisation, images)
