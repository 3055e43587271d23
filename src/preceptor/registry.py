"""Component types as typed protocols, and the registry that finds and builds components by name.

A component is a class: a frozen dataclass of hyper-parameters, or an ``nn.Module`` when it has parameters or state.
``@register`` makes it known to recipes, to ``preceptor methods`` and to the conformance suite.

Optional methods of any component:

- ``check_classes(classes: int) -> None`` raises an InputError for a number of classes it cannot work with. Called
  before training.
- ``expect_samples(samples: int) -> None`` tells the size of the training set to one that keeps a value per sample.
- ``fit(selection_data: SelectionData) -> None`` fits it once, before training, with a property ``fitted``: derive from
  ``fitting.FittedComponent``.
"""

import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from typing import Any, ClassVar, Literal, Protocol, TypeVar, get_args, runtime_checkable

import torch
from jaxtyping import Int
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from preceptor.context import BatchClasses, BatchContext, BatchOutputs, Classes, PerSample, SelectionData, Temperatures
from preceptor.errors import InputError, MachineError, unknown_name

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


@dataclass(frozen=True)
class ComponentInfo:
    """A registered component: its type and name, the class that builds it, where the method was published."""

    kind: ComponentType
    name: str
    cls: type[Any]
    paper: str

    @property
    def summary(self) -> str:
        """The first line of the class's docstring."""
        return (self.cls.__doc__ or "").strip().splitlines()[0]


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
]


def declares(component: object, attribute: Attribute) -> bool:
    """Whether a component, or its class, sets an optional class attribute."""
    return bool(getattr(component, attribute, False))


_registered: dict[tuple[ComponentType, str], ComponentInfo] = {}

ComponentClass = TypeVar("ComponentClass", bound=type[Any])


def register(kind: ComponentType, name: str, *, paper: str) -> Callable[[ComponentClass], ComponentClass]:
    """Name a component, so that recipes, the command line and the conformance suite know it.

    Args:
        kind: its component type, the slot of a distillation loss that it fits.
        name: its name in recipes; unique within its type.
        paper: where the method comes from, or "control" or "reconstruction" and why.

    Raises:
        InputError: the type is unknown, the class has no docstring, or another class has the name.
    """
    if kind not in COMPONENT_TYPES:
        raise unknown_name("component type", kind, COMPONENT_TYPES)

    def add(cls: ComponentClass) -> ComponentClass:
        if not (cls.__doc__ or "").strip():
            raise InputError(
                f"component {name!r}: class {cls.__name__} needs a docstring, its first line is shown to users"
            )
        holder = _registered.get((kind, name))
        if holder is not None and _home(holder.cls) != _home(cls):
            raise InputError(
                f"{kind} component {name!r} is already registered by {_home(holder.cls)}: choose another name"
            )
        _registered[kind, name] = ComponentInfo(kind, name, cls, paper)
        return cls

    return add


def _home(cls: type[Any]) -> str:
    """Where a class was written: the same after its module is reloaded."""
    return f"{cls.__module__}.{cls.__qualname__}"


def registered() -> dict[tuple[ComponentType, str], ComponentInfo]:
    """Every component registered so far; ``registry.components`` imports the built-in ones first."""
    return dict(_registered)


def registered_name(component: object) -> str:
    """The name a component was registered under, or its class name in lower case."""
    names = [info.name for info in _registered.values() if info.cls is type(component)]
    return names[0] if names else type(component).__name__.lower()


def check_slot(component: object, *slots: ComponentType) -> None:
    """Refuse a registered component in a slot of another type; unregistered classes pass.

    Raises:
        InputError: it is registered, but for none of these slots.
    """
    types = {info.kind for info in _registered.values() if info.cls is type(component)}
    if types and types.isdisjoint(slots):
        raise InputError(
            f"{'/'.join(slots)}={type(component).__name__}: it is a {' and '.join(sorted(types))}; "
            "see preceptor methods"
        )


ENTRY_POINTS = "preceptor.components"
"""Entry-point group of third parties: each entry names a module to import, which registers its components."""

PACKAGES = (
    "recalibrations",
    "corrections",
    "temperatures",
    "selections",
    "losses",
    "label_losses",
    "feature_losses",
    "abstention",
)
"""Folders of the built-in components: one per type, and one whose components are of several types."""


@cache
def _import_components() -> None:
    for name in PACKAGES:
        room = import_module(f"preceptor.{name}")
        for module in pkgutil.iter_modules(room.__path__):
            import_module(f"{room.__name__}.{module.name}")
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:
            raise MachineError(
                f"component package {entry.value!r} (entry point {entry.name!r}) cannot be imported: {error}: "
                "repair or uninstall it"
            ) from error


def components(kind: ComponentType | None = None) -> list[ComponentInfo]:
    """Every known component, or those of one kind, by kind and name."""
    _import_components()
    known = [info for info in registered().values() if kind in (None, info.kind)]
    return sorted(known, key=lambda info: (COMPONENT_TYPES.index(info.kind), info.name))


def find_component(kind: ComponentType, name: str) -> ComponentInfo:
    """The component of this kind and name.

    Raises:
        InputError: there is none, or no such type; the nearest known name is offered.
    """
    if kind not in COMPONENT_TYPES:
        raise unknown_name("component type", kind, COMPONENT_TYPES)
    known = {info.name: info for info in components(kind)}
    if name not in known:
        raise unknown_name(f"{kind} component", name, known)
    return known[name]


def options(info: ComponentInfo) -> Mapping[str, inspect.Parameter]:
    """The hyper-parameters of a component with their types and defaults, read off its constructor."""
    return inspect.signature(info.cls, eval_str=True).parameters


def build_component(kind: ComponentType, name: str, values: Mapping[str, Any] | None = None) -> Any:
    """Build a component from its registered name and the options given, each checked against its type.

    Raises:
        InputError: unknown component or option (nearest offered), missing option, wrong type or value.
    """
    info = find_component(kind, name)
    known = options(info)
    checked = {}
    for key, value in (values or {}).items():
        if key not in known:
            raise unknown_name(f"option of {kind} component {name!r}", key, known)
        annotation = known[key].annotation
        checked[key] = _checked(f"{name}.{key}", value, Any if annotation is inspect.Parameter.empty else annotation)
    missing = [key for key, option in known.items() if option.default is inspect.Parameter.empty and key not in checked]
    if missing:
        raise InputError(f"{kind} component {name!r} needs {', '.join(missing)}")
    return info.cls(**checked)


def _checked(where: str, value: object, annotation: Any) -> Any:
    try:
        return TypeAdapter(annotation, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError as error:
        raise InputError(f"{where} = {value!r}: {error.errors()[0]['msg'].lower()}") from error
