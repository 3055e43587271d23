"""RankedSelection: the base of every selection that scores samples before training and keeps a share of them."""

import math
from abc import abstractmethod
from dataclasses import replace
from decimal import Decimal
from typing import ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.context import UNLABELED, BatchContext, ModelOutputs, PerSample, SelectionData
from preceptor.errors import InputError
from preceptor.fitting import FittedComponent
from preceptor.registry import registered_name


def keep_mask(score: Float[Tensor, " n"], keep: float, ascending: bool = False) -> Bool[Tensor, " n"]:
    """True for the ``floor(keep * n + 0.5)`` highest scores, or the lowest; among equal scores the first come first.

    No score is NaN.
    """
    # In decimals, as the share is written: 0.7 of 45 is 31.5, in binary floats a little less, which rounds down.
    count = math.floor(Decimal(str(keep)) * len(score) + Decimal("0.5"))
    order = score.argsort(stable=True, descending=not ascending)
    mask = torch.zeros_like(score, dtype=torch.bool)
    mask[order[:count]] = True
    return mask


class RankedSelection(FittedComponent):
    """Distill the samples that score highest. A method derives from it, defines :meth:`score` and registers itself.

    Labeled samples are ranked. Unlabeled samples are all selected, since nothing but the teacher trains on them. A
    sample whose index is not in the selection data has weight 0: fit on every sample that is trained on.

    Args:
        keep: share of the labeled samples to distill, 0 to 1. Default 0.7 (this project's choice; the paper's ratio
            is not known).
        ascending: keep the samples that score lowest instead. Default False.

    Attributes:
        weight: by index in the training set, 1 for a selected sample, else 0; empty before it is fitted.
        scores: by index; NaN for a sample without a score.

    Raises:
        InputError: ``keep`` is not a share.
    """

    fit_buffers: ClassVar[tuple[str, ...]] = ("weight", "scores")

    weight: Tensor
    scores: Tensor

    def __init__(self, keep: float = 0.7, ascending: bool = False) -> None:
        super().__init__()
        if not 0 <= keep <= 1:
            raise InputError(f"{registered_name(self)}: keep = {keep}: expected a share of the labeled samples, 0 to 1")
        self.keep = keep
        self.ascending = ascending

    @abstractmethod
    def score(self, selection_data: SelectionData) -> Float[Tensor, " n"]:
        """One finite score per training sample; the larger, the more useful the sample is to distill.

        Every sample it is called with has a label, and they are sorted by index.
        """

    @torch.no_grad()
    def fit(self, selection_data: SelectionData) -> None:
        """Score the labeled training samples and set the weights, in place of any that were set before.

        Raises:
            InputError: the selection data lacks what the method needs, or a score is not finite.
        """
        order = selection_data.index.argsort()
        labeled = selection_data.label[order] != UNLABELED
        labeled_data = _labeled_samples(selection_data, order[labeled])
        self._check_selection_data(labeled_data)
        labeled_score = self.score(labeled_data)
        bad = ~labeled_score.isfinite()
        if bad.any():
            raise InputError(
                f"{registered_name(self)}: the score of training sample {int(labeled_data.index[bad][0])} is not "
                "finite: are the teacher's logits and features?"
            )
        score = labeled_score.new_full((len(selection_data.index),), torch.nan)
        score[order[labeled]] = labeled_score
        self.set_scores(selection_data.index, score, selection_data.size)

    @torch.no_grad()
    def set_scores(self, index: Int[Tensor, " n"], score: Float[Tensor, " n"], size: int) -> None:
        """Set the weights from scores that were computed elsewhere. They are compared in float32.

        Each index counts in a training set of ``size`` images, and comes once; a score of NaN selects the sample
        without ranking it.

        Raises:
            InputError: a score is infinite, their number differs from that of the indices, or an index appears twice
                or is outside the training set.
        """
        self._check_scores(index, score, size)
        device = self.weight.device
        order = index.argsort()  # among equal scores the smaller index comes first, whatever the order of the input
        index, score = index[order].to(device), score[order].to(device, torch.float32)
        ranked = ~score.isnan()
        selected = torch.ones_like(ranked)
        selected[ranked] = keep_mask(score[ranked], self.keep, self.ascending)
        weight = self.weight.new_zeros(size)
        weight[index] = selected.to(weight.dtype)
        scores = torch.full((size,), torch.nan, device=device)
        scores[index] = score
        self.weight, self.scores = weight, scores

    def weight_at(self, index: Int[Tensor, " batch"]) -> PerSample:
        """1 for the selected samples, else 0.

        Raises:
            InputError: it is not fitted yet.
        """
        if not self.fitted:
            raise InputError(
                f"{registered_name(self)}: not fitted yet: call fit(selection_data), or set_scores(...) with scores "
                "of your own, before the first batch"
            )
        return self.weight[index]

    def forward(self, context: BatchContext) -> PerSample:
        """:meth:`weight_at` the indices of the batch.

        Raises:
            InputError: it is not fitted yet, or the batch has no index.
        """
        if context.index is None:
            raise InputError(
                f"{registered_name(self)}: looks samples up: give index=, their indices in the training set"
            )
        return self.weight_at(context.index).to(context.teacher_logits.dtype)

    def _check_selection_data(self, selection_data: SelectionData) -> None:
        name, checkpoints = registered_name(self), selection_data.checkpoints
        if not len(selection_data.label):
            raise InputError(f"{name}: no training sample has a label: it scores labeled samples only")
        outputs = [checkpoint.train for checkpoint in checkpoints]
        if self.needs_held_out:
            held_out = [checkpoint.held_out for checkpoint in checkpoints if checkpoint.held_out is not None]
            label = selection_data.held_out_label
            if len(held_out) < len(checkpoints) or label is None or not len(label):
                raise InputError(
                    f"{name}: needs labeled samples that are held out from training: keep some of the training set "
                    "aside (never the test set)"
                )
            outputs += held_out
        if self.needs_features and any(output.features is None for output in outputs):
            raise InputError(
                f"{name}: needs the inputs of the teacher's last linear layer: collect the selection data with features"
            )

    def _check_scores(self, index: Tensor, score: Tensor, size: int) -> None:
        name = registered_name(self)
        if index.dim() != 1 or index.shape != score.shape:
            raise InputError(
                f"{name}: {tuple(index.shape)} indices and {tuple(score.shape)} scores: expected one score per index"
            )
        if score.isinf().any():
            raise InputError(f"{name}: the score of training sample {int(index[score.isinf()][0])} is infinite")
        outside = (index < 0) | (index >= size)
        if outside.any():
            raise InputError(
                f"{name}: index {int(index[outside][0])} in a training set of {size}: expected 0 to {size - 1}"
            )
        unique, times = index.unique(return_counts=True)
        if (times > 1).any():
            raise InputError(f"{name}: index {int(unique[times > 1][0])} is given twice")


