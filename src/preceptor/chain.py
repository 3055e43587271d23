"""Chain: correct, temper, select and match the teacher's word; returns named loss terms and the audit tap."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from preceptor.errors import InputError
from preceptor.lesson import UNLABELLED, Features, Lesson, column, predicted_class
from preceptor.stage import Correction, GroundTruth, Kind, Match, Selection, Temperature, check_seat, registered_name
from preceptor.temper import Fixed
from preceptor.terms import Term


@dataclass(frozen=True)
class Audit:
    """What the chain did to each sample. Everything is detached; nothing is computed until it is asked for.

    Attributes:
        teacher_class: the teacher's prediction.
        wrong: labelled and predicted wrongly by the teacher.
        corrected: touched by the correction.
        temperature: one number, or one per sample.
        lowest: the temperature that the stage lets no sample go below; None when it has no such limit.
        weight: how much the teacher teaches the sample (the selection's word; 1 without a selection).
        said: the teacher's log-probabilities at the chain's temperature.
        target: the same after correction.
    """

    teacher_class: Int[Tensor, " batch"]
    wrong: Bool[Tensor, " batch"]
    corrected: Bool[Tensor, " batch"]
    temperature: float | Float[Tensor, " batch"]
    lowest: float | None
    weight: Float[Tensor, " batch"]
    said: Float[Tensor, "batch classes"]
    target: Float[Tensor, "batch classes"]

    @property
    def clamped(self) -> Bool[Tensor, " batch"]:
        """Samples whose temperature the stage raised to its lowest."""
        if self.lowest is None:
            return torch.zeros_like(self.wrong)
        return torch.as_tensor(self.temperature, device=self.wrong.device) <= torch.full_like(self.weight, self.lowest)

    @property
    def change(self) -> Float[Tensor, " batch"]:
        """How much probability the correction moved: total variation distance, 0 to 1."""
        return 0.5 * (self.target.exp() - self.said.exp()).abs().sum(dim=1)


@dataclass(frozen=True)
class Terms:
    """The outcome of a chain: weighted losses by name, their sum, and the audit tap (None without a teacher)."""

    losses: dict[str, Tensor]
    total: Tensor
    audit: Audit | None

    def __getitem__(self, name: str) -> Tensor:
        """One weighted loss by name."""
        return self.losses[name]


class Chain(nn.Module):
    """Composes stages. Call it with logits and labels; it returns :class:`Terms`.

    Args:
        correct: what the teacher's word becomes where it is wrong; None leaves it.
        temper: how softly the teacher speaks; None is temperature 1.
        select: how much the teacher teaches each sample; None is 1 for all. Its weights multiply the matches;
            a ground truth is limited by its term's ``where`` alone.
        match, truth: short for terms of weight 1 over all samples, under their registered names.
        terms: named terms, together with or in place of the two above.

    Stages that are ``nn.Module`` become submodules: their parameters are the chain's.

    Raises:
        InputError: no term at all, a term named twice or by a name that cannot be one, a stage in the wrong
            seat, or a term that asks for selected samples where nothing selects.
    """

    def __init__(
        self,
        *,
        correct: Correction | None = None,
        temper: Temperature | None = None,
        select: Selection | None = None,
        match: Match | None = None,
        truth: GroundTruth | None = None,
        terms: Mapping[str, Term] | None = None,
    ) -> None:
        super().__init__()
        _check_seats(correct=correct, temper=temper, select=select, match=match, truth=truth)
        self.correct = correct
        self.temper = temper if temper is not None else Fixed(1.0)
        self.select = select
        named = [(registered_name(loss), Term(loss)) for loss in (match, truth) if loss is not None]
        named += (terms or {}).items()
        _check_names([name for name, _ in named])
        self._terms = nn.ModuleDict(dict(named))
        if select is None and any(term.needs_selection for term in self.terms.values()):
            raise InputError(
                "a term is limited to selected or unselected samples, but nothing selects: give select=..."
            )

    @property
    def terms(self) -> dict[str, Term]:
        """The terms by name."""
        return {name: term for name, term in self._terms.items() if isinstance(term, Term)}

    @property
    def needs_teacher(self) -> bool:
        """Whether calling it needs teacher logits."""
        return any(term.needs_teacher for term in self.terms.values())

    def forward(
        self,
        student_logits: Float[Tensor, "batch outputs"],
        teacher_logits: Float[Tensor, "batch classes"] | None,
        label: Int[Tensor, " batch"],
        *,
        index: Int[Tensor, " batch"] | None = None,
        progress: float = 0.0,
        features: Features | None = None,
    ) -> Terms:
        """The losses of one batch.

        Args:
            student_logits: outputs = classes, or classes + 1 for an abstaining head. Any float type; computed
                in float32 at least.
            teacher_logits: raw logits, finite; detached here. None when no term needs the teacher.
            label: class numbers; -1 marks an unlabelled sample, which the teacher alone teaches.
            index: positions in the training set, for selections that look samples up.
            progress: share of training done, 0 to 1.
            features: activations by layer name, for terms that ask for them.

        Raises:
            InputError: shapes that do not fit, or a missing teacher.
        """
        _check_shapes(student_logits, teacher_logits, label)
        label = label.long()
        with torch.autocast(student_logits.device.type, enabled=False):
            student = _at_least_float32(student_logits)
            if teacher_logits is None or not self.needs_teacher:
                return self._without_teacher(student, label)
            teacher = _at_least_float32(teacher_logits.detach())
            lesson = Lesson(student.detach(), teacher, label, predicted_class(teacher), index, progress, features)
            return self._with_teacher(student, lesson)

    def _without_teacher(self, student: Tensor, label: Tensor) -> Terms:
        if self.needs_teacher:
            raise InputError("this chain needs teacher logits (a term matches the teacher or asks where it is right)")
        labelled = label != UNLABELLED
        groups = {"labelled": labelled, "unlabelled": ~labelled}
        weight = labelled.to(student.dtype)
        arguments = (_some_label(label),)
        losses = {name: term(student, arguments, weight, groups) for name, term in self.terms.items()}
        return Terms(losses, _total(losses), None)

    def _with_teacher(self, student: Tensor, lesson: Lesson) -> Terms:
        temperature = self.temper(lesson)
        said = (lesson.teacher / column(temperature)).log_softmax(dim=1)
        corrected, target = self._corrected(said, lesson)
        weight = torch.ones_like(said[:, 0]) if self.select is None else self.select(lesson).detach()
        groups = _groups(lesson, weight)
        labelled = lesson.labelled.to(weight.dtype)
        losses = {}
        for name, term in self.terms.items():
            if term.match is None:
                losses[name] = term(student, (_some_label(lesson.label),), labelled, groups)
            else:
                word = _word_for(term.match, said, target, temperature, lesson)
                arguments = (word, temperature, _taught_label(lesson))
                losses[name] = term(student[:, : said.shape[1]], arguments, weight, groups)
        known = temperature.detach() if isinstance(temperature, Tensor) else temperature
        audit = Audit(
            teacher_class=lesson.teacher_class,
            wrong=lesson.wrong,
            corrected=corrected,
            temperature=known,
            lowest=getattr(self.temper, "minimum", None),
            weight=weight,
            said=said.detach(),
            target=target.detach(),
        )
        return Terms(losses, _total(losses), audit)

    def _corrected(self, said: Tensor, lesson: Lesson) -> tuple[Tensor, Tensor]:
        """Which samples the correction touches, and the teacher's word after it."""
        if self.correct is None:
            return torch.zeros_like(lesson.wrong), said
        touched = lesson.wrong if self.correct.apply_to == "wrong" else lesson.labelled
        revised = self.correct(said, _taught_label(lesson), lesson.teacher_class)
        return touched, torch.where(touched.unsqueeze(1), revised, said)


def _word_for(match: Match, said: Tensor, target: Tensor, temperature: float | Tensor, lesson: Lesson) -> Tensor:
    """The corrected word in the space the match asks for."""
    if match.target_space == "log_probs":
        return target
    # Log-probabilities and logits differ by a constant a row; this form keeps the teacher's own constant.
    return lesson.teacher + column(temperature) * (target - said)


def _some_label(label: Tensor) -> Tensor:
    """Labels that every loss can look up; where there is none it weighs nothing."""
    return torch.where(label == UNLABELLED, 0, label)


def _taught_label(lesson: Lesson) -> Tensor:
    """The label, and for unlabelled samples the teacher's class: what label-aware stages are handed."""
    return torch.where(lesson.labelled, lesson.label, lesson.teacher_class)


def _groups(lesson: Lesson, weight: Tensor) -> dict[str, Tensor]:
    selected = weight > 0
    return {
        "right": lesson.right,
        "wrong": lesson.wrong,
        "labelled": lesson.labelled,
        "unlabelled": ~lesson.labelled,
        "selected": selected,
        "unselected": ~selected,
    }


def _total(losses: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _check_seats(**seats: object) -> None:
    for kind, stage in seats.items():
        check_seat(stage, cast(Kind, kind))
    correct, match = seats["correct"], seats["match"]
    if correct is not None and not isinstance(correct, Correction):
        raise InputError(f"correct={type(correct).__name__}: not a correction (it has no 'apply_to')")
    if match is not None and not isinstance(match, Match):
        raise InputError(f"match={type(match).__name__}: not a match (it has no 'target_space'); see preceptor methods")


def _check_names(names: list[str]) -> None:
    if not names:
        raise InputError("a chain needs at least one term: give match=..., truth=... or terms={...}")
    if len(set(names)) < len(names):
        raise InputError(f"two terms share a name in {names}: rename one of them")
    for name in names:
        if not name.isidentifier() or hasattr(nn.ModuleDict, name):
            raise InputError(
                f"a term cannot be called {name!r}: use letters, digits and underscores, like 'ce' or 'kl'"
            )


def _check_shapes(student: Tensor, teacher: Tensor | None, label: Tensor) -> None:
    if student.dim() != 2 or label.dim() != 1 or label.shape[0] != student.shape[0]:
        raise InputError(
            f"student logits {tuple(student.shape)} and labels {tuple(label.shape)}: "
            "expected [batch, outputs] and [batch] of the same batch"
        )
    if label.is_floating_point() or label.dtype == torch.bool:
        raise InputError(f"labels of type {label.dtype}: expected class numbers (an integer type)")
    if teacher is None:
        return
    if teacher.dim() != 2 or teacher.shape[0] != student.shape[0]:
        raise InputError(
            f"teacher logits {tuple(teacher.shape)} do not go with student logits {tuple(student.shape)}: "
            "expected [batch, classes] of the same batch"
        )
    if student.shape[1] not in (teacher.shape[1], teacher.shape[1] + 1):
        raise InputError(
            f"the teacher has {teacher.shape[1]} classes, the student {student.shape[1]} outputs: "
            "the student needs as many, or one more for an abstaining head"
        )
