"""Evaluation of a student on a data set: its metrics, its teacher beside it, and the guarantees on its card."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from preceptor.context import UNLABELED
from preceptor.data import Dataset, ImageSet
from preceptor.data.lazy import Inputs
from preceptor.errors import InputError
from preceptor.metrics import Estimate, FullReport, Predictions, SetMetrics, full_report, set_metrics, share_estimate
from preceptor.metrics.decisions import which_answered, which_classes
from preceptor.metrics.logits import network_logits
from preceptor.metrics.score_registry import find_score
from preceptor.models import Decision, ModelCard, load_student
from preceptor.models.costs import NetworkCost, network_cost
from preceptor.run.cards import load_for_student
from preceptor.run.config import RunConfig
from preceptor.run.evaluation_teacher import QueriedTeacher, find_teacher
from preceptor.run.history import EpochLine, read_epochs, saved_run
from preceptor.run.set_up import relabeled, split
from preceptor.training.device import choose_device

Split = Literal["test", "train"]


@dataclass(frozen=True)
class EvaluationData:
    """A student, and the images it is to be measured on.

    Attributes:
        folder: of the student's run.
        network, card: in eval mode, on the CPU; and how to use it.
        spec, dataset: the data set, as it was named, and all of it.
        images: the part to measure on, on the CPU.
        whole: whether that part is all training images.
    """

    folder: Path
    network: nn.Module
    card: ModelCard
    spec: str
    dataset: Dataset
    images: ImageSet
    whole: bool

    def image_name(self, index: int) -> str:
        """Of a file in the data set's folder; else the split and the index, such as "test 12"."""
        named = self.images.names
        return f"{'train' if self.whole else 'test'} {index}" if named is None else named[index]

    def outputs(self, images: Inputs, device: str = "auto") -> Float[Tensor, "n outputs"]:
        """The student's logits of images, in float32 on the CPU."""
        place = choose_device(device)
        return network_logits(self.network.to(place), self.card.normalization(), images.to(place))


@dataclass(frozen=True)
class DecisionResult:
    """What the student's own decision comes to on these images, shares with their exact intervals.

    Attributes:
        coverage, answered: share and number of the labeled images that it answers.
        errors, risk: number and share of errors among these; no share where it answers none.
        max_risk, confidence: what was guaranteed.
    """

    coverage: Estimate
    answered: int
    errors: int
    risk: Estimate
    max_risk: float
    confidence: float

    @property
    def kept(self) -> bool:
        """Whether the risk on these images is within the guarantee."""
        return self.risk.value is None or self.risk.value <= self.max_risk


@dataclass(frozen=True)
class Evaluation:
    """Everything measured of a student.

    Attributes:
        data, predictions: the student and the images, and its logits of these, with the teacher's where it is queried.
        report: every metric.
        warnings: what makes the student itself doubtful, a sentence each.
        abstained: on which images its decision abstains; None without one.
        decision: what that comes to; None without a decision, or where it needs a teacher that was not queried.
        sets: what its prediction sets come to; None where its card has none.
        held_out: how many images the temperature, and p, were chosen on; 0 where there were none.
        teacher, no_teacher: who was queried beside it, or why nobody was.
        device: where all was computed.
        cost, teacher_costs: of the student, and of the teacher's networks by name; none where these are not known.
        epochs: of the student's training; none where its folder has no record of them.
    """

    data: EvaluationData
    predictions: Predictions
    report: FullReport
    warnings: tuple[str, ...]
    abstained: Bool[Tensor, " n"] | None
    decision: DecisionResult | None
    sets: SetMetrics | None
    held_out: int
    teacher: str | None
    no_teacher: str | None
    device: str
    cost: NetworkCost
    teacher_costs: dict[str, NetworkCost]
    epochs: list[EpochLine]

    @property
    def outputs(self) -> Float[Tensor, "n outputs"]:
        """The student's logits."""
        return self.predictions.outputs


def load_evaluation_data(
    folder: Path,
    *,
    data: str | None = None,
    data_root: Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    skip_bad_images: bool = False,
    split: Split = "test",
) -> EvaluationData:
    """A student and a split of a data set, each read and checked against the other.

    Args:
        folder: its run folder.
        data: a data set; None is the one it was trained on.
        data_root, download, image_size, skip_bad_images: as for :class:`RunConfig`. A folder's images are resized to
            the student's training size unless a size is stated.
        split: "test", or "train" for all training images, held out or not. Named data without a test set, such as
            a folder with one subfolder a class, is measured as a whole.

    Raises:
        InputError: no whole student, classes or channels that do not fit, or no such split.
    """
    network, card = load_student(folder)
    spec = data or card.data
    dataset = load_for_student(
        f"student {folder}",
        card,
        spec,
        image_size,
        root=data_root,
        download=download,
        skip_bad_images=skip_bad_images,
    )
    whole = split == "train" or (dataset.test is None and data is not None)
    images = dataset.train if whole else dataset.test
    if images is None:
        raise InputError(f"{spec} has no test set: use --split train, or name a data set that has one")
    return EvaluationData(folder, network, card, spec, dataset, images, whole)


