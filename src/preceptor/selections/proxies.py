"""Scores that need no gradient: the teacher's error on a sample, and chance, the control of every other score."""

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
    """Teach the samples on which the teacher errs most (EL2N).

    ``score_i = |p_i - y_i|``, from 0 to sqrt 2. The larger it is, the more its authors expect training to gain from the
    sample, and that direction is kept here; ``lowest`` teaches those the teacher finds easy.
    """

    def score(self, selection_data: SelectionData) -> Float[Tensor, " n"]:
        """The length of the error vector."""
        return _error_length(selection_data.teacher.train.logits, selection_data.label)


@register("selection", "teacher_loss", paper="control: the teacher's cross-entropy, which needs no gradient")
class TeacherLoss(RankedSelection):
    """Teach the samples on which the teacher has the smallest loss.

    ``score_i = -CE(t_i, y_i)``: the surer the teacher is of the truth, the sooner it is heard.
    """

    def score(self, selection_data: SelectionData) -> Float[Tensor, " n"]:
        """Minus the cross-entropy."""
        return -_cross_entropy(selection_data.teacher.train.logits, selection_data.label)


@register("selection", "correctness", paper="control: whether the teacher is right")
class Correctness(RankedSelection):
    """Teach the samples the teacher gets right first.

    ``score_i`` is 1 where the teacher predicts the label, else 0. Among equals the smaller position is taught, so
    that in a training set sorted by class it favors the first classes.
    """

    def score(self, selection_data: SelectionData) -> Float[Tensor, " n"]:
        """1 where the teacher is right."""
        logits = selection_data.teacher.train.logits
        return (chunked(predicted_class)(logits) == selection_data.label).to(logits.dtype)


@register("selection", "random", paper="control: what any choice of as many samples would do")
class Random(RankedSelection):
    """Teach samples drawn by chance: any score must beat this one at the same ``keep``.

    The draw depends on the evidence's seed and on how many samples have a label, on nothing else, and is the same on
    every device.
    """

    def score(self, selection_data: SelectionData) -> Float[Tensor, " n"]:
        """A random permutation."""
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
