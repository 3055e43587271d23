"""What the five kinds of component guarantee, and the decorator that names one.

A component is a class: a frozen dataclass of hyper-parameters, or an ``nn.Module`` when it has parameters or state.
``@register`` is all it takes to appear in recipes, in ``preceptor methods`` and in the conformance suite.

Any component may have a method ``check_classes(classes: int) -> None`` that raises an InputError where it cannot work with
so many; runs and studies ask before anything is trained. One that keeps something for every sample has a method
``expect_samples(samples: int) -> None``, called before training with the size of the training set.
"""

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from typing import Any, ClassVar, Literal, Protocol, TypeVar, get_args, get_type_hints, runtime_checkable

from jaxtyping import Float, Int
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from preceptor.context import BatchContext, SelectionData
from preceptor.errors import InputError, MachineError, unknown_name

ComponentType = Literal["correction", "temperature", "selection", "loss", "label_loss"]
COMPONENT_TYPES: tuple[ComponentType, ...] = get_args(ComponentType)

Scope = Literal["wrong", "all"]
"""Which labeled samples a correction touches: those the teacher gets wrong, or all of them."""

TargetSpace = Literal["log_probs", "logits"]
"""What a match is handed: log-probabilities at the chain's temperature, or (pseudo-)logits."""


@runtime_checkable
class Correction(Protocol):
    """Maps the teacher's log-probabilities, at the chain's temperature, to corrected ones.

    It is called for the whole batch; the chain keeps its result for the labeled samples in ``apply_to`` and
    the teacher's own word for the rest, bit for bit.
    """

    @property
    def apply_to(self) -> Scope: ...

    def __call__(
        self,
        log_probs: Float[Tensor, "batch classes"],
        label: Int[Tensor, " batch"],
        teacher_class: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch classes"]: ...


@runtime_checkable
class Temperature(Protocol):
    """Chooses how softly the teacher speaks: one number for the batch, or one per sample, above zero."""

    def __call__(self, context: BatchContext) -> float | Float[Tensor, " batch"]: ...


@runtime_checkable
class Selection(Protocol):
    """Weighs how much the teacher teaches each sample: 0 not at all, 1 as usual."""

    def __call__(self, context: BatchContext) -> Float[Tensor, " batch"]: ...


@runtime_checkable
class FittedSelection(Selection, Protocol):
    """A selection that is settled once, before training, and then looks samples up by their position.

    A sample of weight zero needs no teacher signal: whatever stands in its row of the teacher's logits is ignored.
    """

    @property
    def fitted(self) -> bool: ...

    def fit(self, selection_data: SelectionData) -> None:
        """Settle the weights."""

    def weight_at(self, index: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The weights of samples by their position in the training set."""


@runtime_checkable
class Loss(Protocol):
    """Per-sample distance of the student from the teacher's corrected word.

    ``label`` holds the given label, and the teacher's class for samples that have none.

    Two class attributes may be set, both False unless they are:

    - ``wants_reservation``: it is handed the extra output of a student that may abstain, [batch, classes + 1];
      otherwise the first ``classes`` logits.
    - ``batch_statistic``: it is a statistic of the whole batch, takes the samples' weights [batch] as one argument
      more, and returns a scalar. A sample of weight zero is as if it were not there.
    """

    target_space: ClassVar[TargetSpace]
    zero_at_teacher: ClassVar[bool]

    def __call__(
        self,
        student_logits: Float[Tensor, "batch classes"],
        target: Float[Tensor, "batch classes"],
        temperature: float | Float[Tensor, " batch"],
        label: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]: ...


@runtime_checkable
class LabelLoss(Protocol):
    """Per-sample loss of the student against the label. The chain leaves out unlabeled samples.

    The class attribute ``wants_reservation`` is as for a :class:`Loss`. Where ``wants_index`` is set, the call is
    given the samples' positions in the training set [batch] as one argument more.
    """

    def __call__(
        self, student_logits: Float[Tensor, "batch outputs"], label: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]: ...


@dataclass(frozen=True)
class ComponentInfo:
    """A registered component: its kind and name, the class that builds it and where the method was published."""

    kind: ComponentType
    name: str
    cls: type[Any]
    paper: str

    @property
    def summary(self) -> str:
        """The first line of the class's docstring."""
        return (self.cls.__doc__ or "").strip().splitlines()[0]


def wants_reservation(component: object) -> bool:
    """Whether a loss is handed the extra output of a student that may abstain."""
    return bool(getattr(component, "wants_reservation", False))


def wants_index(component: object) -> bool:
    """Whether a ground truth is told the samples' positions in the training set."""
    return bool(getattr(component, "wants_index", False))


def is_batch_statistic(component: object) -> bool:
    """Whether a match is a statistic of the whole batch."""
    return bool(getattr(component, "batch_statistic", False))


_registered: dict[tuple[ComponentType, str], ComponentInfo] = {}

ComponentClass = TypeVar("ComponentClass", bound=type[Any])


def register(kind: ComponentType, name: str, *, paper: str) -> Callable[[ComponentClass], ComponentClass]:
    """Name a component, so that recipes, the command line and the conformance suite know it.

    Args:
        kind: which seat of the chain it takes.
        name: how recipes call it; unique within its kind.
        paper: where the method comes from, or "control" or "reconstruction" and why.

    Raises:
        InputError: the kind is unknown, the class has no docstring, or another class has the name.
    """
    if kind not in COMPONENT_TYPES:
        raise unknown_name("kind of component", kind, COMPONENT_TYPES)

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


def check_slot(component: object, *seats: ComponentType) -> None:
    """Refuse a registered component in a seat of another kind; a component of no registered class is taken at its word.

    Raises:
        InputError: it is registered, but for none of these seats.
    """
    kinds = {info.kind for info in _registered.values() if info.cls is type(component)}
    if kinds and kinds.isdisjoint(seats):
        raise InputError(
            f"{'/'.join(seats)}={type(component).__name__}: it is a {' and '.join(sorted(kinds))} component; "
            "see preceptor methods"
        )


ENTRY_POINTS = "preceptor.components"
"""Entry-point group of third parties: each entry names a module to import, which registers its components."""

PACKAGES = ("corrections", "temperatures", "selections", "losses", "label_losses", "abstention")
"""Where the built-in components live: a folder for each type, and one whose components are of several types."""


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
        InputError: there is none; the nearest known name is offered.
    """
    known = {info.name: info for info in components(kind)}
    if name not in known:
        raise unknown_name(f"{kind} component", name, known)
    return known[name]


@dataclass(frozen=True)
class Option:
    """One hyper-parameter of a component: its type and its default (``inspect.Parameter.empty`` when it has none)."""

    annotation: Any
    default: Any


def options(info: ComponentInfo) -> dict[str, Option]:
    """The hyper-parameters of a component, read off its constructor."""
    hints = get_type_hints(info.cls.__init__)
    parameters = inspect.signature(info.cls).parameters.values()
    return {p.name: Option(hints.get(p.name, Any), p.default) for p in parameters}


def build_component(kind: ComponentType, name: str, given: Mapping[str, Any] | None = None) -> Any:
    """Build a component from its registered name and the options given, each checked against its type.

    Raises:
        InputError: unknown component or option (nearest offered), missing option, wrong type or value.
    """
    info = find_component(kind, name)
    known = options(info)
    values = {}
    for key, value in (given or {}).items():
        if key not in known:
            raise unknown_name(f"option of {kind} component {name!r}", key, known)
        values[key] = _checked(f"{name}.{key}", value, known[key].annotation)
    missing = [key for key, option in known.items() if option.default is inspect.Parameter.empty and key not in values]
    if missing:
        raise InputError(f"{kind} component {name!r} needs {', '.join(missing)}")
    return info.cls(**values)


def _checked(where: str, value: object, annotation: Any) -> Any:
    try:
        return TypeAdapter(annotation, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError as error:
        raise InputError(f"{where} = {value!r}: {error.errors()[0]['msg'].lower()}") from error
