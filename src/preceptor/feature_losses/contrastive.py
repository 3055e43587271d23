"""Contrastive distillation: each image's features are nearer to the teacher's of it than to those of other classes.

Tian, Krishnan, Isola, "Contrastive Representation Distillation" (CRD), 2020, arXiv:1910.10699. Embeddings v of student
and teacher have length 1. Two memories M hold a running mean of each network's embedding of every training sample. With
the student's v, the teacher's memory of all N samples, K of them negatives, and m the mean of ``exp(v M_j / tau)`` over
the first batch and the memory as it starts,

    s_j  = exp(v M_j / tau) / (m N)
    loss = -ln(s_i / (s_i + K/N + eps)) - sum over negatives of ln((K/N) / (s_j + K/N + eps)) ,

and the same with the teacher's v and the student's memory.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from preceptor.context import BatchContext, Classes, PerSample, shares
from preceptor.errors import InputError
from preceptor.feature_losses.batch import directions, kept_rows
from preceptor.feature_losses.layers import PooledLayerPair, pooled, pooled_width
from preceptor.registry import register

UNSEEN = -1
"""In place of a class, in a memory: the sample has not been met yet."""

EPS = 1e-7
"""Added to both terms of a sum of probabilities (RepDistiller)."""


def contrast(
    positive: PerSample,
    negatives: Float[Tensor, "batch negatives"],
    counts: Bool[Tensor, "batch negatives"],
    samples: int,
) -> PerSample:
    """The loss of one network against the other's memory.

    Args:
        positive: ``ln s_i`` of the sample itself.
        negatives: ``ln s_j``.
        counts: which of them count; K is their number.
        samples: N.
    """
    noise = counts.sum(dim=1).to(positive.dtype) / samples
    near = torch.logaddexp((noise + EPS).log(), positive) - positive
    far = torch.log1p((negatives.exp() + EPS) / noise.clamp(min=EPS).unsqueeze(1))
    return near + torch.where(counts, far, 0).sum(dim=1)


def drawn(candidates: Bool[Tensor, "batch samples"], number: int) -> Bool[Tensor, "batch samples"]:
    """As many of each row's candidates, at random and each at most once; all of them where they are fewer."""
    order = torch.rand(candidates.shape, device=candidates.device).masked_fill(~candidates, -1)
    chosen = order.topk(min(number, order.shape[1]), dim=1).indices
    return torch.zeros_like(candidates).scatter(1, chosen, True) & candidates


