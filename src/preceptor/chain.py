"""Chain: correct, temper, select and match the teacher's word; returns named loss terms and the audit tap."""

from collections.abc import Mapping
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from preceptor.audit import Audit, Terms
from preceptor.checks import check_index, check_names, check_seats, check_shapes, check_times
from preceptor.errors import InputError
from preceptor.evidence import Evidence
from preceptor.lesson import UNLABELLED, Features, Lesson, column, predicted_class
from preceptor.stage import (
    Correction,
    FittedSelection,
    GroundTruth,
    Match,
    Selection,
    Temperature,
    registered_name,
)
from preceptor.temper import Fixed
from preceptor.terms import Term


class Chain(nn.Module):
    """Composes stages. Call it with logits and labels; it returns :class:`Terms`.

    Args:
        correct: what the teacher's word becomes where it is wrong; None leaves it.
        temper: how softly the teacher speaks; None is temperature 1.
        select: how much the teacher teaches each sample; None is 1 for all. Its weights multiply the matches;
            a ground truth is limited by its term's ``where`` alone. One that is fitted (see :meth:`fit`) must be
            before the first call, and the call must be told positions.
        match, truth: short for terms of weight 1 over all samples, under their registered names.
        terms: named terms, together with or in place of the two above.

    Stages that are ``nn.Module`` become submodules: their parameters are the chain's.

    Raises:
        InputError: no term at all, a term named twice or by a name that cannot be one, a stage in the wrong
            seat, a term that asks for selected samples where nothing selects, or a part of training in which no
            term counts.
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
        check_seats(correct=correct, temper=temper, select=select, match=match, truth=truth)
        self.correct = correct
        self.temper = temper if temper is not None else Fixed(1.0)
        self.select = select
        self._looks_up = isinstance(select, FittedSelection)  # asked every step, and slow to answer for a protocol
        named = [(registered_name(loss), Term(loss)) for loss in (match, truth) if loss is not None]
        named += (terms or {}).items()
        check_names([name for name, _ in named])
        check_times([term for _, term in named])
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
        """Whether calling it needs teacher logits, at some time of training."""
        return any(term.needs_teacher for term in self.terms.values())

    def needs_teacher_at(self, progress: float) -> bool:
        """Whether calling it needs teacher logits when so much of training is done."""
        return any(term.needs_teacher and term.counts_at(progress) for term in self.terms.values())

    @property
    def abstains(self) -> bool:
        """Whether the student must have one output more than there are classes, to abstain with."""
        return any(term.wants_reservation for term in self.terms.values())

    def gambles_at(self, progress: float) -> bool:
        """Whether a term teaches the extra output when so much of training is done."""
        return any(term.wants_reservation and term.counts_at(progress) for term in self.terms.values())

    @property
    def labels_unselected(self) -> bool:
        """Whether a ground truth teaches the samples that the teacher does not."""
        truths = [term for term in self.terms.values() if term.match is None]
        return any(set(part) <= {"unselected", "labelled"} for term in truths for part in term.groups)

    def check_classes(self, classes: int) -> None:
        """Ask every stage that cares whether it can work with so many classes.

        Raises:
            InputError: one cannot.
        """
        for stage in (self.correct, self.temper, self.select, *(term.loss for term in self.terms.values())):
            check = getattr(stage, "check_classes", None)
            if check is not None:
                check(classes)

    def expect_samples(self, samples: int) -> None:
        """Tell every stage that keeps something for each sample how many there are; what they kept is forgotten."""
        for stage in (self.correct, self.temper, self.select, *(term.loss for term in self.terms.values())):
            expect = getattr(stage, "expect_samples", None)
            if expect is not None:
                expect(samples)

    @property
    def needs_fit(self) -> bool:
        """Whether its selection is still to be fitted."""
        return self._fitted_selection is not None and not self._fitted_selection.fitted

    def fit(self, evidence: Evidence) -> None:
        """Settle which samples the teacher teaches; does nothing when no selection waits for it."""
        if self._fitted_selection is not None:
            self._fitted_selection.fit(evidence)

    def asks_at(self, index: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """On which samples, by their position in the training set, it listens to the teacher.

        Elsewhere a row of teacher logits may hold anything: it is ignored, and need not be computed.
        """
        if not self.needs_teacher or self._fitted_selection is None:
            return torch.full_like(index, self.needs_teacher, dtype=torch.bool)
        return self._fitted_selection.weight_at(index) > 0

    @property
    def _fitted_selection(self) -> FittedSelection | None:
        return cast(FittedSelection, self.select) if self._looks_up else None

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
            teacher_logits: raw logits, finite where :meth:`asks_at` asks for them; detached here. None when no term
                that counts now needs the teacher.
            label: class numbers; -1 marks an unlabelled sample, which the teacher alone teaches.
            index: positions in the training set, for selections that look samples up.
            progress: share of training done, 0 to 1.
            features: activations by layer name, for terms that ask for them.

        Raises:
            InputError: shapes that do not fit, or a missing teacher.
        """
        check_shapes(student_logits, teacher_logits, label, self.abstains)
        check_index(index, label)
        label = label.long()
        with torch.autocast(student_logits.device.type, enabled=False):
            student = _at_least_float32(student_logits)
            if teacher_logits is None or not self.needs_teacher:
                return self._without_teacher(student, label, index, progress)
            teacher, asked = self._heard(_at_least_float32(teacher_logits.detach()), index)
            teacher_class = predicted_class(teacher)
            lesson = Lesson(student.detach(), teacher, label, teacher_class, index, progress, features, asked)
            return self._with_teacher(student, lesson)

    def _heard(self, teacher: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The teacher's logits, zeros where it is not listened to; and where it is, None for everywhere."""
        if self._fitted_selection is None:
            return teacher, None
        if index is None:
            raise InputError(
                f"{type(self.select).__name__} looks samples up: give index=, positions in the training set"
            )
        asked = self.asks_at(index)
        return torch.where(asked.unsqueeze(1), teacher, 0), asked

    def _without_teacher(self, student: Tensor, label: Tensor, index: Tensor | None, progress: float) -> Terms:
        if self.needs_teacher_at(progress):
            raise InputError("this chain needs teacher logits (a term matches the teacher or asks where it is right)")
        labelled = label != UNLABELLED
        groups = {"labelled": labelled, "unlabelled": ~labelled}
        weight = labelled.to(student.dtype)
        classes = student.shape[1] - self.abstains
        losses = {
            name: term(_outputs_for(term, student, classes), _truth(term, label, index), weight, groups)
            if term.counts_at(progress)
            else _nothing(student)
            for name, term in self.terms.items()
        }
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
            outputs = _outputs_for(term, student, said.shape[1])
            if not term.counts_at(lesson.progress):
                losses[name] = _nothing(student)
            elif term.match is None:
                losses[name] = term(outputs, _truth(term, lesson.label, lesson.index), labelled, groups)
            else:
                word = _word_for(term.match, said, target, temperature, lesson)
                losses[name] = term(outputs, (word, temperature, _taught_label(lesson)), weight, groups)
        known = temperature.detach() if isinstance(temperature, Tensor) else temperature
        audit = Audit(
            asked=torch.ones_like(lesson.labelled) if lesson.asked is None else lesson.asked,
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
        touched = lesson.wrong if self.correct.apply_to == "wrong" else lesson.right | lesson.wrong
        revised = self.correct(said, _taught_label(lesson), lesson.teacher_class)
        return touched, torch.where(touched.unsqueeze(1), revised, said)


def _outputs_for(term: Term, student: Tensor, classes: int) -> Tensor:
    """The extra output is shown to those alone who want it: to others it would be one more class."""
    return student if term.wants_reservation else student[:, :classes]


def _nothing(student: Tensor) -> Tensor:
    return student.new_zeros(())


def _word_for(match: Match, said: Tensor, target: Tensor, temperature: float | Tensor, lesson: Lesson) -> Tensor:
    """The corrected word in the space the match asks for."""
    if match.target_space == "log_probs":
        return target
    # Log-probabilities and logits differ by a constant a row; this form keeps the teacher's own constant.
    return lesson.teacher + column(temperature) * (target - said)


def _truth(term: Term, label: Tensor, index: Tensor | None) -> tuple[Tensor, ...]:
    """What a ground truth is told of the samples."""
    if not term.wants_index:
        return (_some_label(label),)
    if index is None:
        raise InputError(f"{type(term.loss).__name__} keeps a value for every sample: give index=")
    return _some_label(label), index


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
