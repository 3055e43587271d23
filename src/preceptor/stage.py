"""What the five kinds of stage promise, and the decorator that names one.

A stage is a class: a frozen dataclass of hyper-parameters, or an ``nn.Module`` when it has parameters or state.
``@register`` is all it takes to appear in recipes, in ``preceptor methods`` and in the conformance suite.

Any stage may have a method ``check_classes(classes: int) -> None`` that raises an InputError where it cannot work with
so many; runs and studies ask before anything is trained. One that keeps something for every sample has a method
``expect_samples(samples: int) -> None``, called before training with the size of the training set.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar, get_args, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from preceptor.errors import InputError, unknown_name
from preceptor.evidence import Evidence
from preceptor.lesson import Lesson

Kind = Literal["correct", "temper", "select", "match", "truth"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Scope = Literal["wrong", "all"]
"""Which labelled samples a correction touches: those the teacher gets wrong, or all of them."""

TargetSpace = Literal["log_probs", "logits"]
"""What a match is handed: log-probabilities at the chain's temperature, or (pseudo-)logits."""


@runtime_checkable
class Correction(Protocol):
    """Maps the teacher's log-probabilities, at the chain's temperature, to corrected ones.

    It is called for the whole batch; the chain keeps its result for the labelled samples in ``apply_to`` and
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

    def __call__(self, lesson: Lesson) -> float | Float[Tensor, " batch"]: ...


@runtime_checkable
class Selection(Protocol):
    """Weighs how much the teacher teaches each sample: 0 not at all, 1 as usual."""

    def __call__(self, lesson: Lesson) -> Float[Tensor, " batch"]: ...


@runtime_checkable
class FittedSelection(Selection, Protocol):
    """A selection that is settled once, before training, and then looks samples up by their position.

    A sample of weight zero needs no teacher signal: whatever stands in its row of the teacher's logits is ignored.
    """

    @property
    def fitted(self) -> bool: ...

    def fit(self, evidence: Evidence) -> None:
        """Settle the weights."""

    def weight_at(self, index: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The weights of samples by their position in the training set."""


@runtime_checkable
class Match(Protocol):
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
class GroundTruth(Protocol):
    """Per-sample loss of the student against the label. The chain leaves out unlabelled samples.

    The class attribute ``wants_reservation`` is as for a :class:`Match`. Where ``wants_index`` is set, the call is
    given the samples' positions in the training set [batch] as one argument more.
    """

    def __call__(
        self, student_logits: Float[Tensor, "batch outputs"], label: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]: ...


@dataclass(frozen=True)
class StageInfo:
    """A registered stage: its kind and name, the class that builds it and where the method was published."""

    kind: Kind
    name: str
    cls: type[Any]
    paper: str

    @property
    def summary(self) -> str:
        """The first line of the class's docstring."""
        return (self.cls.__doc__ or "").strip().splitlines()[0]


def wants_reservation(stage: object) -> bool:
    """Whether a loss is handed the extra output of a student that may abstain."""
    return bool(getattr(stage, "wants_reservation", False))


def wants_index(stage: object) -> bool:
    """Whether a ground truth is told the samples' positions in the training set."""
    return bool(getattr(stage, "wants_index", False))


def is_batch_statistic(stage: object) -> bool:
    """Whether a match is a statistic of the whole batch."""
    return bool(getattr(stage, "batch_statistic", False))


_registered: dict[tuple[Kind, str], StageInfo] = {}

StageClass = TypeVar("StageClass", bound=type[Any])


def register(kind: Kind, name: str, *, paper: str) -> Callable[[StageClass], StageClass]:
    """Name a stage, so that recipes, the command line and the conformance suite know it.

    Args:
        kind: which seat of the chain it takes.
        name: how recipes call it; unique within its kind.
        paper: where the method comes from, or "control" or "reconstruction" and why.

    Raises:
        InputError: the kind is unknown, the class has no docstring, or another class has the name.
    """
    if kind not in KINDS:
        raise unknown_name("kind of stage", kind, KINDS)

    def add(cls: StageClass) -> StageClass:
        if not (cls.__doc__ or "").strip():
            raise InputError(
                f"stage {name!r}: class {cls.__name__} needs a docstring, its first line is shown to users"
            )
        holder = _registered.get((kind, name))
        if holder is not None and _home(holder.cls) != _home(cls):
            raise InputError(f"{kind} stage {name!r} is already registered by {_home(holder.cls)}: choose another name")
        _registered[kind, name] = StageInfo(kind, name, cls, paper)
        return cls

    return add


def _home(cls: type[Any]) -> str:
    """Where a class was written: the same after its module is reloaded."""
    return f"{cls.__module__}.{cls.__qualname__}"


def registered() -> dict[tuple[Kind, str], StageInfo]:
    """Every stage registered so far; ``catalogue.stages`` imports the built-in ones first."""
    return dict(_registered)


def registered_name(stage: object) -> str:
    """The name a stage was registered under, or its class name in lower case."""
    names = [info.name for info in _registered.values() if info.cls is type(stage)]
    return names[0] if names else type(stage).__name__.lower()


def check_seat(stage: object, *seats: Kind) -> None:
    """Refuse a registered stage in a seat of another kind; a stage of no registered class is taken at its word.

    Raises:
        InputError: it is registered, but for none of these seats.
    """
    kinds = {info.kind for info in _registered.values() if info.cls is type(stage)}
    if kinds and kinds.isdisjoint(seats):
        raise InputError(
            f"{'/'.join(seats)}={type(stage).__name__}: it is a {' and '.join(sorted(kinds))} stage; "
            "see preceptor methods"
        )
