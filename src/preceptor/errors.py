"""The errors a user can cause or cure. Each message says what was given, what is allowed and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

_SHOWN = 80


class PreceptorError(Exception):
    """Base of every error that is the user's to cure; the command line shows it as one line."""

    exit_code = 2


class InputError(PreceptorError):
    """Something handed in is wrong: a name, a value, a file, a label. Exit code 2."""


class EnvironmentProblem(PreceptorError):
    """The machine lacks something: a package, disk space, memory, a writable folder. Exit code 3."""

    exit_code = 3


class Stopped(PreceptorError):
    """A run was told to stop, and did so where it can go on. Exit code 4."""

    exit_code = 4


class SkippedImages(Warning):
    """Images were left out because they cannot be used, as was asked for."""


def unknown_name(kind: str, given: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not known, offering the nearest known one."""
    names = sorted(known)
    given = given if len(given) <= _SHOWN else f"{given[:_SHOWN]}..."
    near = get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {given!r}: {hint}known: {', '.join(names) or 'none'}")