def evaluate_run(
    data: EvaluationData,
    *,
    teacher: Path | None = None,
    ask_teacher: bool = True,
    main_score: str | None = None,
    resamples: int | None = None,
    device: str = "auto",
) -> Evaluation:
    """Measure everything.

    Args:
        data: the student and the images.
        teacher: a run folder or ``.onnx`` file of logits to query beside it, unless none is to be asked; None is the
            teacher that the run states, where it can answer about any image.
        main_score: by which parts are ranked and images listed; None is that of the student's decision, else
            "softmax_response".
        resamples: as for :func:`~preceptor.metrics.full_report`.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: a teacher that cannot be read or does not fit, an unknown score, or no labeled image.
        MachineError: there is no such device, or a package that the teacher needs is missing.
    """
    run, labels, card = saved_run(data.folder), data.images.labels, data.card
    answer = find_teacher(run, data.dataset, teacher, choose_device(device)) if ask_teacher else "switched off"
    queried = answer if isinstance(answer, QueriedTeacher) else None
    predictions = _predictions(data, data.images, queried, device)
    held_out = _held_out(None if run is None else run.config, data)
    choices = None if held_out is None else (_predictions(data, held_out, queried, device), held_out.labels)
    decision, sets = _usable_decision(card, predictions), card.sets
    ranked_by = _ranked_by(decision) if main_score is None else main_score
    report = full_report(
        predictions, labels, main_score=ranked_by, held_out=choices, class_names=card.class_names, resamples=resamples
    )
    answered = None if decision is None else which_answered(decision, predictions)
    return Evaluation(
        data=data,
        predictions=predictions,
        report=report,
        warnings=tuple(_warnings(report)),
        abstained=None if answered is None else ~answered,
        decision=_decision_result(decision, answered, predictions, labels),
        sets=None if sets is None else set_metrics(which_classes(sets, predictions.class_logits), labels),
        held_out=0 if held_out is None else len(held_out),
        teacher=None if queried is None else queried.name,
        no_teacher=answer if isinstance(answer, str) else None,
        device=str(choose_device(device)),
        cost=network_cost(data.network, card.normalization(), (card.channels, *card.image_size)),
        teacher_costs={} if queried is None else queried.costs(data.dataset),
        epochs=read_epochs(data.folder),
    )


def _warnings(report: FullReport) -> list[str]:
    """Signs that the student diverged, or that it was trained on something else."""
    warnings = []
    accuracy, nll, uniform = report.accuracy.value, report.calibration.nll.value, math.log(report.classes)
    assert accuracy is not None, "a report has a labeled sample"
    assert nll is not None, "a report has a labeled sample"
    if report.classes > 1 and accuracy <= report.largest_class:
        warnings.append(
            f"accuracy {accuracy:.2%} is no better than always predicting the most frequent class "
            f"({report.largest_class:.2%}): the student may have diverged or learned other classes; train it "
            "again at a lower learning rate, or check its data"
        )
    if nll > 2 * max(uniform, 1.0):  # a weak student may lie somewhat above that of equal probabilities
        cure = "" if nll < 100 else "; so large a value means that it diverged"
        warnings.append(
            f"negative log-likelihood {nll:.4g} is worse than that of equal probabilities for all classes "
            f"({uniform:.4g}): do not use its probabilities as they are{cure}"
        )
    return warnings


def _usable_decision(card: ModelCard, predictions: Predictions) -> Decision | None:
    """The decision on the card, unless its score needs what is not known here."""
    usable = card.decision is not None and predictions.has(find_score(card.decision.score).needs)
    return card.decision if usable else None


def _ranked_by(decision: Decision | None) -> str:
    """The report ranks by scores without options."""
    return decision.score if decision is not None and not decision.options else "softmax_response"


def _decision_result(
    decision: Decision | None,
    answered: Bool[Tensor, " n"] | None,
    predictions: Predictions,
    labels: Int[Tensor, " n"],
) -> DecisionResult | None:
    if decision is None or answered is None:
        return None
    labeled = labels != UNLABELED
    kept, wrong = answered[labeled], (predictions.prediction != labels)[labeled]
    count, errors = int(kept.sum()), int((kept & wrong).sum())
    coverage, risk = share_estimate(count, len(kept)), share_estimate(errors, count)
    return DecisionResult(coverage, count, errors, risk, decision.max_risk, decision.confidence)


def _held_out(config: RunConfig | None, data: EvaluationData) -> ImageSet | None:
    """The training images that the run kept apart, where they are of this data set and not measured themselves."""
    if config is None or data.whole or data.spec != config.data or config.validation == 0:
        return None
    try:
        labeled = relabeled(config, data.dataset)  # the images are held out by the labels trained on
    except InputError as error:
        warnings.warn(f"which images the run held out is not known, so no temperature is fitted: {error}", stacklevel=2)
        return None
    _, index = split(config, labeled)
    return data.dataset.train_and_validation().take(index) if len(index) else None


def _predictions(data: EvaluationData, images: ImageSet, teacher: QueriedTeacher | None, device: str) -> Predictions:
    """The student's logits, and the teacher's of the images as they are, on the CPU."""
    theirs = None if teacher is None else teacher.logits(images, data.dataset, choose_device(device))
    return Predictions(data.outputs(images.images, device), data.card.abstains, teacher=theirs)
