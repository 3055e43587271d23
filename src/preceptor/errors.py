"""The errors a user can cause or cure. Each message says what was given, what is allowed and what to do."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_SHOWN = 80


class PreceptorError(Exception):
    """Base of every error that is the user's to cure; the command line shows it as one line."""

    exit_code = 2


class InputError(PreceptorError):
    """Something handed in is wrong: a name, a value, a file, a label. Exit code 2."""


class MachineError(PreceptorError):
    """The machine lacks something: a package, disk space, memory, a writable folder. Exit code 3."""

    exit_code = 3


class Interrupted(PreceptorError):
    """A run was told to stop, and did so where it can go on. Exit code 4."""

    exit_code = 4


class GuaranteeUnavailable(PreceptorError):
    """What was asked for cannot be guaranteed on the images given. Exit code 5."""

    exit_code = 5


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that there is no memory left.

    torch says so in words on a CPU, and by a class of its own, not imported here, on a GPU; C++ by a name of its own.
    """
    told = ("can't allocate memory", "not enough memory", "Unable to allocate", "bad_alloc", "bad allocation")
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and any(words in str(error) for words in told))


def few(names: Sequence[str], most: int = 3) -> str:
    """The first few of some names, and the number of the others."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def first_line(error: BaseException) -> str:
    """What an error of a library says, or else its kind: their further lines are not for the user."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__


class SkippedImages(Warning):
    """Images were left out because they cannot be used, as was asked for."""


class ValidationSetUsed(Warning):
    """A data set's own validation images are held out, in place of a share of the training images."""


def unknown_name(kind: str, given: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not known, offering the nearest known one."""
    names = sorted(known)
    given = given if len(given) <= _SHOWN else f"{given[:_SHOWN]}..."
    near = get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {given!r}: {hint}known: {', '.join(names) or 'none'}")