def _labeled_samples(selection_data: SelectionData, train_rows: Tensor) -> SelectionData:
    """The selection data of these training rows and of the held-out samples that have a label."""
    label = selection_data.held_out_label
    held_out_rows = None if label is None else (label != UNLABELED).nonzero().squeeze(1)
    return replace(
        selection_data,
        index=_rows(selection_data.index, train_rows),
        label=_rows(selection_data.label, train_rows),
        trusted=_rows(selection_data.trusted, train_rows),
        held_out_label=_rows(label, held_out_rows),
        checkpoints=tuple(
            replace(
                one,
                train=_output_rows(one.train, train_rows),
                held_out=one.held_out and _output_rows(one.held_out, held_out_rows),
            )
            for one in selection_data.checkpoints
        ),
    )


def _output_rows(outputs: ModelOutputs, rows: Tensor | None) -> ModelOutputs:
    return ModelOutputs(_rows(outputs.logits, rows), _rows(outputs.features, rows))


Values = TypeVar("Values", Tensor, Tensor | None)


def _rows(values: Values, rows: Tensor | None) -> Values:
    """Some rows in some order; the tensor itself when that is all of it in order, since a copy can take gigabytes."""
    if values is None or rows is None:
        return values
    unchanged = len(rows) == len(values) and bool((rows[1:] > rows[:-1]).all())
    return values if unchanged else values[rows]
