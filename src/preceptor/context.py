"""What components see: the context of a batch, and the data that components are fitted on."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

UNLABELED = -1
"""Label of a sample that has none: the teacher alone teaches it."""

Verdict = Literal["wrong_teacher", "wrong_label", "ambiguous"]
VERDICTS: tuple[Verdict, ...] = ("wrong_teacher", "wrong_label", "ambiguous")
"""Who is wrong where teacher and label disagree, by number; see :mod:`preceptor.audit.verdicts`."""

AGREE = -1
"""In place of a verdict, where teacher and label agree."""

BatchClasses = Float[Tensor, "batch classes"]
"""A number for every sample and class: logits, log-probabilities or probabilities."""

BatchOutputs = Float[Tensor, "batch outputs"]
"""The student's logits: classes, and perhaps one output more to abstain with."""

PerSample = Float[Tensor, " batch"]
"""A number for every sample: a loss, a weight."""

Classes = Int[Tensor, " batch"]
"""A class number for every sample."""

Temperatures = float | Float[Tensor, ""] | PerSample
"""One temperature, a scalar tensor where it is learned, or one for every sample."""


@dataclass(frozen=True)
class MixedLabels:
    """The second label of images that are each mixed of two (mixup, cutmix).

    Attributes:
        partner: the label of the image that was mixed in; ``UNLABELED`` where it has none.
        share: of the first image, whose label is the batch's own, 0 to 1; the partner's is ``1 - share``.
    """

    partner: Classes
    share: PerSample

    def leading(self, label: Classes) -> Classes:
        """The label of the larger share, the first one's at a half."""
        return torch.where(self.share >= 0.5, label, self.partner)


def weighted_labels(label: Classes, mixed: MixedLabels | None, dtype: torch.dtype) -> list[tuple[Classes, PerSample]]:
    """The labels that label losses count, each with the samples' weights in it, which are 0 where there is none."""
    labeled = (label != UNLABELED).to(dtype)
    if mixed is None:
        return [(label, labeled)]
    share = mixed.share.to(dtype)
    return [(label, share * labeled), (mixed.partner, (1 - share) * (mixed.partner != UNLABELED))]


