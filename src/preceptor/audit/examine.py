"""The audit of a teacher: how it errs on labeled images, who is wrong where it contradicts a label, and what to do."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.audit.base_rate import BaseRate
from preceptor.audit.effects import Effect, effects
from preceptor.audit.gold import read_gold
from preceptor.audit.opinion import PIXELS, SecondOpinion, second_opinion
from preceptor.audit.verdicts import Verdicts, judge
from preceptor.chunking import concat_rows
from preceptor.context import UNLABELED, predicted_class
from preceptor.data import Dataset
from preceptor.errors import InputError
from preceptor.metrics import FullReport, Predictions, full_report
from preceptor.metrics.bootstrap import share_interval
from preceptor.metrics.label_errors import find_label_issues
from preceptor.run import RunConfig
from preceptor.run.set_up import augmentation, data_fingerprint, training_data
from preceptor.run.teachers import LoadedTeacher, load_teacher
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher
from preceptor.teachers.selection_data import outputs_with_features
from preceptor.training.device import choose_device, deterministic

BATCH_SIZE = 256

RESAMPLES = 200
"""Bootstrap draws behind the intervals of calibration; those of shares are exact."""

SURE_WITNESS = 0.5
"""A second opinion that names the given label less often than this share of the teacher's doing so is a weak one."""

Stage = Literal["teacher", "second opinion", "verdicts"]
Progress = Callable[[Stage, int, int], None]
"""Takes a stage of the work, how much of it is done, and of how much."""


@dataclass(frozen=True)
class MemberFacts:
    """One of several teachers, to choose between them.

    Attributes:
        name: its path.
        accuracy: how often it names the given label.
        confidence: mean probability of its class.
        ratio: mean of the largest by the second largest logit, where both are above 0; the higher, the better a
            student did (Spearman .63 over 1,216 runs, against .52 of the accuracy: arXiv:2605.15689).
    """

    name: str
    accuracy: float
    confidence: float
    ratio: float | None


@dataclass(frozen=True, eq=False)
class TeacherAudit:
    """Everything found out about a teacher.

    Attributes:
        dataset: whose training images were audited.
        teacher: its kind, and where it lies.
        logits: its outputs on these images.
        report: its metrics against the given labels.
        opinion: the second opinion.
        verdicts: on every disagreement.
        issues: labels that confident learning doubts, by who gave the probabilities.
        gold: checked labels, -1 elsewhere; None without any.
        gold_accuracy: of the teacher on these, with the ends of its exact 95 % interval; None without any.
        effects: what each correction, temperature and selection would change.
        members: of several teachers, each by itself; else empty.
        data_fingerprint: of images and labels, to tell whether an audit is of these data.
        teacher_fingerprint: of the teacher, to tell whether it is of this one.
        warnings: what makes the audit itself doubtful, a sentence each.
    """

    dataset: Dataset
    teacher: str
    logits: Float[Tensor, "n classes"]
    report: FullReport
    opinion: SecondOpinion
    verdicts: Verdicts
    issues: dict[str, Bool[Tensor, " n"]]
    gold: Int[Tensor, " n"] | None
    gold_accuracy: tuple[float, float, float] | None
    effects: list[Effect]
    members: list[MemberFacts]
    data_fingerprint: str
    teacher_fingerprint: str
    warnings: list[str]

    @property
    def label_error(self) -> tuple[float, float]:
        """The share of the given labels that are wrong where the teacher is right: its least and largest value."""
        share = len(self.verdicts.index) / self.report.n
        return share * self.verdicts.base_rate.low, share * self.verdicts.base_rate.high


