"""DistillationLoss: correct, temperature, select and match the teacher's word; returns named loss terms and the audit tap."""

from collections.abc import Mapping
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from preceptor.audit import Audit, LossOutput
from preceptor.context import UNLABELED, BatchContext, Features, SelectionData, column, predicted_class
from preceptor.errors import InputError
from preceptor.loss_checks import check_index, check_names, check_shapes, check_slots, check_times
from preceptor.loss_terms import LossTerm
from preceptor.registry import (
    Correction,
    FittedSelection,
    LabelLoss,
    Loss,
    Selection,
    Temperature,
    registered_name,
)
from preceptor.temperatures import Fixed


class DistillationLoss(nn.Module):
    """Composes components. Call it with logits and labels; it returns :class:`LossOutput`.

    Args:
        correction: what the teacher's word becomes where it is wrong; None leaves it.
        temperature: how softly the teacher speaks; None is temperature 1.
        selection: how much the teacher teaches each sample; None is 1 for all. Its weights multiply the matches;
            a ground truth is limited by its term's ``where`` alone. One that is fitted (see :meth:`fit`) must be
            before the first call, and the call must be told positions.
        loss, label_loss: short for terms of weight 1 over all samples, under their registered names.
        terms: named terms, together with or in place of the two above.

    Stages that are ``nn.Module`` become submodules: their parameters are the chain's.

    Raises:
        InputError: no term at all, a term named twice or by a name that cannot be one, a component in the wrong
            seat, a term that asks for selected samples where nothing selects, or a part of training in which no
            term counts.
    """

    def __init__(
        self,
        *,
        correction: Correction | None = None,
        temperature: Temperature | None = None,
        selection: Selection | None = None,
        loss: Loss | None = None,
        label_loss: LabelLoss | None = None,
        terms: Mapping[str, LossTerm] | None = None,
    ) -> None:
        super().__init__()
        check_slots(
            correction=correction, temperature=temperature, selection=selection, loss=loss, label_loss=label_loss
        )
        self.correction = correction
        self.temperature = temperature if temperature is not None else Fixed(1.0)
        self.selection = selection
        self._looks_up = isinstance(selection, FittedSelection)  # asked every step, and slow to answer for a protocol
        named = [(registered_name(one), LossTerm(one)) for one in (loss, label_loss) if one is not None]
        named += (terms or {}).items()
        check_names([name for name, _ in named])
        check_times([term for _, term in named])
        self._terms = nn.ModuleDict(dict(named))
        if selection is None and any(term.needs_selection for term in self.terms.values()):
            raise InputError(
                "a term is limited to selected or unselected samples, but nothing selects: give selection=..."
            )

    @property
    def terms(self) -> dict[str, LossTerm]:
        """The terms by name."""
        return {name: term for name, term in self._terms.items() if isinstance(term, LossTerm)}

    @property
    def uses_teacher(self) -> bool:
        """Whether calling it needs teacher logits, at some time of training."""
        return any(term.uses_teacher for term in self.terms.values())

    def uses_teacher_at(self, progress: float) -> bool:
        """Whether calling it needs teacher logits when so much of training is done."""
        return any(term.uses_teacher and term.is_active(progress) for term in self.terms.values())

    @property
    def abstains(self) -> bool:
        """Whether the student must have one output more than there are classes, to abstain with."""
        return any(term.wants_reservation for term in self.terms.values())

    def trains_reservation(self, progress: float) -> bool:
        """Whether a term teaches the extra output when so much of training is done."""
        return any(term.wants_reservation and term.is_active(progress) for term in self.terms.values())

    @property
    def has_unselected_label_loss(self) -> bool:
        """Whether a ground truth teaches the samples that the teacher does not."""
        truths = [term for term in self.terms.values() if term.teacher_loss is None]
        return any(set(part) <= {"unselected", "labeled"} for term in truths for part in term.groups)

    def check_classes(self, classes: int) -> None:
        """Ask every component that cares whether it can work with so many classes.

        Raises:
            InputError: one cannot.
        """
        for component in (
            self.correction,
            self.temperature,
            self.selection,
            *(term.loss for term in self.terms.values()),
        ):
            check = getattr(component, "check_classes", None)
            if check is not None:
                check(classes)

    def expect_samples(self, samples: int) -> None:
        """Tell every component that keeps something for each sample how many there are; what they kept is forgotten."""
        for component in (
            self.correction,
            self.temperature,
            self.selection,
            *(term.loss for term in self.terms.values()),
        ):
            expect = getattr(component, "expect_samples", None)
            if expect is not None:
                expect(samples)

    @property
    def needs_fit(self) -> bool:
        """Whether its selection is still to be fitted."""
        return self._fitted_selection is not None and not self._fitted_selection.fitted

    def fit(self, selection_data: SelectionData) -> None:
        """Settle which samples the teacher teaches; does nothing when no selection waits for it."""
        if self._fitted_selection is not None:
            self._fitted_selection.fit(selection_data)

    def teacher_mask(self, index: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """On which samples, by their position in the training set, it listens to the teacher.

        Elsewhere a row of teacher logits may hold anything: it is ignored, and need not be computed.
        """
        if not self.uses_teacher or self._fitted_selection is None:
            return torch.full_like(index, self.uses_teacher, dtype=torch.bool)
        return self._fitted_selection.weight_at(index) > 0

    @property
    def _fitted_selection(self) -> FittedSelection | None:
        return cast(FittedSelection, self.selection) if self._looks_up else None

    def forward(
        self,
        student_logits: Float[Tensor, "batch outputs"],
        teacher_logits: Float[Tensor, "batch classes"] | None,
        label: Int[Tensor, " batch"],
        *,
        index: Int[Tensor, " batch"] | None = None,
        progress: float = 0.0,
        features: Features | None = None,
    ) -> LossOutput:
        """The losses of one batch.

        Args:
            student_logits: outputs = classes, or classes + 1 for an abstaining head. Any float type; computed
                in float32 at least.
            teacher_logits: raw logits, finite where :meth:`teacher_mask` asks for them; detached here. None when no term
                that counts now needs the teacher.
            label: class numbers; -1 marks an unlabeled sample, which the teacher alone teaches.
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
            if teacher_logits is None or not self.uses_teacher:
                return self._without_teacher(student, label, index, progress)
            teacher, asked = self._heard(_at_least_float32(teacher_logits.detach()), index)
            teacher_class = predicted_class(teacher)
            context = BatchContext(student.detach(), teacher, label, teacher_class, index, progress, features, asked)
            return self._with_teacher(student, context)

    def _heard(self, teacher: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The teacher's logits, zeros where it is not listened to; and where it is, None for everywhere."""
        if self._fitted_selection is None:
            return teacher, None
        if index is None:
            raise InputError(
                f"{type(self.selection).__name__} looks samples up: give index=, positions in the training set"
            )
        asked = self.teacher_mask(index)
        return torch.where(asked.unsqueeze(1), teacher, 0), asked

    def _without_teacher(self, student: Tensor, label: Tensor, index: Tensor | None, progress: float) -> LossOutput:
        if self.uses_teacher_at(progress):
            raise InputError("this chain needs teacher logits (a term matches the teacher or asks where it is right)")
        labeled = label != UNLABELED
        groups = {"labeled": labeled, "unlabeled": ~labeled}
        weight = labeled.to(student.dtype)
        classes = student.shape[1] - self.abstains
        losses = {
            name: term(_outputs_for(term, student, classes), _truth(term, label, index), weight, groups)
            if term.is_active(progress)
            else _nothing(student)
            for name, term in self.terms.items()
        }
        return LossOutput(losses, _total(losses), None)

    def _with_teacher(self, student: Tensor, context: BatchContext) -> LossOutput:
        temperature = self.temperature(context)
        said = (context.teacher / column(temperature)).log_softmax(dim=1)
        corrected, target = self._corrected(said, context)
        weight = torch.ones_like(said[:, 0]) if self.selection is None else self.selection(context).detach()
        groups = _groups(context, weight)
        labeled = context.labeled.to(weight.dtype)
        losses = {}
        for name, term in self.terms.items():
            outputs = _outputs_for(term, student, said.shape[1])
            if not term.is_active(context.progress):
                losses[name] = _nothing(student)
            elif term.teacher_loss is None:
                losses[name] = term(outputs, _truth(term, context.label, context.index), labeled, groups)
            else:
                word = _word_for(term.teacher_loss, said, target, temperature, context)
                losses[name] = term(outputs, (word, temperature, _taught_label(context)), weight, groups)
        known = temperature.detach() if isinstance(temperature, Tensor) else temperature
        audit = Audit(
            queried=torch.ones_like(context.labeled) if context.queried is None else context.queried,
            teacher_class=context.teacher_class,
            wrong=context.wrong,
            corrected=corrected,
            temperature=known,
            minimum_temperature=getattr(self.temperature, "minimum", None),
            weight=weight,
            teacher_log_probs=said.detach(),
            target=target.detach(),
        )
        return LossOutput(losses, _total(losses), audit)

    def _corrected(self, said: Tensor, context: BatchContext) -> tuple[Tensor, Tensor]:
        """Which samples the correction touches, and the teacher's word after it."""
        if self.correction is None:
            return torch.zeros_like(context.wrong), said
        affected = context.wrong if self.correction.apply_to == "wrong" else context.right | context.wrong
        revised = self.correction(said, _taught_label(context), context.teacher_class)
        return affected, torch.where(affected.unsqueeze(1), revised, said)


def _outputs_for(term: LossTerm, student: Tensor, classes: int) -> Tensor:
    """The extra output is shown to those alone who want it: to others it would be one more class."""
    return student if term.wants_reservation else student[:, :classes]


def _nothing(student: Tensor) -> Tensor:
    return student.new_zeros(())


def _word_for(match: Loss, said: Tensor, target: Tensor, temperature: float | Tensor, context: BatchContext) -> Tensor:
    """The corrected word in the space the match asks for."""
    if match.target_space == "log_probs":
        return target
    # Log-probabilities and logits differ by a constant a row; this form keeps the teacher's own constant.
    return context.teacher + column(temperature) * (target - said)


def _truth(term: LossTerm, label: Tensor, index: Tensor | None) -> tuple[Tensor, ...]:
    """What a ground truth is told of the samples."""
    if not term.wants_index:
        return (_some_label(label),)
    if index is None:
        raise InputError(f"{type(term.loss).__name__} keeps a value for every sample: give index=")
    return _some_label(label), index


def _some_label(label: Tensor) -> Tensor:
    """Labels that every loss can look up; where there is none it weighs nothing."""
    return torch.where(label == UNLABELED, 0, label)


def _taught_label(context: BatchContext) -> Tensor:
    """The label, and for unlabeled samples the teacher's class: what label-aware components are handed."""
    return torch.where(context.labeled, context.label, context.teacher_class)


def _groups(context: BatchContext, weight: Tensor) -> dict[str, Tensor]:
    selected = weight > 0
    return {
        "right": context.right,
        "wrong": context.wrong,
        "labeled": context.labeled,
        "unlabeled": ~context.labeled,
        "selected": selected,
        "unselected": ~selected,
    }


def _total(losses: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
