"""The distillation loss: teacher outputs are corrected, softened, selected and compared with the student's."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.component_types import Loss, rescaled
from preceptor.context import (
    UNLABELED,
    VERDICTS,
    BatchClasses,
    BatchContext,
    BatchOutputs,
    Classes,
    MixedLabels,
    at_least_float32,
    column,
    predicted_class,
    weighted_labels,
)
from preceptor.errors import InputError
from preceptor.loss_checks import check_batch
from preceptor.loss_components import Features, LossComponents
from preceptor.loss_output import Audit, LossOutput, audit_of
from preceptor.loss_terms import LossTerm, Rescale
from preceptor.recipes import recipe

_Call = tuple[Tensor | Sequence[Tensor], tuple[object, ...], Tensor]
"""What a term is called with: the student's side, what its loss takes after that, and the samples' weights."""

_Calls = list[_Call]
"""Calls of a term whose results are added: one, or of mixed inputs one a label. Named, as dynamo reads annotations."""


class DistillationLoss(LossComponents):
    """Composes components. Call it with logits and labels; it returns a :class:`LossOutput`.

    Args:
        recalibration: repairs the teacher's logits before anything else sees them; None leaves them.
        correction: maps the teacher's log-probabilities to corrected ones, where it is wrong; None leaves them.
        correction_where: verdicts of an audit, joined by ``|``, under which a wrong teacher is corrected, once there is
            one (:meth:`use_verdicts`). Default "wrong_teacher".
        temperature: softmax temperature of the teacher; None is 1.
        selection: weight of each sample in losses and feature losses; None is 1 for all. A label loss is limited by its
            term's ``where`` alone. One that looks samples up needs ``index`` at every call.
        loss, label_loss: short for terms of weight 1 over all samples, under their registered names.
        terms: named terms, together with or in place of the two above.

    Components that are ``nn.Module`` become submodules: their parameters are this module's. Those that are fitted must
    be (:meth:`fit`) before the first call.

    Raises:
        InputError: no term, a name used twice or not allowed, a component in the wrong slot, a term over selected
            samples without a selection, or a part of training in which no term is active.
    """

    @classmethod
    def from_recipe(cls, name: str | Path, overrides: Mapping[str, Any] | None = None) -> "DistillationLoss":
        """The loss of a recipe, by name or YAML file, with dotted overrides such as ``{"correction.eta": 0.5}``.

        Raises:
            InputError: unknown recipe, key or component (the nearest name is offered), or a value that does not fit.
        """
        return cls(**recipe(name, overrides))

    def forward(
        self,
        student_logits: BatchOutputs,
        teacher_logits: BatchClasses | None,
        label: Classes,
        *,
        index: Int[Tensor, " batch"] | None = None,
        progress: float = 0.0,
        student_features: Features | None = None,
        teacher_features: Features | None = None,
        mixed: MixedLabels | None = None,
    ) -> LossOutput:
        """The losses of one batch.

        Args:
            student_logits: outputs = classes, or classes + 1 for an abstaining student. Any float type; computed in
                float32 at least.
            teacher_logits: raw logits, finite where :meth:`teacher_mask` is true; detached here. None when no active
                term uses the teacher.
            label: class numbers; -1 marks an unlabeled sample, which the teacher alone teaches.
            index: positions in the training set, for components that look samples up.
            progress: share of training done, 0 to 1.
            student_features: activations by module path, for feature losses; :attr:`student_layers` names them.
            teacher_features: the same of the teacher, finite where :meth:`teacher_mask` is true; detached here.
            mixed: the second labels of mixed inputs: a label loss L is then ``share * L(label) + (1 - share) *
                L(partner)``. The audit counts ``label`` alone. None where inputs are not mixed.

        Raises:
            InputError: shapes that do not fit, a missing teacher, missing features, or mixed inputs with a component
                that decides by the label.
        """
        check_batch(student_logits, teacher_logits, label, index, self.abstains)
        if mixed is not None:
            self.check_mixing()
            check_batch(student_logits, teacher_logits, mixed.partner, index, self.abstains)
        label = label.long()
        with torch.autocast(student_logits.device.type, enabled=False):
            student = at_least_float32(student_logits)
            if teacher_logits is None or not self.uses_teacher:
                return self._without_teacher(student, label, index, progress, mixed)
            teacher, queried = self._queried(at_least_float32(teacher_logits.detach()), index)
            if self.recalibration is not None:
                teacher = self.recalibration(teacher).detach()
            context = BatchContext(
                student.detach(),
                teacher,
                label,
                predicted_class(teacher),
                index,
                progress,
                queried,
                self._judged(index),
                None if self._label_wrong is None or index is None else self._label_wrong[index],
            )
            return self._with_teacher(student, context, student_features, teacher_features, mixed)

    def _queried(self, teacher: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The teacher's logits, zeros where it is not used; and where it is, None for everywhere."""
        if self._fitted_selection is None:
            return teacher, None
        if index is None:
            raise InputError(
                f"{type(self.selection).__name__} looks samples up: give index=, positions in the training set"
            )
        queried = self.teacher_mask(index)
        return torch.where(queried.unsqueeze(1), teacher, 0), queried

    def _without_teacher(
        self, student: Tensor, label: Tensor, index: Tensor | None, progress: float, mixed: MixedLabels | None
    ) -> LossOutput:
        if self.uses_teacher_at(progress):
            raise InputError("teacher_logits is None, but an active term compares with the teacher: give its logits")
        labeled = label != UNLABELED
        verdict = self._judged(index)
        blamed = torch.zeros_like(labeled) if verdict is None else verdict == VERDICTS.index("wrong_label")
        groups = {"labeled": labeled, "unlabeled": ~labeled, "trusted_label": labeled & ~blamed}
        labels, classes = weighted_labels(label, mixed, student.dtype), student.shape[1] - self.abstains

        def call(name: str, term: LossTerm) -> _Calls:
            return _label_calls(term, term.outputs(student, classes), labels, index)

        return self._output(student, call, groups, progress, None)

    def _with_teacher(
        self,
        student: Tensor,
        context: BatchContext,
        student_features: Features | None,
        teacher_features: Features | None,
        mixed: MixedLabels | None,
    ) -> LossOutput:
        audit = audit_of(context, self.correction, self.temperature, self.selection, self.correction_where)
        temperature, weight, labeled = audit.temperature, audit.weight, context.labeled
        pseudo_label = context.pseudo_label
        groups = {
            "right": context.right,
            "wrong": context.wrong,
            "labeled": labeled,
            "unlabeled": ~labeled,
            "trusted_label": labeled,
            "selected": weight > 0,
            "unselected": weight <= 0,
        }
        if context.verdict is not None:
            groups |= {verdict: context.judged(verdict) for verdict in VERDICTS}
            groups["trusted_label"] = labeled & ~groups["wrong_label"]

        labels = weighted_labels(context.label, mixed, weight.dtype)

        def call(name: str, term: LossTerm) -> _Calls:
            if term.kind == "feature_loss":
                own, other = term.features(name, student_features or {}, teacher_features or {})
                if context.queried is not None:  # elsewhere they may be NaN, which adapters would get as a gradient
                    other = [torch.where(_as_rows(context.queried, one), one, 0) for one in other]
                return [(own, (other, context) if term.wants_context else (other,), weight)]
            outputs = term.outputs(student, context.teacher_logits.shape[1])
            if term.kind == "label_loss":
                return _label_calls(term, outputs, labels, context.index)
            target = audit.target
            if cast(Loss, term.loss).target_space == "logits":
                # Log-probabilities and logits differ by a constant a row; this form keeps the teacher's own.
                logits = rescaled(self.temperature, context.teacher_logits, context.teacher_logits)
                target = logits + column(temperature) * (target - audit.teacher_log_probs)
            return [(outputs, (target, temperature, pseudo_label, *term.index_argument(context.index)), weight)]

        rescale = partial(rescaled, self.temperature, teacher_logits=context.teacher_logits)
        return self._output(student, call, groups, context.progress, audit.detached(), rescale)

    def _output(
        self,
        student: Tensor,
        call: Callable[[str, LossTerm], _Calls],
        groups: Mapping[str, Tensor],
        progress: float,
        audit: Audit | None,
        rescale: Rescale | None = None,
    ) -> LossOutput:
        """Call the terms that are active; the others are zero."""
        losses = {
            name: term.warmed_up(reduce(add, [term(*one, groups, rescale) for one in call(name, term)]), progress)
            if term.is_active(progress)
            else student.new_zeros(())
            for name, term in self.terms.items()
        }
        return LossOutput(losses, torch.stack(list(losses.values())).sum(), audit)


def _as_rows(values: Tensor, features: Tensor) -> Tensor:
    """One value a sample, shaped to stand beside its features."""
    return values.view(-1, *[1] * (features.dim() - 1))


def _label_calls(
    term: LossTerm, outputs: Tensor, labels: Sequence[tuple[Tensor, Tensor]], index: Tensor | None
) -> _Calls:
    """One call a label, each with the samples' weights."""
    return [(outputs, term.label_arguments(label, index), weight) for label, weight in labels]
