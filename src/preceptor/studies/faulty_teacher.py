"""A teacher that learned from wrong labels, students that have right ones: does correcting the teacher pay?"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from preceptor.chain import Chain
from preceptor.data import Dataset, ImageSet, confusable_pairs, hold_out, load_dataset, subset, swap_pairs
from preceptor.errors import InputError
from preceptor.evaluation import evaluate, per_class_accuracy
from preceptor.evaluation.logits import network_logits
from preceptor.lesson import predicted_class
from preceptor.recipes import build_chain_parts, read_recipe, recipe
from preceptor.runs import versions
from preceptor.runs.run import choose_device, deterministic, seeded_model
from preceptor.stage import registered_name
from preceptor.studies.result import Exhibit, RecipeRow, StudyResult, TeacherRow, recipe_row
from preceptor.teachers import LiveTeacher, check_teacher
from preceptor.training import Precision, Protocol, Pupil, Watcher, fit


class FaultyTeacher(BaseModel):
    """The settings of the study.

    Attributes:
        name, title, setting, shows, does_not_show: for the result file.
        data: a data set by name.
        data_root: where it lies; None as for ``RunConfig``.
        pairs: classes taken for each other; None finds the most confusable ones in the training images.
        rate: share of the labels swapped in each class of a pair, for the teacher.
        held_out: share of the training images that nobody learns from (settings were chosen on it).
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
    exhibits: int = 12


@dataclass(frozen=True)
class _SeedOutcome:
    """What one seed came to."""

    accuracy: dict[str, float]
    touched: dict[str, int]
    wrong_labels: int
    teacher_images: int
    teacher_accuracy: float
    teacher_accuracy_on_lessons: float
    teacher_error_by_class: list[float]
    exhibits: list[Exhibit]


Announce = Callable[[str], None]


def run_faulty_teacher(
    study: FaultyTeacher, *, watcher: Watcher | None = None, announce: Announce | None = None, device: str = "auto"
) -> tuple[StudyResult, list[Exhibit]]:
    """Run every recipe under every seed.

    Under one seed all students start from the same weights and meet the same batches, views and teacher signal.
    Each is tested once, after its last epoch.

    Args:
        study: the settings.
        watcher: told about training.
        announce: told what is being trained.
        device: "auto", "cpu" or "cuda".

    Returns:
        the result, and the images on which the first seed's teacher was most confidently wrong.

    Raises:
        InputError: settings that do not fit the data, or a data set that is not there.
    """
    if study.baseline not in study.recipes:
        raise InputError(f"study {study.name}: the baseline {study.baseline!r} is not among its recipes")
    started = time.perf_counter()
    dataset = load_dataset(study.data, root=study.data_root)
    if dataset.test is None:
        raise InputError(f"study {study.name}: {study.data} has no test set")
    pairs = study.pairs or tuple(confusable_pairs(dataset.train.images, dataset.train.labels, dataset.classes))
    place = choose_device(device)
    with deterministic():
        outcomes = [
            _run_seed(study, dataset, dataset.test, pairs, seed, place, watcher, announce or (lambda title: None))
            for seed in study.seeds
        ]
    config = {**study.model_dump(mode="json", exclude={"data_root"}), "pairs": [list(pair) for pair in pairs]}
    result = StudyResult(
        study=study.name,
        title=study.title,
        setting=study.setting,
        shows=study.shows,
        does_not_show=study.does_not_show,
        config=config,
        class_names=dataset.class_names,
        lessons=study.lessons,
        baseline=study.baseline,
        teacher=_teacher_row(outcomes),
        rows=_rows(study, outcomes),
        versions=versions(),
        seconds=time.perf_counter() - started,
    )
    return result, outcomes[0].exhibits


