"""All there is to measure of a student: its own answers, its teacher's beside them, and the guarantee on its card."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from preceptor.context import UNLABELED
from preceptor.data import Dataset, ImageSet
from preceptor.errors import InputError
from preceptor.metrics import (
    Answers,
    FullReport,
    SetMetrics,
    find_score,
    full_report,
    set_metrics,
)
from preceptor.metrics.decisions import which_answered, which_classes
from preceptor.models import Decision
from preceptor.run.config import RunConfig, read_config, resolve
from preceptor.run.folder import RUN_FILE
from preceptor.run.measure import Shown
from preceptor.run.members import kind_of, load_members
from preceptor.run.set_up import split
from preceptor.teachers.base import Teacher
from preceptor.teachers.ensemble import Ensemble
from preceptor.training.device import choose_device

BATCH = 512

MOST_RESAMPLES = 1_000_000


@dataclass(frozen=True)
class Decided:
    """What the student's own decision comes to on these images.

    Attributes:
        coverage: share of the labeled images that it answers.
        answered: how many.
        errors: among these.
        risk: share of errors among these; None where it answers none.
        max_risk: what was guaranteed.
        confidence: how surely.
    """

    coverage: float
    answered: int
    errors: int
    risk: float | None
    max_risk: float
    confidence: float

    @property
    def kept(self) -> bool:
        """Whether the risk found is within the guarantee."""
        return self.risk is None or self.risk <= self.max_risk


@dataclass(frozen=True)
class Evaluation:
    """Everything measured of a student.

    Attributes:
        shown: the student and the images.
        outputs: its logits of these.
        report: every metric.
        declined: which images its decision declines; None without one.
        decided: what that comes to; None without a decision, or where it looks at a teacher that was not asked.
        sets: what its prediction sets come to; None where its card has none.
        held_out: how many images the temperature, and p, were chosen on; 0 where there were none.
        teacher: who was asked beside it; None where nobody was.
        no_teacher: why nobody was asked.
    """

    shown: Shown
    outputs: Float[Tensor, "n outputs"]
    report: FullReport
    declined: Tensor | None
    decided: Decided | None
    sets: SetMetrics | None
    held_out: int
    teacher: str | None
    no_teacher: str | None


def evaluate_run(
    shown: Shown,
    *,
    teacher: Path | None = None,
    ask_teacher: bool = True,
    main_score: str | None = None,
    resamples: int = 1000,
    device: str = "auto",
) -> Evaluation:
    """Measure everything.

    Args:
        shown: the student and the images.
        teacher: a run folder or ``.onnx`` file of logits to ask beside it; None is the teacher that the run states,
            where it can answer about any image.
        ask_teacher: whether to ask one at all.
        main_score: by which parts are ranked and images listed; None is that of the student's decision, else
            "softmax_response".
        resamples: behind each interval.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: a teacher that cannot be read or does not fit, an unknown score, or no labeled image.
        MachineError: there is no such device, or a package that the teacher needs is missing.
    """
    if resamples > MOST_RESAMPLES:
        raise InputError(f"{resamples:,} resamples: give at most {MOST_RESAMPLES:,}; 1,000 are usual")
    config = _config_of(shown)
    asked, why_not = _teacher(config, shown, teacher, device) if ask_teacher else (None, "none was to be asked")
    answers = _answers(shown, shown.images, asked, device)
    held_out = _held_out(config, shown)
    choices = None if held_out is None else (_answers(shown, held_out, asked, device), held_out.labels)
    decision, sets = shown.card.decision, shown.card.sets
    report = full_report(
        answers,
        shown.images.labels,
        main_score=main_score or _score_of(decision, answers),
        held_out=choices,
        class_names=shown.card.class_names,
        resamples=resamples,
    )
    answered = None if decision is None or not _can_score(decision, answers) else which_answered(decision, answers)
    return Evaluation(
        shown=shown,
        outputs=answers.outputs,
        report=report,
        declined=None if answered is None else ~answered,
        decided=None if answered is None or decision is None else _decided(decision, answered, answers, shown.images),
        sets=None if sets is None else set_metrics(which_classes(sets, answers.class_logits), shown.images.labels),
        held_out=0 if held_out is None else len(held_out),
        teacher=None if asked is None else asked[0],
        no_teacher=why_not,
    )


def _score_of(decision: Decision | None, answers: Answers) -> str:
    """The decision's score, where the report can rank by it: without options, and with what it looks at known."""
    if decision is None or decision.options or not _can_score(decision, answers):
        return "softmax_response"
    return decision.score


def _can_score(decision: Decision, answers: Answers) -> bool:
    return answers.knows(find_score(decision.score).needs)


def _decided(decision: Decision, answered: Tensor, answers: Answers, images: ImageSet) -> Decided:
    labeled = images.labels != UNLABELED
    wrong = (answers.prediction != images.labels)[labeled]
    kept = answered[labeled]
    count, errors = int(kept.sum()), int((kept & wrong).sum())
    return Decided(
        coverage=count / len(kept),
        answered=count,
        errors=errors,
        risk=errors / count if count else None,
        max_risk=decision.max_risk,
        confidence=decision.confidence,
    )


def _config_of(shown: Shown) -> RunConfig | None:
    """How the student was trained; None where its folder does not say."""
    path = shown.folder / RUN_FILE
    return resolve(read_config(path), where=str(path)) if path.is_file() else None


def _held_out(config: RunConfig | None, shown: Shown) -> ImageSet | None:
    """The training images that the run kept apart, where they are of this data set and not measured themselves."""
    if config is None or shown.whole or shown.spec != config.data:
        return None
    _, positions = split(config, shown.dataset)
    return shown.dataset.train_and_validation().take(positions) if len(positions) else None


def _teacher(
    config: RunConfig | None, shown: Shown, given: Path | None, device: str
) -> tuple[tuple[str, Teacher] | None, str | None]:
    """Who can be asked about these images, or why nobody can."""
    if given is not None:
        says = "logits" if kind_of(given) == "ONNX file" else None
        config = resolve({"data": shown.spec, "teacher": given, "teacher_output": says})
    if config is None or not config.teachers:
        return None, "the run names no teacher"
    files = [path for path in config.teachers if kind_of(path) == "file"]
    if files and given is not None:
        raise InputError(f"--teacher {given}: a file knows the training images alone: give a run folder or FILE.onnx")
    if files:
        return None, f"{files[0]} knows the training images alone"
    gone = [path for path in config.teachers if not path.exists()]
    if gone and given is None:
        return None, f"{gone[0]} is not there any more"
    members = [member.teacher for member in load_members(config, shown.dataset, choose_device(device))]
    named = ", ".join(str(path) for path in config.teachers)
    if len(members) == 1:
        return (named, members[0]), None
    return (named, Ensemble(members, config.ensemble_weights, config.ensemble_mean)), None


def _answers(shown: Shown, images: ImageSet, asked: tuple[str, Teacher] | None, device: str) -> Answers:
    said = None if asked is None else _said(asked[1], images.images, shown.dataset, device)
    return Answers(shown.outputs(images.images, device), shown.card.abstains, teacher=said)


def _said(teacher: Teacher, images: Tensor, dataset: Dataset, device: str) -> Tensor:
    """The teacher's logits of the images as they are, on the CPU."""
    place, view = choose_device(device), dataset.augmentation.identity
    parts = []
    for first in range(0, len(images), BATCH):
        part = images[first : first + BATCH].to(place)
        index = torch.arange(first, first + len(part))
        parts.append(teacher.outputs(part, index, torch.full_like(index, view)).logits.cpu())
    return torch.cat(parts)
