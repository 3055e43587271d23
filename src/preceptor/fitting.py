"""What is shared by components that are fitted on the teacher's outputs once, before training."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from preceptor.chunking import row_chunks
from preceptor.context import UNLABELED, ModelOutputs, SelectionData
from preceptor.errors import InputError
from preceptor.registry import registered_name

FitPart = Literal["held_out", "train", "unseen"]
"""The samples to fit on: labeled ones that are held out from training; the training samples themselves, for a teacher
whose outputs on them are out of fold (``preceptor crossfit``); or both, as far as the teacher has not seen them."""

CLEARLY = 2.0
"""Standard errors by which a teacher's loss is lower on samples that it learned from."""

SCALES = (0.05, 20.0)
"""Bounds of a fitted inverse temperature: a teacher that is right on every sample would have none."""


@dataclass(frozen=True)
class LabeledOutputs:
    """The teacher's outputs on labeled samples."""

    logits: Float[Tensor, "n classes"]
    label: Int[Tensor, " n"]
    features: Float[Tensor, "n dimensions"] | None


class FittedComponent(nn.Module, ABC):
    """Base of components that are fitted once, before training, by :meth:`fit`.

    What they are fitted to is in buffers, named in ``fit_buffers`` and empty before: so it is in a checkpoint of the
    loss, and a resumed run has the same bits.

    Attributes:
        needs_held_out: whether the selection data must hold labeled samples that are kept out of training.
        needs_features: whether it must hold the inputs of the teacher's last linear layer.
        needs_checkpoints: whether it must hold earlier checkpoints of the teacher, too.
    """

    fit_buffers: ClassVar[tuple[str, ...]]
    needs_held_out: bool = False
    needs_features: bool = False
    needs_checkpoints: bool = False

    def __init__(self) -> None:
        super().__init__()
        for name in self.fit_buffers:
            self.register_buffer(name, torch.zeros(0))

    @property
    def fitted(self) -> bool:
        """Whether it is fitted, by :meth:`fit` or a loaded state."""
        return len(getattr(self, self.fit_buffers[0])) > 0

    @abstractmethod
    def fit(self, selection_data: SelectionData) -> None:
        """Fit it, in place of any fit before.

        Raises:
            InputError: the selection data lacks what the method needs.
        """

    def store(self, **buffers: Tensor) -> None:
        """Set what it is fitted to; where and in what type the buffers are."""
        for name, value in buffers.items():
            setattr(self, name, value.detach().to(getattr(self, name)))

    def check_fitted(self) -> None:
        """Refuse a call before the fit.

        Raises:
            InputError: it is not fitted yet.
        """
        if not self.fitted:
            raise InputError(
                f"{registered_name(self)}: not fitted yet: call fit(selection_data) of the loss before the first batch"
            )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Resize the buffers first: their size is known only from the saved state."""
        for name in self.fit_buffers:
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, getattr(self, name).new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


class FittedOnLabels(FittedComponent):
    """Base of components that are fitted on labeled samples alone.

    Args:
        fit_on: "held_out" (default): labeled samples that are held out from training; "train": the training samples,
            for a teacher whose outputs on them are out of fold; "unseen": both, unless the teacher does clearly better
            on the training samples, as one that learned from them.
    """

    def __init__(self, fit_on: FitPart = "held_out") -> None:
        super().__init__()
        self.fit_on: FitPart = fit_on
        self.needs_held_out = fit_on != "train"

    def labeled(self, selection_data: SelectionData) -> LabeledOutputs:
        """The samples to fit on; `InputError` where there are none."""
        return labeled_outputs(selection_data, self.fit_on, registered_name(self))


def labeled_outputs(selection_data: SelectionData, part: FitPart, name: str) -> LabeledOutputs:
    """The labeled samples that a component is fitted on; ``name`` is the component's.

    "unseen" are the held-out samples and, unless :func:`has_seen` tells that the teacher learned from them, the
    training samples; where an audit judges the labels, those training samples alone whose labels it trusts.

    Raises:
        InputError: there is none.
    """
    teacher, wanted = selection_data.teacher, "training" if part == "train" else "held-out"
    train = _labeled(teacher.train, selection_data.label)
    held_out = _labeled(teacher.held_out, selection_data.held_out_label)
    chosen = train if part == "train" else held_out
    if chosen is None:
        raise InputError(
            f"{name}: is fitted on labeled {wanted} samples, and there are none: hold some out (validation=0.1), or "
            "give fit_on=train where the teacher's outputs are out of fold"
        )
    if part != "unseen" or train is None or has_seen(chosen, train):
        return chosen
    if selection_data.trusted is None:
        return _joined(chosen, train)
    return _labeled(teacher.train, torch.where(selection_data.trusted, selection_data.label, UNLABELED)) or chosen


def has_seen(held_out: LabeledOutputs, train: LabeledOutputs) -> bool:
    """Whether the teacher's loss is lower on the training samples by more than chance: it learned from them.

    By Welch's statistic of its cross-entropies, above ``CLEARLY``.
    """
    losses = [functional.cross_entropy(one.logits.double(), one.label, reduction="none") for one in (held_out, train)]
    if min(len(one) for one in losses) < 2:
        return True
    gain, variance = losses[0].mean() - losses[1].mean(), sum(float(one.var()) / len(one) for one in losses)
    return float(gain) > CLEARLY * math.sqrt(variance)


def _labeled(outputs: ModelOutputs | None, label: Int[Tensor, " n"] | None) -> LabeledOutputs | None:
    """Those that have a label; None where there are none."""
    if outputs is None or label is None or not bool((label != UNLABELED).any()):
        return None
    known = (label != UNLABELED).nonzero().squeeze(1)
    features = None if outputs.features is None else outputs.features[known]
    return LabeledOutputs(outputs.logits[known], label[known], features)


def _joined(first: LabeledOutputs, second: LabeledOutputs) -> LabeledOutputs:
    features = None
    if first.features is not None and second.features is not None:
        features = torch.cat([first.features, second.features])
    return LabeledOutputs(torch.cat([first.logits, second.logits]), torch.cat([first.label, second.label]), features)


def fit_scale(
    logits: Float[Tensor, "n classes"], label: Int[Tensor, " n"], steps: int = 40, prior: float = 0.0
) -> Float[Tensor, ""]:
    """The inverse temperature ``s = 1 / T`` with the least ``sum_i -ln softmax(s z_i)_y + prior / 2 (ln s)^2``.

    It is within ``SCALES``, in float64. The prior, 0 by default, holds ``s`` near 1 where samples are few: a teacher
    that is right on all of them would have no end of it. Newton's method, or the middle of the bracket where its step
    leads outside; the steps are always as many, so that equal inputs give equal bits.

    Guo et al., "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599 (temperature scaling).
    """
    low, high = (torch.tensor(bound, dtype=torch.float64, device=logits.device) for bound in SCALES)
    scale = torch.ones_like(low)
    for _ in range(steps):
        slope, curvature = prior * scale.log() / scale, prior * (1 - scale.log()) / scale.square()
        for rows, of_rows in row_chunks(logits, label):
            values = rows.double() - rows.double().gather(1, of_rows.unsqueeze(1))
            probs = (scale * values).softmax(dim=1)
            mean = (probs * values).sum(dim=1)
            slope += mean.sum()
            curvature += ((probs * values.square()).sum(dim=1) - mean.square()).sum()
        low, high = torch.where(slope < 0, scale, low), torch.where(slope > 0, scale, high)
        step = scale - slope / curvature.clamp(min=1e-300)
        scale = torch.where((step > low) & (step < high), step, (low + high) / 2)
    return scale
