"""Component types as typed protocols: what a recalibration, a correction, ... of a distillation loss is.

A component is a class: a frozen dataclass of hyper-parameters, or an ``nn.Module`` when it has parameters or state.
``registry.register`` makes it known to recipes, to ``preceptor methods`` and to the conformance suite.

Optional methods of any component:

- ``check_classes(classes: int) -> None`` raises an InputError for a number of classes it cannot work with. Called
  before training.
- ``expect_samples(samples: int) -> None`` tells the size of the training set to one that keeps a value per sample.
- ``fit(selection_data: SelectionData) -> None`` fits it once, before training, with a property ``fitted``: derive from
  ``fitting.FittedComponent``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.context import BatchClasses, BatchContext, BatchOutputs, Classes, PerSample, SelectionData, Temperatures

ComponentType = Literal["recalibration", "correction", "temperature", "selection", "loss", "label_loss", "feature_loss"]
COMPONENT_TYPES: tuple[ComponentType, ...] = get_args(ComponentType)

Scope = Literal["wrong", "all"]
"""Which labeled samples a correction touches: those the teacher gets wrong, or all of them."""

TargetSpace = Literal["log_probs", "logits"]
"""What a loss compares with: log-probabilities at the temperature, or (pseudo-)logits."""

GradientSource = Literal["task", "distillation", "target", "non_target"]
"""What a loss's gradient is of, to optimizers that keep several apart: the labels; the teacher, or of it the label's
class or the other classes alone."""


@runtime_checkable
class Fittable(Protocol):
    """A component of any type that is fitted on the teacher's outputs once, before training."""

    @property
    def fitted(self) -> bool: ...

    def fit(self, selection_data: SelectionData) -> None:
        """Fit it."""


@runtime_checkable
class Recalibration(Protocol):
    """Maps the teacher's raw logits to better ones without looking at the label: the teacher, repaired.

    What comes out stands for the teacher's logits from there on. It decides whether the teacher is right, and
    temperature, correction, selection and losses see it, of unlabeled samples, too.
    """

    def __call__(self, logits: BatchClasses) -> BatchClasses: ...


@runtime_checkable
class Correction(Protocol):
    """Maps the teacher's log-probabilities, at the loss's temperature, to corrected ones.

    Called for the whole batch. The result is used for the labeled samples in ``apply_to``; the others keep the
    teacher's own log-probabilities, bit for bit. With the class attribute ``wants_context`` the call receives the
    :class:`~preceptor.context.BatchContext` as a fourth argument.
    """

    @property
    def apply_to(self) -> Scope: ...

    def __call__(self, log_probs: BatchClasses, label: Classes, teacher_class: Classes) -> BatchClasses: ...


@runtime_checkable
class Temperature(Protocol):
    """Softmax temperature of the teacher: one number for the batch, or one per sample, above zero.

    The class attribute ``uses_label``, False by default, tells that it looks at the label (or at who is right), which
    excludes mixup and cutmix.

    Optional method ``rescale(logits: BatchOutputs, teacher_logits: BatchClasses) -> BatchOutputs``: a network's logits
    as losses compare them, before they are divided by the temperature. It is called for the teacher's logits and, with
    gradient, for the student's, and keeps the order of the classes in a row. Statistics of a row are over its first
    ``teacher_logits.shape[1]`` columns: a student that abstains has one more. Label losses, and the context, have the
    logits as they are.
    """

    def __call__(self, context: BatchContext) -> Temperatures: ...


def rescaled(temperature: Temperature, logits: BatchOutputs, teacher_logits: BatchClasses) -> BatchOutputs:
    """Logits as the temperature's ``rescale`` leaves them; as they are where it has none."""
    rescale: Callable[[BatchOutputs, BatchClasses], BatchOutputs] | None = getattr(temperature, "rescale", None)
    return logits if rescale is None else rescale(logits, teacher_logits)