def audit(
    config: RunConfig,
    *,
    opinion: str = PIXELS,
    teacher_accuracy: float | None = None,
    gold: Path | None = None,
    progress: Progress = lambda stage, done, of: None,
) -> TeacherAudit:
    """Audit a teacher on the training images of a data set.

    Args:
        config: its data, labels and teacher count.
        opinion: where the second opinion comes from, see :func:`preceptor.audit.opinion.second_opinion`.
        teacher_accuracy: on trusted data of this kind, where that is known.
        gold: file of checked labels, see :func:`preceptor.audit.gold.read_gold`; best of images drawn at random.
        progress: called as the work goes on.

    Raises:
        InputError: no teacher, one that does not fit the data, no labeled image, gold and an accuracy at once, or as
            :func:`~preceptor.audit.opinion.second_opinion`.
        MachineError: no such device, or a package is missing.
    """
    if teacher_accuracy is not None and gold is not None:
        raise InputError("teacher accuracy and gold: both say how often the teacher is right: give one")
    if teacher_accuracy is not None and not 0 <= teacher_accuracy <= 1:
        raise InputError(f"teacher accuracy is {teacher_accuracy:g}; expected a share from 0 to 1, such as 0.917")
    device = choose_device(config.device)
    dataset = training_data(config)
    checked = None if gold is None else read_gold(gold, len(dataset.train), dataset.class_names)
    views = augmentation(config, dataset)
    with deterministic(), closing(load_teacher(config, dataset, views, device)) as loaded:
        logits = _outputs(loaded.teacher, dataset, views.identity, device, progress)
        second = second_opinion(
            opinion,
            dataset,
            lambda: _features(loaded, dataset, device),
            seed=config.split_seed,
            progress=lambda done: progress("second opinion", done, 5),
        )
        members = _members(loaded, dataset, views.identity, device)
    who = _Who(_name(config, loaded), loaded.fingerprint, members)
    return _audit(dataset, who, logits, second, checked, teacher_accuracy, progress)


@dataclass(frozen=True)
class _Who:
    """The audited teacher: its kind and place, its fingerprint, and several of an ensemble."""

    name: str
    fingerprint: str
    members: list[MemberFacts]


def _audit(
    dataset: Dataset,
    who: _Who,
    logits: Float[Tensor, "n classes"],
    opinion: SecondOpinion,
    gold: Int[Tensor, " n"] | None,
    teacher_accuracy: float | None,
    progress: Progress,
) -> TeacherAudit:
    labels = dataset.train.labels
    report = full_report(Predictions(logits), labels, class_names=dataset.class_names, resamples=RESAMPLES)
    probabilities = logits.double().softmax(dim=1)
    gold_accuracy = None if gold is None else _gold_accuracy(logits, gold)
    accuracy = teacher_accuracy if gold_accuracy is None else gold_accuracy[1:]
    progress("verdicts", 0, 1)
    verdicts = judge(probabilities, opinion.tables, labels, teacher_accuracy=accuracy)
    if gold is not None:
        verdicts = _with_gold(verdicts, gold, labels, predicted_class(logits))
    progress("verdicts", 1, 1)
    return TeacherAudit(
        dataset=dataset,
        teacher=who.name,
        logits=logits,
        report=report,
        opinion=opinion,
        verdicts=verdicts,
        issues={
            "teacher": find_label_issues(labels, probabilities),
            "second opinion": find_label_issues(labels, opinion.tables[0]),
        },
        gold=gold,
        gold_accuracy=gold_accuracy,
        effects=effects(logits, labels, verdicts),
        members=who.members,
        data_fingerprint=data_fingerprint(dataset),
        teacher_fingerprint=who.fingerprint,
        warnings=_warnings(report, opinion, verdicts, teacher_accuracy),
    )


def _name(config: RunConfig, loaded: LoadedTeacher) -> str:
    """The teacher's kind, and where it lies."""
    places = config.teachers or (config.cache,)
    return f"{loaded.kind}: {', '.join(map(str, places))}"


def _gold_accuracy(logits: Tensor, gold: Tensor) -> tuple[float, float, float]:
    checked = gold != UNLABELED
    right = (predicted_class(logits) == gold)[checked]
    interval = share_interval(right.sum().double(), torch.tensor(len(right)))
    return float(interval.value), float(interval.low), float(interval.high)


