"""One seed of the faulty-teacher study: a teacher, its students, and what they came to."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from preceptor.chain import Chain
from preceptor.data import Dataset, ImageSet, hold_out, load_dataset, subset, swap_pairs
from preceptor.errors import InputError
from preceptor.evaluation import evaluate, per_class_accuracy
from preceptor.evaluation.logits import network_logits
from preceptor.lesson import predicted_class
from preceptor.models import seeded_model
from preceptor.recipes import recipe
from preceptor.stage import registered_name
from preceptor.studies.result import Exhibit
from preceptor.teachers import LiveTeacher, check_teacher
from preceptor.training import Precision, Protocol, Pupil, Watcher, fit
from preceptor.training.device import choose_device, deterministic

TEACHER_SEEDS = 2**20
"""Added to a teacher's seed, so that it starts from other weights, and sees other views, than its students."""


class SeedSettings(BaseModel):
    """What one seed needs of the study's settings; see ``FaultyTeacher``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    data_root: Path | None
    pairs: tuple[tuple[int, int], ...]
    rate: float
    held_out: float
    lessons: int
    teacher: str
    student: str
    teacher_protocol: Protocol
    student_protocol: Protocol
    recipes: tuple[str, ...]
    precision: Precision
    exhibits: int


@dataclass(frozen=True)
class SeedOutcome:
    """What one seed came to.

    Attributes:
        accuracy: on the test set, by recipe.
        touched: samples of the students' images that the recipe corrects or on which it does not listen to the
            teacher, by recipe; 0 for a recipe without a teacher.
        wrong_labels: among the teacher's.
        teacher_images: how many images the teacher learned from.
        teacher_accuracy: on the test set.
        teacher_accuracy_on_lessons: on the students' images, as they are.
        teacher_error_by_class: on the same images; None for a class that is not among them.
        exhibits: the images on which the teacher was most confidently wrong.
    """

    accuracy: dict[str, float]
    touched: dict[str, int]
    wrong_labels: int
    teacher_images: int
    teacher_accuracy: float
    teacher_accuracy_on_lessons: float
    teacher_error_by_class: list[float | None]
    exhibits: list[Exhibit]


def run_seed(settings: SeedSettings, seed: int, device: str, watcher: Watcher) -> SeedOutcome:
    """Train a teacher on faulty labels and a class of students, one a recipe, on right ones; test each once."""
    dataset = load_dataset(settings.data, root=settings.data_root)
    if dataset.test is None:
        raise InputError(f"{settings.data} has no test set: the study needs one")
    with deterministic():
        return _Seed(settings, seed, dataset, dataset.test, choose_device(device), watcher).run()


@dataclass(frozen=True)
class _Seed:
    settings: SeedSettings
    seed: int
    dataset: Dataset
    test: ImageSet
    device: torch.device
    watcher: Watcher

    def run(self) -> SeedOutcome:
        labels = self.dataset.train.labels
        pool, _ = hold_out(labels, self.settings.held_out, self.seed)
        lessons = pool[subset(labels[pool], self.settings.lessons, self.seed)]
        faulty = swap_pairs(labels, self.settings.pairs, self.settings.rate, self.seed)
        right = ImageSet(self.dataset.train.images.to(self.device), labels.to(self.device))

        network = self._taught_by_labels(ImageSet(right.images, faulty.to(self.device)), pool)
        teacher = LiveTeacher(network, self.dataset.normalisation, self.device)
        given = right.take(lessons.to(self.device))
        check_teacher(teacher, given.images, given.labels, self.dataset.classes)
        pupils = self._taught_by(teacher, right, lessons)
        chains = {pupil.name: pupil.chain.cpu() for pupil in pupils}  # the audit below happens there

        said, truth = network_logits(network, self.dataset.normalisation, given.images), given.labels.cpu()
        error = 1 - per_class_accuracy(predicted_class(said), truth, self.dataset.classes)
        return SeedOutcome(
            accuracy={pupil.name: self._test_accuracy(pupil.student) for pupil in pupils},
            touched={name: _touched(chain, said, truth) for name, chain in chains.items()},
            wrong_labels=int((faulty != labels)[pool].sum()),
            teacher_images=len(pool),
            teacher_accuracy=self._test_accuracy(network),
            teacher_accuracy_on_lessons=evaluate(said, truth).accuracy,
            teacher_error_by_class=[None if share != share else share for share in error.tolist()],
            exhibits=_exhibits(chains.values(), given.images, said, truth, self.settings.exhibits),
        )

    def _taught_by_labels(self, train: ImageSet, positions: Tensor) -> nn.Module:
        seed = self.seed + TEACHER_SEEDS
        network = self._network(self.settings.teacher, seed)
        pupil = Pupil("teacher", network, Chain(**recipe("none")))
        self._fit([pupil], train, positions, self.settings.teacher_protocol, None, seed)
        return network

    def _taught_by(self, teacher: LiveTeacher, train: ImageSet, positions: Tensor) -> list[Pupil]:
        pupils = [
            Pupil(name, self._network(self.settings.student, self.seed), Chain(**recipe(name)))
            for name in self.settings.recipes
        ]
        self._fit(pupils, train, positions, self.settings.student_protocol, teacher, self.seed)
        return pupils

    def _network(self, name: str, seed: int) -> nn.Module:
        return seeded_model(name, channels=self.dataset.channels, classes=self.dataset.classes, seed=seed)

    def _fit(
        self,
        pupils: list[Pupil],
        train: ImageSet,
        positions: Tensor,
        protocol: Protocol,
        teacher: LiveTeacher | None,
        seed: int,
    ) -> None:
        epochs = fit(
            pupils,
            train,
            positions,
            self.dataset.view_rule,
            self.dataset.normalisation,
            protocol,
            teacher=teacher,
            seed=seed,
            precision=self.settings.precision,
            watcher=self.watcher,
        )
        for _ in epochs:
            pass

    def _test_accuracy(self, network: nn.Module) -> float:
        logits = network_logits(network, self.dataset.normalisation, self.test.images.to(self.device))
        return evaluate(logits, self.test.labels).accuracy


def _touched(chain: Chain, said: Tensor, truth: Tensor) -> int:
    audit = chain(torch.zeros_like(said), said, truth).audit
    return 0 if audit is None else int((audit.corrected | (audit.weight == 0)).sum())


def _exhibits(chains: Iterable[Chain], images: Tensor, said: Tensor, truth: Tensor, most: int) -> list[Exhibit]:
    """The images on which the teacher is most confidently wrong, with what each correction makes of its word."""
    log_probs = said.log_softmax(dim=1)
    teacher_class = predicted_class(said)
    wrong = teacher_class != truth
    confidence = log_probs.amax(dim=1).masked_fill(~wrong, -torch.inf)
    chosen = confidence.argsort(descending=True, stable=True)[: min(most, int(wrong.sum()))]
    corrections = {registered_name(chain.correct): chain.correct for chain in chains if chain.correct is not None}
    targets = {
        name: correct(log_probs[chosen], truth[chosen], teacher_class[chosen]).exp().tolist()
        for name, correct in corrections.items()
    }
    pixels = images[chosen.to(images.device)].cpu().permute(0, 2, 3, 1).squeeze(-1).numpy()
    return [
        Exhibit(
            pixels=pixels[place],
            truth=int(truth[position]),
            said=log_probs[position].exp().tolist(),
            targets={name: rows[place] for name, rows in targets.items()},
        )
        for place, position in enumerate(chosen.tolist())
    ]
