"""``preceptor``: finds the verb, runs it, and turns errors into one clear line and an exit code."""

import argparse
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TextIO

from preceptor import __version__
from preceptor.cli.printing import one_line
from preceptor.errors import InputError, MachineError, PreceptorError, out_of_memory, unknown_name

VERBS = {
    "demo": "see it work now, on this machine, offline",
    "doctor": "tell what is wrong with a run, before it is run",
    "train": "train a teacher, or a student by labels alone",
    "distill": "distill a student from a teacher with a recipe",
    "cache": "keep what a teacher says, so that it is asked once",
    "resume": "go on with a run that was stopped",
    "replay": "take a step that went wrong again, to see where",
    "select": "score the samples for a selection, or show scores",
    "evaluate": "measure a student on a data set",
    "calibrate": "settle when a student declines, and what that guarantees",
    "predict": "label images, and decline where it should",
    "export": "write a student as files to deploy, checked against it",
    "methods": "list every component and recipe, with its paper and defaults",
    "reproduce": "run an experiment again and write its result file",
    "bench": "measure how fast training is here, against the baseline loop",
}
"""Every verb is a module of this package with ``add_arguments(parser)`` and ``run(arguments)``."""

INTERRUPTED = 130
PIPE_CLOSED = 141
ENDED = 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 done; 2 something handed in is wrong; 3 the machine lacks something; 4 stopped, with a checkpoint to go on
        from; 5 what was asked for cannot be guaranteed; 130 interrupted; 143 ended by SIGTERM.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    with warnings.catch_warnings(), _cleaning_up_when_ended():
        warnings.showwarning = _show_warning
        return _answered(given)


class _Ended(KeyboardInterrupt):
    """By SIGTERM."""


@contextmanager
def _cleaning_up_when_ended() -> Iterator[None]:
    """Within it SIGTERM ends the process as Ctrl-C does, so that no half of a file is left; training does otherwise."""

    def end(*_: object) -> None:
        raise _Ended

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _answered(given: Sequence[str]) -> int:
    try:
        parser = _parser(given)
        arguments = _parsed(parser, given)
        if arguments.verb is None:
            parser.print_help()
            return 0
        import_module(f"preceptor.cli.{arguments.verb}").run(arguments)
    except PreceptorError as error:
        return _fail(error)
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return _fail(_memory_problem(error, given))
    except OSError as error:
        return _fail(MachineError(f"{error.filename or 'the system'}: {error.strerror or error}"))
    except _Ended:
        print("preceptor: ended from outside", file=sys.stderr)
        return ENDED
    except KeyboardInterrupt:
        print("preceptor: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parsed(parser: argparse.ArgumentParser, given: Sequence[str]) -> argparse.Namespace:
    """Parse; ``key=value`` may stand anywhere, also between flags, where argparse takes no more of them."""
    if "" in given:  # as a path it would be the folder one stands in
        raise InputError("an empty argument: give a value, or leave it away with its option")
    arguments, rest = parser.parse_known_args(given)
    stray = [word for word in rest if word.startswith("-") or "=" not in word or not hasattr(arguments, "override")]
    if stray:
        raise InputError(f"unrecognized: {' '.join(stray)} (see preceptor {arguments.verb or ''} --help)")
    if rest:
        arguments.override += rest
    return arguments


_LESS = {
    "cache": "--top-k keeps less of each image; --device cpu has more memory than most GPUs",
    "calibrate": "calibrate on fewer images, or with --device cpu",
    "predict": "try a smaller --batch-size, or --device cpu",
    "export": "ask for one --format at a time, without --int8",
    "evaluate": "evaluate on fewer images, or smaller ones (--image-size for a folder), or with --device cpu",
    "resume": "end what else runs on this machine and resume again: the last checkpoint is kept",
    "select": "score fewer images (--train-images), or smaller ones (--image-size for a folder)",
    "train": "try a smaller --batch-size, model or --image-size, or fewer images (--train-images)",
    "distill": "try a smaller --batch-size, model or --image-size, or fewer images (--train-images)",
    "doctor": "try a smaller --batch-size, model or --image-size, or fewer images (--train-images)",
    "replay": "replay with --device cpu, which has more memory than most GPUs",
}
"""What takes less memory, by verb."""


def _memory_problem(error: MemoryError | RuntimeError, given: Sequence[str]) -> MachineError:
    asked = re.search(r"(?:allocate|allocate:) ([0-9.]+ ?(?:bytes|[KMGT]i?B))", str(error))
    amount = f" (asked for {asked[1]} at once)" if asked else ""
    verb = next((word for word in given if not word.startswith("-")), "")
    advice = _LESS.get(verb, "end what else runs on this machine, or use one with more")
    return MachineError(f"out of memory{amount}: {advice}")


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our own warnings as one line like an error's; those of libraries as ever."""
    if Path(filename).is_relative_to(Path(__file__).parents[1]):
        print(f"preceptor: {one_line(str(message))}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


class _Parser(argparse.ArgumentParser):
    """Raises our own error instead of printing usage and leaving."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise PreceptorError(f"{message} (see {self.prog} --help)")


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """The parser with every verb's help line; only the verb at hand is imported, so that --help is quick."""
    parser = _Parser(
        prog="preceptor",
        description="Knowledge distillation that checks the teacher.",
        epilog="Start with: preceptor demo. Each verb has its own --help with examples.",
        formatter_class=_Raw,
    )
    parser.add_argument("--version", action="version", version=f"preceptor {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB [options]", title="verbs")
    wanted = next((word for word in given if not word.startswith("-")), None)
    if wanted is not None and wanted not in VERBS:
        raise unknown_name("verb", wanted, VERBS)
    for verb, line in VERBS.items():
        sub = verbs.add_parser(verb, help=line, description=f"{line[0].upper()}{line[1:]}.", formatter_class=_Raw)
        if verb == wanted:
            import_module(f"preceptor.cli.{verb}").add_arguments(sub)
    return parser


class _Raw(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the examples, and every verb on one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)


def _fail(error: PreceptorError) -> int:
    print(f"preceptor: {one_line(str(error))}", file=sys.stderr)
    return error.exit_code