@register("feature_loss", "contrastive", paper="Tian et al., 2020, arXiv:1910.10699 (CRD)")
class Contrastive(PooledLayerPair):
    """Contrast with other classes: student and teacher embed an image alike, and unlike the images of other classes.

    The equations are in this module. Every sample of another class is a negative, by one product of the batch with the
    memory; the paper draws K = 16384 of them. A class is that of the label; of unlabeled samples, the teacher's.

    The two memories start at random, the same in every run, and are updated at every call in training mode. They are
    part of checkpoints: 51 MB for 50,000 samples. A sample is a negative only once it has been met, so that K grows
    in the first epoch (this project's: the publication contrasts with the random start, too). It is a statistic of the
    batch, the mean over its samples; one of weight zero enters neither the memories nor m. Give the number of samples
    by ``DistillationLoss.expect_samples`` (the training loop does), and ``index`` at every call.

    Args:
        dimensions: of the embeddings, two learned linear maps of pooled features. Default 128 (the paper).
        temperature: tau, above 0. Default 0.07 (RepDistiller; the paper states 0.1).
        momentum: of the memories' running mean, 0 to 1. Default 0.5 (the paper).
        negatives: how many are drawn for each sample, each once, all where they are fewer; None (default) takes all.
        layers: module path in the student -> module path in the teacher, one pair; None is what each network pools
            before its head.

    Raises:
        InputError: options out of range, several layers; in the call, no ``index`` or no ``expect_samples`` before.
    """

    batch_statistic: ClassVar[bool] = True
    wants_context: ClassVar[bool] = True
    uses_label: ClassVar[bool] = True
    student_memory: Tensor
    teacher_memory: Tensor
    memory_class: Tensor
    mean_exponential: Tensor

    def __init__(
        self,
        dimensions: int = 128,
        temperature: float = 0.07,
        momentum: float = 0.5,
        negatives: int | None = None,
        layers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(layers)
        if dimensions < 1 or (negatives is not None and negatives < 1):
            raise InputError(f"contrastive: dimensions = {dimensions}, negatives = {negatives}: expected 1 or more")
        if not temperature > 0 or not 0 <= momentum <= 1:
            raise InputError(
                f"contrastive: temperature = {temperature}, momentum = {momentum}: expected above 0, and 0 to 1"
            )
        self.dimensions, self.temperature, self.momentum, self.negatives = dimensions, temperature, momentum, negatives
        self.embeddings = nn.ModuleList()
        self.register_buffer("student_memory", torch.zeros(0, dimensions))
        self.register_buffer("teacher_memory", torch.zeros(0, dimensions))
        self.register_buffer("memory_class", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("mean_exponential", torch.zeros(2))  # of student and teacher; 0 before the first batch

    def build_adapters(self, student: Sequence[torch.Size], teacher: Sequence[torch.Size]) -> None:
        if len(student) != 1:
            raise InputError(f"contrastive: {len(student)} pairs of layers: expected one, it has one memory a network")
        widths = (pooled_width(student[0]), pooled_width(teacher[0]))
        self.embeddings = nn.ModuleList(nn.Linear(width, self.dimensions) for width in widths)

    def expect_samples(self, samples: int) -> None:
        """Start the memories anew, for a training set of this many samples."""
        generator = torch.Generator().manual_seed(0)  # of its own: other students draw what they drew without it
        bound = (3 / self.dimensions) ** 0.5  # so that rows have a length of about 1
        for name in ("student_memory", "teacher_memory"):
            start = bound * (2 * torch.rand(samples, self.dimensions, generator=generator) - 1)
            setattr(self, name, start.to(getattr(self, name)))
        self.memory_class = torch.full((samples,), UNSEEN, device=self.memory_class.device)
        self.mean_exponential = torch.zeros_like(self.mean_exponential)

    def forward(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], context: BatchContext, weight: PerSample
    ) -> Float[Tensor, ""]:
        if not len(self.embeddings) or not len(self.memory_class):
            raise InputError(
                "contrastive keeps embeddings of every sample: call loss.build_adapters(...) and "
                "loss.expect_samples(len(training_set)) first"
            )
        if context.index is None:
            raise InputError("contrastive looks samples up: give index=, positions in the training set")
        features = [kept_rows(pooled(one[0]), weight) for one in (student, teacher)]
        own, other = (
            directions(embed(rows.to(self.student_memory.dtype)))
            for embed, rows in zip(self.embeddings, features, strict=True)
        )
        kept, label, index = weight > 0, context.pseudo_label, context.index
        memory_class = self.memory_class.index_copy(0, index, torch.where(kept, label, self.memory_class[index]))
        # Copies: the memories are updated below, in place, while the backward pass needs them as they were.
        to_teacher = own @ self.teacher_memory.clone().T / self.temperature
        to_student = other @ self.student_memory.clone().T / self.temperature
        means = self._mean_exponentials(to_teacher, to_student, kept)
        per_sample = self._loss(to_teacher, means[0], memory_class, label, index)
        per_sample = per_sample + self._loss(to_student, means[1], memory_class, label, index)
        if self.training:
            self._remember(own, other, kept, index, memory_class, means)
        return (torch.where(kept, per_sample, 0) * shares(weight)).sum().to(student[0].dtype)

    @torch.no_grad()
    def _mean_exponentials(
        self, to_teacher: Tensor, to_student: Tensor, kept: Bool[Tensor, " batch"]
    ) -> Float[Tensor, "2"]:
        """The constants of both networks: those of the first batch, which this one is where there are none."""
        share = shares(kept.to(to_teacher.dtype))
        means = torch.stack([share @ one.exp().mean(dim=1) for one in (to_teacher, to_student)])
        return torch.where(self.mean_exponential > 0, self.mean_exponential, means)

    def _loss(
        self,
        similarity: Float[Tensor, "batch samples"],
        mean: Float[Tensor, ""],
        memory_class: Int[Tensor, " samples"],
        label: Classes,
        index: Int[Tensor, " batch"],
    ) -> PerSample:
        samples = len(memory_class)
        log_scores = similarity - (mean * samples).clamp(min=EPS).log()
        positive = log_scores.gather(1, index.unsqueeze(1)).squeeze(1)
        is_other = (memory_class != UNSEEN) & (memory_class != label.unsqueeze(1))
        negatives = is_other if self.negatives is None else drawn(is_other, self.negatives)
        return contrast(positive, log_scores, negatives, samples)

    @torch.no_grad()
    def _remember(
        self,
        own: Tensor,
        other: Tensor,
        kept: Bool[Tensor, " batch"],
        index: Int[Tensor, " batch"],
        memory_class: Int[Tensor, " samples"],
        means: Float[Tensor, "2"],
    ) -> None:
        for memory, embedding in ((self.student_memory, own), (self.teacher_memory, other)):
            old = memory[index]
            new = directions(self.momentum * old + (1 - self.momentum) * embedding)
            memory.index_copy_(0, index, torch.where(kept.unsqueeze(1), new, old))
        self.memory_class.copy_(memory_class)
        self.mean_exponential.copy_(means)

    def extra_repr(self) -> str:
        return (
            f"dimensions={self.dimensions}, temperature={self.temperature}, momentum={self.momentum}, "
            f"negatives={self.negatives}"
        )
