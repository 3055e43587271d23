"""Errors that a user can cause or cure. A message says what is wrong, what was expected and what to do."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from math import inf

_SHOWN = 80


class PreceptorError(Exception):
    """Base of the errors that a user can cure; the command line shows them as one line."""

    exit_code = 2


class InputError(PreceptorError):
    """An input is wrong: a name, a value, a file, a label. Exit code 2."""


class MachineError(PreceptorError):
    """The machine lacks something: a package, disk space, memory, a writable folder. Exit code 3."""

    exit_code = 3


class Interrupted(PreceptorError):
    """A run was stopped, with a checkpoint to resume from. Exit code 4."""

    exit_code = 4


class GuaranteeUnavailable(PreceptorError):
    """The requested guarantee cannot be made on these images. Exit code 5."""

    exit_code = 5


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that no memory is left.

    On a CPU torch raises a RuntimeError that only its text tells apart, on a GPU an ``OutOfMemoryError`` (compared by
    name, so that torch is not imported for it).
    """
    texts = ("can't allocate memory", "not enough memory", "Unable to allocate", "bad_alloc", "bad allocation")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)


def few(names: Sequence[str], most: int = 3) -> str:
    """The first few of some names, and the number of the others."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def first_line(error: BaseException) -> str:
    """The first line of a library's error, or its class: further lines are for developers."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


class SkippedImages(Warning):
    """Unusable images were left out, as the user asked."""


class ValidationSetUsed(Warning):
    """A data set's own validation images are held out, in place of a share of the training images."""


class DoctorWarning(Warning):
    """What the doctor's quick check wants looked at before a run."""


class NetworkFitted(Warning):
    """A network was fitted to the data: weights taken from a file, images resized, classes matched by name."""


def require_positive(component: str, **options: float) -> None:
    """Refuse options of a component that are not finite numbers above 0."""
    for option, value in options.items():
        if not 0 < value < inf:
            raise InputError(f"{component}: {option} = {value}: expected a finite number above 0")


def require_not_negative(component: str, **options: float) -> None:
    """Refuse options of a component that are not finite numbers of at least 0."""
    for option, value in options.items():
        if not 0 <= value < inf:
            raise InputError(f"{component}: {option} = {value}: expected a finite number, 0 or more")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like another; None where none is near enough to be meant."""
    # At 0.5 difflib offers "calibrate" for "compare"; at 0.6 it still offers "temperature" for "tempr".
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str = "") -> InputError:
    """The error for an unknown name of a kind, such as "recipe": all known ones are listed, and the nearest is offered.

    ``hint`` is what the user may have meant, where that is known better than by likeness.
    """
    names = sorted(known)
    near = nearest(name, names)
    shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
    if not hint and near is not None:
        hint = f"did you mean {near!r}?"
    return InputError(f"unknown {kind} {shown!r}: {hint}{' ' if hint else ''}known: {', '.join(names) or 'none'}")