def _run_seed(
    study: FaultyTeacher,
    dataset: Dataset,
    test: ImageSet,
    pairs: tuple[tuple[int, int], ...],
    seed: int,
    device: torch.device,
    watcher: Watcher | None,
    announce: Announce,
) -> _SeedOutcome:
    right = ImageSet(dataset.train.images.to(device), dataset.train.labels.to(device))
    pool, _ = hold_out(dataset.train.labels, study.held_out, seed)
    lessons = pool[subset(dataset.train.labels[pool], study.lessons, seed)]
    faulty_labels = swap_pairs(dataset.train.labels, pairs, study.rate, seed)
    faulty = ImageSet(right.images, faulty_labels.to(device))

    announce(f"seed {seed}: teacher {study.teacher}")
    teacher_network = seeded_model(study.teacher, dataset, seed)
    labels_alone = Pupil("teacher", teacher_network, Chain(**recipe("none")))
    _train([labels_alone], faulty, pool, dataset, study.teacher_protocol, study, seed, None, watcher)
    teacher = LiveTeacher(teacher_network, dataset.normalisation, device)

    given = right.take(lessons.to(device))
    checked = check_teacher(teacher, given.images, given.labels, dataset.classes)
    announce(f"seed {seed}: {len(study.recipes)} students {study.student}")
    pupils = [Pupil(name, seeded_model(study.student, dataset, seed), _chain(name)) for name in study.recipes]
    _train(pupils, right, lessons, dataset, study.student_protocol, study, seed, teacher, watcher)

    said = network_logits(teacher_network, dataset.normalisation, given.images)
    truth = given.labels.cpu()
    error = 1 - per_class_accuracy(predicted_class(said), truth, dataset.classes)
    return _SeedOutcome(
        accuracy={pupil.name: _test_accuracy(pupil.student, dataset, test, device) for pupil in pupils},
        touched={pupil.name: _touched(pupil.chain, said, truth) for pupil in pupils},
        wrong_labels=int((faulty_labels != dataset.train.labels)[pool].sum()),
        teacher_images=len(pool),
        teacher_accuracy=_test_accuracy(teacher_network, dataset, test, device),
        teacher_accuracy_on_lessons=checked.accuracy,
        teacher_error_by_class=error.tolist(),
        exhibits=_exhibits(study, {p.name: p.chain for p in pupils}, given, said, truth),
    )


def _chain(name: str) -> Chain:
    return Chain(**build_chain_parts(read_recipe(name)))


def _train(
    pupils: list[Pupil],
    train: ImageSet,
    positions: Tensor,
    dataset: Dataset,
    protocol: Protocol,
    study: FaultyTeacher,
    seed: int,
    teacher: LiveTeacher | None,
    watcher: Watcher | None,
) -> None:
    epochs = fit(
        pupils,
        train,
        positions,
        dataset.view_rule,
        dataset.normalisation,
        protocol,
        teacher=teacher,
        seed=seed,
        precision=study.precision,
        watcher=watcher,
    )
    for _ in epochs:
        pass


def _test_accuracy(network: torch.nn.Module, dataset: Dataset, test: ImageSet, device: torch.device) -> float:
    logits = network_logits(network, dataset.normalisation, test.images.to(device))
    return evaluate(logits[:, : dataset.classes], test.labels).accuracy


def _touched(chain: Chain, said: Tensor, truth: Tensor) -> int:
    """Samples the chain corrects, or on which it does not listen to the teacher; -1 for a chain without a teacher."""
    audit = chain(torch.zeros_like(said), said, truth).audit
    return -1 if audit is None else int((audit.corrected | (audit.weight == 0)).sum())


def _exhibits(
    study: FaultyTeacher, chains: Mapping[str, Chain], given: ImageSet, said: Tensor, truth: Tensor
) -> list[Exhibit]:
    """The images on which the teacher is most confidently wrong, with what each correction makes of its word."""
    log_probs = said.log_softmax(dim=1)
    teacher_class = predicted_class(said)
    confidence = log_probs.amax(dim=1).masked_fill(teacher_class == truth, -torch.inf)
    count = min(study.exhibits, int((teacher_class != truth).sum()))
    chosen = confidence.argsort(descending=True, stable=True)[:count]
    corrections = {registered_name(c.correct): c.correct for c in chains.values() if c.correct is not None}
    targets = {
        name: correct(log_probs[chosen], truth[chosen], teacher_class[chosen]).exp().tolist()
        for name, correct in corrections.items()
    }
    pixels = given.images[chosen.to(given.images.device)].cpu().permute(0, 2, 3, 1).squeeze(-1).numpy()
    return [
        Exhibit(
            pixels=pixels[place],
            truth=int(truth[position]),
            said=log_probs[position].exp().tolist(),
            targets={name: rows[place] for name, rows in targets.items()},
        )
        for place, position in enumerate(chosen.tolist())
    ]


def _rows(study: FaultyTeacher, outcomes: list[_SeedOutcome]) -> list[RecipeRow]:
    baseline = [outcome.accuracy[study.baseline] for outcome in outcomes]
    rows = []
    for name in study.recipes:
        accuracy = [outcome.accuracy[name] for outcome in outcomes]
        touched = [outcome.touched[name] for outcome in outcomes]
        changes_supervision = _chain(name).correct is not None or _chain(name).select is not None
        rows.append(
            recipe_row(
                name,
                read_recipe(name).about,
                accuracy,
                None if name == study.baseline else baseline,
                touched if changes_supervision else None,
            )
        )
    return rows


def _teacher_row(outcomes: list[_SeedOutcome]) -> TeacherRow:
    return TeacherRow(
        images=outcomes[0].teacher_images,
        wrong_labels=[outcome.wrong_labels for outcome in outcomes],
        accuracy=[outcome.teacher_accuracy for outcome in outcomes],
        accuracy_on_lessons=[outcome.teacher_accuracy_on_lessons for outcome in outcomes],
        error_by_class=[outcome.teacher_error_by_class for outcome in outcomes],
    )
