"""What every selection by score shares: scores once before training, the best of them are taught."""

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from preceptor.context import UNLABELED, BatchContext, ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.errors import InputError
from preceptor.registry import registered_name


def keep_mask(score: Float[Tensor, " n"], keep: float, lowest: bool = False) -> Bool[Tensor, " n"]:
    """The ``floor(keep * n + 0.5)`` highest scores, or the lowest; of equal ones those that come first.

    Args:
        score: no NaN.
        keep: share of the samples, 0 to 1.
        lowest: keep the lowest scores instead.
    """
    kept = math.floor(Decimal(str(keep)) * len(score) + Decimal("0.5"))  # 0.7 of 45 is 31.5, in floats a little less
    order = score.argsort(stable=True, descending=not lowest)
    mask = torch.zeros_like(score, dtype=torch.bool)
    mask[order[:kept]] = True
    return mask


class RankedSelection(nn.Module, ABC):
    """Teach the samples that score highest. An estimator derives from it, defines :meth:`score` and registers itself.

    LabeledData samples are ranked; samples without a label are all taught, for nobody else teaches them. A position that
    the evidence does not hold weighs 0: fit it on every sample that is trained on.

    Args:
        keep: share of the labeled samples that the teacher teaches, 0 to 1. Default 0.7 (this project's choice; the
            paper's ratio is not known).
        lowest: teach the samples that score lowest instead. Default False.

    Attributes:
        weight: by position in the training set, 1 for a sample that is taught, else 0; empty before it is fitted.
        scores: by position; NaN for a sample that has none.
        needs_features: whether the evidence must hold the inputs of the teacher's last linear layer.
        needs_held_out: whether it must hold labeled samples that are kept out of training.
        needs_checkpoints: whether it looks at more of the teacher's training than its end.

    Raises:
        InputError: ``keep`` is not a share.
    """

    needs_features: ClassVar[bool] = False
    needs_held_out: ClassVar[bool] = False
    needs_checkpoints: ClassVar[bool] = False

    weight: Tensor
    scores: Tensor

    def __init__(self, keep: float = 0.7, lowest: bool = False) -> None:
        super().__init__()
        if not 0 <= keep <= 1:
            raise InputError(f"{registered_name(self)}: keep = {keep}: a share of the labeled samples, from 0 to 1")
        self.keep = keep
        self.lowest = lowest
        self.register_buffer("weight", torch.zeros(0))
        self.register_buffer("scores", torch.zeros(0))

    @abstractmethod
    def score(self, selection_data: SelectionData) -> Float[Tensor, " n"]:
        """One score a training sample, finite; the larger, the more useful it is to distill.

        Every sample it is handed has a label, and they come in the order of their positions.
        """

    @property
    def fitted(self) -> bool:
        """Whether it has been told which samples to teach."""
        return len(self.weight) > 0

    @torch.no_grad()
    def fit(self, selection_data: SelectionData) -> None:
        """Score the training samples and settle which are taught, in place of what was settled before.

        Raises:
            InputError: the evidence lacks what the estimator needs, or a score is not finite.
        """
        order = selection_data.index.argsort()
        labeled = selection_data.label[order] != UNLABELED
        known = _samples(selection_data, order[labeled])
        self._check_evidence(known)
        found = self.score(known)
        wild = ~found.isfinite()
        if wild.any():
            raise InputError(
                f"{registered_name(self)}: the score of training sample {int(known.index[wild][0])} is not finite: "
                "are the teacher's logits and features?"
            )
        score = found.new_full((len(selection_data.index),), torch.nan)
        score[order[labeled]] = found
        self.set_scores(selection_data.index, score, selection_data.size)

    @torch.no_grad()
    def set_scores(self, index: Int[Tensor, " n"], score: Float[Tensor, " n"], size: int) -> None:
        """Take scores that are ready, and settle which samples are taught. Scores are compared in float32.

        Args:
            index: positions in the training set, each once.
            score: theirs; NaN where there is none, which is taught.
            size: how many images the training set has.

        Raises:
            InputError: not one finite score (or NaN) a position, or a position twice or outside the training set.
        """
        self._check_scores(index, score, size)
        device = self.weight.device
        order = index.argsort()
        index, score = index[order].to(device), score[order].to(device, torch.float32)
        ranked = ~score.isnan()
        taught = torch.ones_like(ranked)
        taught[ranked] = keep_mask(score[ranked], self.keep, self.lowest)
        weight = self.weight.new_zeros(size)
        weight[index] = taught.to(weight.dtype)
        scores = torch.full((size,), torch.nan, device=device)
        scores[index] = score
        self.weight, self.scores = weight, scores

    def weight_at(self, index: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """1 for the samples that are taught, else 0, by their positions in the training set.

        Raises:
            InputError: it is not fitted yet.
        """
        if not self.fitted:
            raise InputError(
                f"{registered_name(self)}: not fitted yet: call fit(evidence), or adopt(...) with ready scores, "
                "before the first batch"
            )
        return self.weight[index]

    def forward(self, context: BatchContext) -> Float[Tensor, " batch"]:
        """:meth:`weight_at` the lesson's positions.

        Raises:
            InputError: it is not fitted yet, or the lesson does not say where its samples stand in the training set.
        """
        if context.index is None:
            raise InputError(
                f"{registered_name(self)}: looks samples up: give index=, their positions in the training set"
            )
        return self.weight_at(context.index).to(context.teacher.dtype)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Make room first: how many samples there are is known only from what was saved."""
        for name in ("weight", "scores"):
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, getattr(self, name).new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _check_evidence(self, selection_data: SelectionData) -> None:
        name = registered_name(self)
        if not len(selection_data.label):
            raise InputError(f"{name}: no training sample has a label: it scores labeled samples only")
        outputs = [checkpoint.train for checkpoint in selection_data.checkpoints]
        if self.needs_held_out:
            held_out = [
                checkpoint.held_out for checkpoint in selection_data.checkpoints if checkpoint.held_out is not None
            ]
            if (
                len(held_out) < len(outputs)
                or selection_data.held_out_label is None
                or not len(selection_data.held_out_label)
            ):
                raise InputError(
                    f"{name}: needs labeled samples that are held out from training: keep some of the training set "
                    "aside (never the test set)"
                )
            outputs += held_out
        if self.needs_features and any(output.features is None for output in outputs):
            raise InputError(
                f"{name}: needs the inputs of the teacher's last linear layer: gather the evidence with features"
            )

    def _check_scores(self, index: Tensor, score: Tensor, size: int) -> None:
        name = registered_name(self)
        if index.dim() != 1 or index.shape != score.shape:
            raise InputError(
                f"{name}: {tuple(index.shape)} positions and {tuple(score.shape)} scores: expected one score a position"
            )
        if score.isinf().any():
            raise InputError(f"{name}: the score of training sample {int(index[score.isinf()][0])} is infinite")
        outside = (index < 0) | (index >= size)
        if outside.any():
            raise InputError(
                f"{name}: position {int(index[outside][0])} in a training set of {size}: expected 0 to {size - 1}"
            )
        positions, times = index.unique(return_counts=True)
        if (times > 1).any():
            raise InputError(f"{name}: position {int(positions[times > 1][0])} is given twice")


def _samples(selection_data: SelectionData, of_train: Tensor) -> SelectionData:
    """The evidence of these training samples, and of the held-out samples that have a label."""
    label = selection_data.held_out_label
    of_held_out = None if label is None else (label != UNLABELED).nonzero().squeeze(1)
    return replace(
        selection_data,
        index=_rows(selection_data.index, of_train),
        label=_rows(selection_data.label, of_train),
        held_out_label=_rows(label, of_held_out),
        checkpoints=tuple(
            _checkpoint_of(checkpoint, of_train, of_held_out) for checkpoint in selection_data.checkpoints
        ),
    )


def _checkpoint_of(checkpoint: TeacherSnapshot, of_train: Tensor, of_held_out: Tensor | None) -> TeacherSnapshot:
    train, held_out = _outputs_of(checkpoint.train, of_train), checkpoint.held_out
    return replace(checkpoint, train=train, held_out=None if held_out is None else _outputs_of(held_out, of_held_out))


def _outputs_of(outputs: ModelOutputs, which: Tensor | None) -> ModelOutputs:
    return ModelOutputs(_rows(outputs.logits, which), _rows(outputs.features, which))


Rows = TypeVar("Rows", Tensor, Tensor | None)


def _rows(values: Rows, which: Tensor | None) -> Rows:
    """Some rows in some order; the values themselves when that is all of them as they are, which may be large."""
    if values is None or which is None:
        return values
    whole = len(which) == len(values) and bool((which[1:] > which[:-1]).all())
    return values if whole else values[which]