def _with_gold(verdicts: Verdicts, gold: Tensor, labels: Tensor, answer: Tensor) -> Verdicts:
    """The verdicts, certain where the label was checked."""
    truth = gold[verdicts.index]
    label_wrong = truth == answer[verdicts.index]
    known = (truth != UNLABELED) & (label_wrong | (truth == labels[verdicts.index]))
    low, high = (
        torch.where(known, label_wrong.double(), end) for end in (verdicts.label_wrong_low, verdicts.label_wrong_high)
    )
    rate = verdicts.base_rate
    return Verdicts(verdicts.index, low, high, BaseRate(rate.low, rate.high, "gold"), verdicts.systematic)


def _warnings(
    report: FullReport, opinion: SecondOpinion, verdicts: Verdicts, teacher_accuracy: float | None
) -> list[str]:
    warnings = []
    accuracy = report.accuracy.value or 0.0
    if opinion.accuracy < SURE_WITNESS * accuracy:
        warnings.append(
            f"the second opinion names the given label of {opinion.accuracy:.1%}, the teacher of {accuracy:.1%}: it is "
            "a weak witness; a better one is preceptor crossfit's folder, or features as --second-opinion"
        )
    if teacher_accuracy is not None and 1 - accuracy < 0.8 * (1 - teacher_accuracy):
        warnings.append(
            f"the teacher contradicts {1 - accuracy:.1%} of the labels, fewer than the {1 - teacher_accuracy:.1%} on "
            "which it is stated to be wrong: was it trained on these images? Its errors there say little: see "
            "preceptor crossfit"
        )
    if verdicts.base_rate.high - verdicts.base_rate.low > 0.5:
        warnings.append(
            "the data alone do not tell how many labels are wrong: give --teacher-accuracy or --gold, checked labels "
            "of some hundred images drawn at random"
        )
    return warnings


def _outputs(
    teacher: Teacher, dataset: Dataset, view: int, device: torch.device, progress: Progress
) -> Float[Tensor, "n classes"]:
    images, count = dataset.train.images, len(dataset.train)

    def batches() -> Iterator[Tensor]:
        for index in torch.arange(count).split(BATCH_SIZE):
            yield teacher.outputs(images[index].to(device), index, torch.full_like(index, view)).logits.float().cpu()
            progress("teacher", int(index[-1]) + 1, count)

    logits = concat_rows(batches(), count)
    if not bool(logits.isfinite().all()):
        bad = (~logits.isfinite().all(dim=1)).nonzero().squeeze(1)
        raise InputError(f"the teacher's logits are not finite for {len(bad)} images, the first at index {int(bad[0])}")
    return logits


def _features(loaded: LoadedTeacher, dataset: Dataset, device: torch.device) -> Float[Tensor, "n features"]:
    network = loaded.network
    if not isinstance(network, NetworkTeacher):
        raise InputError(
            f"second opinion teacher: the teacher is {loaded.kind}, which shows no features: use pixels, a file of "
            "features, or preceptor crossfit's folder"
        )
    images = dataset.train.images.to(device)
    features = outputs_with_features(network, images, torch.arange(len(images))).features
    assert features is not None, "it was asked for them"
    return features.cpu()


def _members(loaded: LoadedTeacher, dataset: Dataset, view: int, device: torch.device) -> list[MemberFacts]:
    if len(loaded.members) < 2:
        return []
    labels = dataset.train.labels
    labeled = labels != UNLABELED
    facts = []
    for member in loaded.members:
        logits = _outputs(member.teacher, dataset, view, device, lambda stage, done, of: None)
        first, second = logits.topk(2, dim=1).values.unbind(dim=1)
        positive = second > 0
        facts.append(
            MemberFacts(
                name=str(member.path),
                accuracy=float((predicted_class(logits) == labels)[labeled].double().mean()),
                confidence=float(logits.double().softmax(dim=1).amax(dim=1).mean()),
                ratio=float((first / second)[positive].double().mean()) if bool(positive.any()) else None,
            )
        )
    return facts
