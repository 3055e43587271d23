"""The distillation loss: teacher outputs are corrected, softened, selected and compared with the student's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from preceptor.chunking import chunked
from preceptor.context import (
    UNLABELED,
    VERDICTS,
    BatchClasses,
    BatchContext,
    BatchOutputs,
    Classes,
    ModelOutputs,
    SelectionData,
    TeacherSnapshot,
    at_least_float32,
    column,
    predicted_class,
)
from preceptor.errors import InputError
from preceptor.loss_checks import check_batch, check_components, check_names, check_time_spans, parse_verdicts
from preceptor.loss_output import Audit, LossOutput, audit_of, corrected_samples
from preceptor.loss_terms import LossTerm
from preceptor.recipes import recipe
from preceptor.registry import (
    Correction,
    FeatureLoss,
    Fittable,
    FittedSelection,
    LabelLoss,
    Loss,
    Recalibration,
    Selection,
    Temperature,
    registered_name,
)
from preceptor.temperatures import Fixed

Features = Mapping[str, Tensor]

_Call = tuple[Tensor | Sequence[Tensor], tuple[object, ...], Tensor]
"""What a term is called with: the student's side, what its loss takes after that, and the samples' weights."""


class DistillationLoss(nn.Module):
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

    def __init__(
        self,
        *,
        recalibration: Recalibration | None = None,
        correction: Correction | None = None,
        correction_where: str = "wrong_teacher",
        temperature: Temperature | None = None,
        selection: Selection | None = None,
        loss: Loss | None = None,
        label_loss: LabelLoss | None = None,
        terms: Mapping[str, LossTerm] | None = None,
    ) -> None:
        super().__init__()
        slots = {"recalibration": recalibration, "correction": correction, "temperature": temperature}
        check_components(**slots, selection=selection, loss=loss, label_loss=label_loss)
        self.recalibration = recalibration
        self.correction = correction
        self.correction_where = parse_verdicts(correction_where)
        self.temperature = temperature if temperature is not None else Fixed(1.0)
        self.selection = selection
        # Decided once: isinstance on a protocol is too slow for every step.
        self._selection_is_fitted = isinstance(selection, FittedSelection)
        named = [(registered_name(one), LossTerm(one)) for one in (loss, label_loss) if one is not None]
        named += (terms or {}).items()
        check_names([name for name, _ in named])
        check_time_spans([term for _, term in named])
        self._terms = nn.ModuleDict(dict(named))
        self._verdicts: Tensor | None
        self._label_wrong: Tensor | None
        for name in ("_verdicts", "_label_wrong"):
            self.register_buffer(name, None, persistent=False)
        if selection is None and any(term.uses_selection for term in self.terms.values()):
            raise InputError("a term is limited to selected or unselected samples, but selection is None: give one")

    @classmethod
    def from_recipe(cls, name: str | Path, overrides: Mapping[str, Any] | None = None) -> "DistillationLoss":
        """The loss of a recipe, by name or YAML file, with dotted overrides such as ``{"correction.eta": 0.5}``.

        Raises:
            InputError: unknown recipe, key or component (the nearest name is offered), or a value that does not fit.
        """
        return cls(**recipe(name, overrides))

    @property
    def terms(self) -> dict[str, LossTerm]:
        return {name: term for name, term in self._terms.items() if isinstance(term, LossTerm)}

    @property
    def uses_teacher(self) -> bool:
        """Whether it needs teacher logits at some time of training."""
        return any(term.uses_teacher for term in self.terms.values())

    def uses_teacher_at(self, progress: float) -> bool:
        """Whether it needs teacher logits when this share of training is done."""
        return any(term.uses_teacher and term.is_active(progress) for term in self.terms.values())

    @property
    def abstains(self) -> bool:
        """Whether the student needs one output more than there are classes, to abstain with."""
        return any(term.wants_reservation for term in self.terms.values())

    def trains_reservation(self, progress: float) -> bool:
        """Whether a term trains the extra output when this share of training is done."""
        return any(term.wants_reservation and term.is_active(progress) for term in self.terms.values())

    @property
    def has_unselected_label_loss(self) -> bool:
        """Whether a label loss covers the samples that the selection leaves out."""
        parts = [part for term in self.terms.values() if term.kind == "label_loss" for part in term.groups]
        return any(set(part) <= {"unselected", "labeled"} for part in parts)

    @property
    def feature_losses(self) -> dict[str, FeatureLoss]:
        """The feature losses by name of their term."""
        return {n: cast(FeatureLoss, term.loss) for n, term in self.terms.items() if term.kind == "feature_loss"}

    @property
    def student_layers(self) -> tuple[str, ...]:
        """Module paths of the student whose features a feature loss compares."""
        return tuple(dict.fromkeys(layer for loss in self.feature_losses.values() for layer in loss.layers))

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(layer for loss in self.feature_losses.values() for layer in loss.layers.values()))

    def build_adapters(self, student: Features, teacher: Features) -> None:
        """Create the adapters of the feature losses, from features of a probe batch by module path, [batch, ...] each.

        Call it before the optimizer is made.

        Raises:
            InputError: shapes that a feature loss cannot adapt.
        """
        for loss in self.feature_losses.values():
            loss.build_adapters(
                [student[layer].shape for layer in loss.layers],
                [teacher[layer].shape for layer in loss.layers.values()],
            )

    @property
    def _fitted_selection(self) -> FittedSelection | None:
        return cast(FittedSelection, self.selection) if self._selection_is_fitted else None

    @property
    def components(self) -> list[object]:
        """Its components, slot by slot, then those of its terms."""
        slots = (self.recalibration, self.correction, self.temperature, self.selection)
        return [one for one in slots if one is not None] + [term.loss for term in self.terms.values()]

    def _tell(self, method: str, number: int) -> None:
        """Call a method of those components that have it."""
        for component in self.components:
            if hasattr(component, method):
                getattr(component, method)(number)

    def check_classes(self, classes: int) -> None:
        """Let every component that cares check the number of classes.

        Raises:
            InputError: one cannot work with it.
        """
        self._tell("check_classes", classes)

    def expect_samples(self, samples: int) -> None:
        """Tell components that keep a value per sample how many there are; what they kept is forgotten."""
        self._tell("expect_samples", samples)

    @property
    def unfitted(self) -> list[Fittable]:
        """The components that are yet to be fitted."""
        return [one for one in self.components if isinstance(one, Fittable) and not one.fitted]

    @property
    def needs_fit(self) -> bool:
        return bool(self.unfitted)

    def fit(self, selection_data: SelectionData) -> None:
        """Fit the components that are yet to be fitted; does nothing when there is none.

        A selection that looks samples up is fitted on the teacher's outputs as they are, every other component on
        those that it will see: after recalibration.
        """
        selection = [] if self._fitted_selection is None else [self._fitted_selection]
        recalibration: list[Fittable] = [self.recalibration] if isinstance(self.recalibration, Fittable) else []
        for first in (*selection, *recalibration):
            if not first.fitted:
                first.fit(selection_data)
        if self.recalibration is not None and self.needs_fit:
            selection_data = _recalibrated(selection_data, self.recalibration)
        for component in self.unfitted:
            component.fit(selection_data)

    def use_verdicts(self, verdicts: Int[Tensor, " n"], label_wrong: Float[Tensor, " n"] | None = None) -> None:
        """Limit the correction, and terms that ask for it, by an audit's verdicts.

        Args:
            verdicts: on every training sample, as its number in ``context.VERDICTS``, or ``context.AGREE``. The call
                then needs ``index``.
            label_wrong: the probability that the sample's label is the wrong one, for corrections that weigh it.
        """
        self.register_buffer("_verdicts", verdicts, persistent=False)
        self.register_buffer("_label_wrong", label_wrong, persistent=False)

    @property
    def verdicts(self) -> Int[Tensor, " n"] | None:
        """Those of the audit that limits it; None without one."""
        return self._verdicts

    @property
    def audited(self) -> dict[str, Tensor]:
        """What an audit says of every training sample, by name; empty without one."""
        named = {"verdicts": self._verdicts, "label_wrong": self._label_wrong}
        return {name: values for name, values in named.items() if values is not None}

    def teacher_mask(self, index: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """The samples, by position in the training set, on which the teacher is used; on the device of ``index``.

        Elsewhere a row of teacher logits may hold anything: it is ignored and need not be computed.
        """
        if not self.uses_teacher or self._fitted_selection is None:
            return torch.full_like(index, self.uses_teacher, dtype=torch.bool)
        return (self._fitted_selection.weight_at(index) > 0).to(index.device)

    def corrected(
        self, index: Int[Tensor, " n"], label: Int[Tensor, " n"], teacher_class: Int[Tensor, " n"]
    ) -> Bool[Tensor, " n"]:
        """The samples whose teacher output the correction changes where the teacher is used, from its classes alone.

        Args:
            index: positions in the training set.
            label: given classes; -1 where there is none.
            teacher_class: the teacher's predictions.
        """
        no_logits = torch.zeros(len(label), 0, device=label.device)
        verdict = self._judged(index)
        verdict = None if verdict is None else verdict.to(label.device)
        context = BatchContext(no_logits, no_logits, label, teacher_class, index, 0.0, None, verdict)
        return corrected_samples(context, self.correction, self.correction_where)

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
            teacher_features: the same of the teacher; detached here.

        Raises:
            InputError: shapes that do not fit, a missing teacher, or missing features.
        """
        check_batch(student_logits, teacher_logits, label, index, self.abstains)
        label = label.long()
        with torch.autocast(student_logits.device.type, enabled=False):
            student = at_least_float32(student_logits)
            if teacher_logits is None or not self.uses_teacher:
                return self._without_teacher(student, label, index, progress)
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
            return self._with_teacher(student, context, student_features, teacher_features)

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

    def _judged(self, index: Tensor | None) -> Tensor | None:
        """The verdicts on the samples of a batch; None without an audit."""
        if self._verdicts is None:
            if any(term.uses_verdicts for term in self.terms.values()):
                raise InputError("a term is limited by an audit's verdicts, and there is no audit: give --audit")
            return None
        if index is None:
            raise InputError("verdicts of an audit are looked up: give index=, positions in the training set")
        return self._verdicts[index]

    def _without_teacher(self, student: Tensor, label: Tensor, index: Tensor | None, progress: float) -> LossOutput:
        if self.uses_teacher_at(progress):
            raise InputError("teacher_logits is None, but an active term compares with the teacher: give its logits")
        labeled = label != UNLABELED
        groups = {"labeled": labeled, "unlabeled": ~labeled}
        weight, classes = labeled.to(student.dtype), student.shape[1] - self.abstains

        def call(name: str, term: LossTerm) -> _Call:
            return term.outputs(student, classes), term.label_arguments(label, index), weight

        return self._output(student, call, groups, progress, None)

    def _with_teacher(
        self,
        student: Tensor,
        context: BatchContext,
        student_features: Features | None,
        teacher_features: Features | None,
    ) -> LossOutput:
        audit = audit_of(context, self.correction, self.temperature, self.selection, self.correction_where)
        temperature, weight, labeled = audit.temperature, audit.weight, context.labeled
        pseudo_label = context.pseudo_label
        groups = {
            "right": context.right,
            "wrong": context.wrong,
            "labeled": labeled,
            "unlabeled": ~labeled,
            "selected": weight > 0,
            "unselected": weight <= 0,
        }
        if context.verdict is not None:
            groups |= {verdict: context.judged(verdict) for verdict in VERDICTS}

        def call(name: str, term: LossTerm) -> _Call:
            if term.kind == "feature_loss":
                own, other = term.features(name, student_features or {}, teacher_features or {})
                return own, (other,), weight
            outputs = term.outputs(student, context.teacher_logits.shape[1])
            if term.kind == "label_loss":
                return outputs, term.label_arguments(context.label, context.index), labeled.to(weight.dtype)
            target = audit.target
            if cast(Loss, term.loss).target_space == "logits":
                # Log-probabilities and logits differ by a constant a row; this form keeps the teacher's own.
                target = context.teacher_logits + column(temperature) * (target - audit.teacher_log_probs)
            return outputs, (target, temperature, pseudo_label), weight

        return self._output(student, call, groups, context.progress, audit.detached())

    def _output(
        self,
        student: Tensor,
        call: Callable[[str, LossTerm], _Call],
        groups: Mapping[str, Tensor],
        progress: float,
        audit: Audit | None,
    ) -> LossOutput:
        """Call the terms that are active; the others are zero."""
        losses = {
            name: term.warmed_up(term(*call(name, term), groups), progress)
            if term.is_active(progress)
            else student.new_zeros(())
            for name, term in self.terms.items()
        }
        return LossOutput(losses, torch.stack(list(losses.values())).sum(), audit)


@torch.no_grad()
def _recalibrated(selection_data: SelectionData, recalibration: Recalibration) -> SelectionData:
    """The selection data of the recalibrated teacher."""

    def outputs(of: ModelOutputs) -> ModelOutputs:
        return replace(of, logits=chunked(recalibration.__call__)(of.logits))

    def snapshot(of: TeacherSnapshot) -> TeacherSnapshot:
        return replace(of, train=outputs(of.train), held_out=of.held_out and outputs(of.held_out))

    return replace(selection_data, checkpoints=tuple(map(snapshot, selection_data.checkpoints)))