@dataclass(frozen=True)
class BatchContext:
    """One batch, as temperatures and selections see it. Nothing in it carries gradient.

    Attributes:
        student_logits: outputs = classes, or classes + 1 for an abstaining student.
        teacher_logits: raw; zeros where the teacher is not queried.
        label: the given label; ``UNLABELED`` where there is none.
        teacher_class: the teacher's prediction, decided once on the raw logits, ties to the smallest index.
        index: position in the training set, when the caller passes it.
        progress: share of training done, 0 to 1.
        queried: samples on which the teacher is used; None is all. On the others it is neither right nor wrong.
        verdict: of an audit, as its number in ``VERDICTS``, or ``AGREE``; None without one.
        label_wrong: of an audit, the probability that the label is the wrong one, 0 to 1; None without one.
    """

    student_logits: BatchOutputs
    teacher_logits: BatchClasses
    label: Classes
    teacher_class: Classes
    index: Int[Tensor, " batch"] | None = None
    progress: float = 0.0
    queried: Bool[Tensor, " batch"] | None = None
    verdict: Int[Tensor, " batch"] | None = None
    label_wrong: PerSample | None = None

    @property
    def labeled(self) -> Bool[Tensor, " batch"]:
        return self.label != UNLABELED

    @property
    def pseudo_label(self) -> Classes:
        """The label, and the teacher's class where there is none."""
        return torch.where(self.labeled, self.label, self.teacher_class)

    @property
    def right(self) -> Bool[Tensor, " batch"]:
        """Labeled samples whose label the teacher predicts."""
        return self._if_queried(self.teacher_class == self.label)

    @property
    def wrong(self) -> Bool[Tensor, " batch"]:
        """Labeled samples for which the teacher predicts another class."""
        return self._if_queried(self.labeled & (self.teacher_class != self.label))

    def judged(self, verdict: Verdict) -> Bool[Tensor, " batch"]:
        """Samples of a verdict. A view that the teacher gets wrong, of an image that it gets right, is its error."""
        assert self.verdict is not None, "checked by the loss"
        if verdict == "wrong_teacher":
            return self.wrong & ((self.verdict == AGREE) | (self.verdict == VERDICTS.index(verdict)))
        return self._if_queried(self.verdict == VERDICTS.index(verdict))

    def _if_queried(self, samples: Bool[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return samples if self.queried is None else samples & self.queried


def predicted_class(logits: BatchClasses) -> Int[Tensor, " batch"]:
    """The class of the largest logit, ties to the smallest index.

    ``torch.argmax`` leaves the choice among equal values open; this does not. A row that holds NaN gives
    the last class: finding such rows is the caller's task.
    """
    classes = logits.shape[1]
    position = torch.arange(classes, device=logits.device).expand_as(logits)
    largest = logits == logits.amax(dim=1, keepdim=True)
    return torch.where(largest, position, classes - 1).amin(dim=1)


def column(temperature: float | Tensor) -> float | Tensor:
    """A temperature shaped to divide logits [batch, classes]: a scalar as it is, [batch] as [batch, 1]."""
    if isinstance(temperature, Tensor) and temperature.dim() == 1:
        return temperature.unsqueeze(1)
    return temperature


def shares(weight: PerSample) -> PerSample:
    """The weights divided by their sum: with weights of 0 and 1 a mean over the rows of weight 1; 0 for no weight."""
    return weight / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32; float64 as it is."""
    return values if values.dtype == torch.float64 else values.float()


def at_class(values: BatchClasses, index: Int[Tensor, " batch"]) -> PerSample:
    """Each row's value at one class."""
    return values.gather(1, index.unsqueeze(1)).squeeze(1)


def is_class(values: BatchClasses, index: Int[Tensor, " batch"]) -> Bool[Tensor, "batch classes"]:
    """True at one class of each row: a one-hot mask."""
    return torch.arange(values.shape[1], device=values.device) == index.unsqueeze(1)


def swapped(values: BatchClasses, first: Classes, second: Classes) -> BatchClasses:
    """Each row with its values at two classes exchanged."""
    at_first, at_second = at_class(values, first).unsqueeze(1), at_class(values, second).unsqueeze(1)
    return torch.where(is_class(values, second), at_first, torch.where(is_class(values, first), at_second, values))


def z_score(logits: BatchOutputs, eps: float = 1e-7, classes: int | None = None) -> BatchOutputs:
    """``(z - mean) / (std + eps)`` per row, std unbiased; a constant row becomes zeros, with gradient zero.

    Mean and deviation are over the first ``classes`` columns; None is all. Sun et al., "Logit Standardization in
    Knowledge Distillation", 2024, arXiv:2403.01427 (the form of their code).
    """
    own = logits[:, :classes]
    mean = own.mean(dim=1, keepdim=True)
    variance = (own - mean).square().sum(dim=1, keepdim=True) / (own.shape[1] - 1)
    varies = variance > 0
    deviation = torch.where(varies, variance, 1).sqrt()  # the root has no gradient at 0
    return torch.where(varies, (logits - mean) / (deviation + eps), 0)


@dataclass(frozen=True)
class ModelOutputs:
    """What a network makes of images: its logits, and what its last linear layer made them from.

    Attributes:
        logits: raw, at temperature 1.
        features: the input of the last linear layer; None when nobody queried for it.
    """

    logits: Float[Tensor, "n classes"]
    features: Float[Tensor, "n dimensions"] | None = None


@dataclass(frozen=True)
class TeacherSnapshot:
    """The teacher at one moment of its own training.

    Its outputs are on the training samples as they are, without augmentation, and on the held-out ones, if any.
    """

    learning_rate: float
    train: ModelOutputs
    held_out: ModelOutputs | None


@dataclass(frozen=True)
class SelectionData:
    """What is known before training. Everything is on one device and carries no gradient.

    Attributes:
        index: positions in the training set, one a training sample.
        label: of the training samples; -1 where there is none.
        held_out_label: of samples that are held out from training.
        checkpoints: of the teacher, oldest first; the last is the teacher itself.
        has_bias: whether its last layer adds a bias, which then counts as one more feature that is always 1.
        size: how many images the training set has; positions are below it.
        seed: of whatever is drawn.
        trusted: whether an audit trusts the label of a training sample; None without one.
    """

    index: Int[Tensor, " n"]
    label: Int[Tensor, " n"]
    held_out_label: Int[Tensor, " m"] | None
    checkpoints: tuple[TeacherSnapshot, ...]
    has_bias: bool
    size: int
    seed: int = 0
    trusted: Bool[Tensor, " n"] | None = None

    @property
    def teacher(self) -> TeacherSnapshot:
        return self.checkpoints[-1]
