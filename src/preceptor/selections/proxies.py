"""Selections whose score needs no gradient: the teacher's error on a sample, and a random control."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from preceptor.chunking import chunked
from preceptor.context import SelectionData, predicted_class
from preceptor.registry import register
from preceptor.selections.ranked import RankedSelection


@register("selection", "el2n", paper="Paul, Ganguli, Dziugaite, 2021, arXiv:2107.07075 (EL2N), of the teacher")
class EL2N(RankedSelection):
    """Distill the samples on which the teacher errs most (EL2N).

    ``score_i = |p_i - y_i|``, from 0 to sqrt 2. The larger it is, the more its authors expect training to gain from the
    sample, and that is the direction here; ``ascending`` selects the samples that the teacher finds easy.
    """

    def score(self, selection_data: SelectionData) -> Float[Tensor, " n"]:
        return _error_length(selection_data.teacher.train.logits, selection_data.label)


@register("selection", "teacher_loss", paper="control: the teacher's cross-entropy, which needs no gradient")
class TeacherLoss(RankedSelection):
    """Distill the samples on which the teacher has the smallest loss.

    ``score_i = -CE(t_i, y_i)``: the surer the teacher is of the label, the sooner the sample is selected.
    """

    def score(self, selection_data: SelectionData) -> Float[Tensor, " n"]:
        return -_cross_entropy(selection_data.teacher.train.logits, selection_data.label)


@register("selection", "correctness", paper="control: whether the teacher is right")
class Correctness(RankedSelection):
    """Distill the samples that the teacher gets right first.

    ``score_i`` is 1 where the teacher predicts the label, else 0. Among equal scores the smaller index comes first, so
    in a training set sorted by class it favors the first classes.
    """

    def score(self, selection_data: SelectionData) -> Float[Tensor, " n"]:
        logits = selection_data.teacher.train.logits
        return (chunked(predicted_class)(logits) == selection_data.label).to(logits.dtype)


@register("selection", "random", paper="control: what any choice of as many samples would do")
class Random(RankedSelection):
    """Distill samples drawn at random: any score must beat this one at the same ``keep``.

    The draw depends only on the seed of the selection data and on the number of labeled samples; it is the same on
    every device.
    """

    def score(self, selection_data: SelectionData) -> Float[Tensor, " n"]:
        generator = torch.Generator().manual_seed(selection_data.seed)
        return torch.randperm(len(selection_data.label), generator=generator).float().to(selection_data.label.device)


@chunked
def _error_length(logits: Float[Tensor, "n classes"], label: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    probabilities = logits.double().softmax(dim=1)
    length: Tensor = (probabilities - F.one_hot(label.long(), probabilities.shape[1])).norm(dim=1)
    return length


@chunked
def _cross_entropy(logits: Float[Tensor, "n classes"], label: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    return F.cross_entropy(logits.double(), label.long(), reduction="none")