@runtime_checkable
class Selection(Protocol):
    """Weight of each sample in the losses that compare with the teacher: 0 leaves it out, 1 is the usual weight."""

    def __call__(self, context: BatchContext) -> PerSample: ...


@runtime_checkable
class FittedSelection(Selection, Fittable, Protocol):
    """A selection that is fitted once, before training, and then looks samples up by index.

    A sample of weight zero needs no teacher output: its row of teacher logits is ignored.
    """

    def weight_at(self, index: Int[Tensor, " batch"]) -> PerSample:
        """Weights of samples by position in the training set."""


@runtime_checkable
class Loss(Protocol):
    """Per-sample distance of the student's logits from the corrected teacher output.

    ``label`` is the given label, and the teacher's class for unlabeled samples.

    Optional class attributes, False by default:

    - ``wants_reservation``: it receives the extra output of an abstaining student, [batch, classes + 1]; otherwise
      the first ``classes`` logits.
    - ``uses_label``: the loss depends on ``label``, which excludes mixup and cutmix.
    - ``batch_statistic``: a statistic of the whole batch; takes the samples' weights [batch] as a fifth argument and
      returns a scalar. A sample of weight zero is as if it were absent.
    - ``wants_index``: it receives the samples' positions in the training set [batch] as a last argument.
    - ``two_views``: it compares two views of a sample, rows of the same position, the weak one first; a training shows
      them only with such an augmentation (``data.TwoViews``).
    - ``own_temperatures``: the temperature of the distillation loss has no effect on it.
    - ``self_target``: it compares with a target made of the student's own logits, detached, so that its gradient is
      not the derivative of its value.

    ``gradient_source`` tells what its gradient is of; "distillation" by default.
    """

    target_space: ClassVar[TargetSpace]
    zero_at_teacher: ClassVar[bool]

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample: ...


@runtime_checkable
class LabelLoss(Protocol):
    """Per-sample loss of the student against the label. Unlabeled samples are left out by the caller.

    ``wants_reservation`` is as for a :class:`Loss`. With the class attribute ``wants_index`` the call receives the
    samples' positions in the training set [batch] as a third argument.
    """

    def __call__(self, student_logits: BatchOutputs, label: Classes) -> PerSample: ...


@runtime_checkable
class FeatureLoss(Protocol):
    """Per-sample distance between intermediate features of student and teacher.

    Derive from ``feature_losses.layers.LayerPairs``, which implements ``layers`` and ``resolve_layers``.

    Optional class attributes, False by default:

    - ``batch_statistic``: as for a :class:`Loss`; the weights come last.
    - ``wants_context``: it receives the :class:`~preceptor.context.BatchContext` after the teacher's features.
    - ``uses_label``: it depends on the label in that context, which excludes mixup and cutmix.
    - ``pooled_maps``: where no layers are given it gets the one whose map each network pools before its head.
    - ``equal_channels``: it compares features of equal channels alone.
    """

    @property
    def layers(self) -> Mapping[str, str]:
        """Module path in the student -> module path in the teacher; empty until resolved."""

    def resolve_layers(self, student: Sequence[str], teacher: Sequence[str]) -> None:
        """Choose layers from those that each network lists in ``feature_layers``, where none were given."""

    def build_adapters(self, student: Sequence[torch.Size], teacher: Sequence[torch.Size]) -> None:
        """Create the adapters for unequal shapes, from the shapes of a probe batch; in the order of ``layers``."""

    def __call__(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> PerSample: ...


Attribute = Literal[
    "wants_reservation",
    "wants_index",
    "wants_context",
    "batch_statistic",
    "uses_label",
    "self_target",
    "pooled_maps",
    "equal_channels",
    "two_views",
    "own_temperatures",
]


def declares(component: object, attribute: Attribute) -> bool:
    """Whether a component, or its class, sets an optional class attribute."""
    return bool(getattr(component, attribute, False))
