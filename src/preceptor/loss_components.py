"""The components of a distillation loss: what they need, how they are fitted, and what an audit says of the samples."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from preceptor.chunking import chunked
from preceptor.component_types import (
    Correction,
    FeatureLoss,
    Fittable,
    FittedSelection,
    LabelLoss,
    Loss,
    Recalibration,
    Selection,
    Temperature,
    rescaled,
)
from preceptor.context import (
    VERDICTS,
    BatchContext,
    ModelOutputs,
    SelectionData,
    TeacherSnapshot,
)
from preceptor.errors import InputError
from preceptor.loss_checks import check_components, check_mixing, check_names, check_time_spans, parse_verdicts
from preceptor.loss_output import corrected_samples
from preceptor.loss_terms import LossTerm
from preceptor.registry import registered_name
from preceptor.temperatures import Fixed

Features = Mapping[str, Tensor]
Shapes = list[torch.Size]


class LossComponents(nn.Module):
    """The components of a distillation loss; arguments and errors as for :class:`~preceptor.loss.DistillationLoss`."""

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
        self.adapted_shapes: dict[str, tuple[Shapes, Shapes]] = {}
        self._terms = nn.ModuleDict(dict(named))
        self._verdicts: Tensor | None
        self._label_wrong: Tensor | None
        for name in ("_verdicts", "_label_wrong"):
            self.register_buffer(name, None, persistent=False)
        if selection is None and any(term.uses_selection for term in self.terms.values()):
            raise InputError("a term is limited to selected or unselected samples, but selection is None: give one")

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

        Call it before the optimizer is made. ``adapted_shapes`` keeps, by term, the shapes of both networks' features.

        Raises:
            InputError: shapes that a feature loss cannot adapt.
        """
        for name, loss in self.feature_losses.items():
            student_shapes = [student[layer].shape for layer in loss.layers]
            teacher_shapes = [teacher[layer].shape for layer in loss.layers.values()]
            loss.build_adapters(student_shapes, teacher_shapes)
            self.adapted_shapes[name] = student_shapes, teacher_shapes

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

    def check_mixing(self) -> None:
        """Refuse mixed inputs where something decides by the label: a mixed input has two.

        Raises:
            InputError: a component or a term does; the first one is named.
        """
        slots = {"correction": self.correction, "selection": self.selection, "temperature": self.temperature}
        check_mixing(slots, self.terms)

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
        those that it will see: after recalibration, and a loss after the temperature's ``rescale``. An audit
        (:meth:`use_verdicts`) tells which labels are trusted.
        """
        if self._verdicts is not None:
            judged = self._verdicts[selection_data.index]
            selection_data = replace(selection_data, trusted=judged != VERDICTS.index("wrong_label"))
        selection = [] if self._fitted_selection is None else [self._fitted_selection]
        recalibration: list[Fittable] = [self.recalibration] if isinstance(self.recalibration, Fittable) else []
        for first in (*selection, *recalibration):
            if not first.fitted:
                first.fit(selection_data)
        if self.recalibration is not None and self.needs_fit:
            selection_data = _mapped(selection_data, self.recalibration.__call__)
        losses = {id(term.loss) for term in self.terms.values()}
        for component in self.unfitted:
            seen = selection_data
            if id(component) in losses:
                seen = _mapped(seen, lambda logits: rescaled(self.temperature, logits, logits))
            component.fit(seen)

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

    def _judged(self, index: Tensor | None) -> Tensor | None:
        """The verdicts on the samples of a batch; None without an audit."""
        if self._verdicts is None:
            if any(term.uses_verdicts for term in self.terms.values()):
                raise InputError("a term is limited by an audit's verdicts, and there is no audit: give --audit")
            return None
        if index is None:
            raise InputError("verdicts of an audit are looked up: give index=, positions in the training set")
        return self._verdicts[index]


@torch.no_grad()
def _mapped(selection_data: SelectionData, function: Callable[[Tensor], Tensor]) -> SelectionData:
    """The selection data of a teacher whose logits a function of rows has changed."""

    def outputs(of: ModelOutputs) -> ModelOutputs:
        return replace(of, logits=chunked(function)(of.logits))

    def snapshot(of: TeacherSnapshot) -> TeacherSnapshot:
        return replace(of, train=outputs(of.train), held_out=of.held_out and outputs(of.held_out))

    return replace(selection_data, checkpoints=tuple(map(snapshot, selection_data.checkpoints)))
