"""The command ``preceptor``: imports the verb, runs it, turns errors into one line and an exit code."""

import argparse
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TextIO

from preceptor import __version__
from preceptor.cli.options import add_code_option, allow_code_of
from preceptor.cli.printing import note
from preceptor.cli.processes import run_in_processes, starts_processes
from preceptor.errors import InputError, MachineError, PreceptorError, nearest, out_of_memory, unknown_name
from preceptor.launched import launched
from preceptor.malloc import tune_malloc

VERBS = {
    "demo": "see it work now, on this machine, offline",
    "doctor": "check a run's data, teacher and settings before training",
    "audit": "find out where a teacher is wrong, and where the labels are",
    "train": "train a teacher, or a student on labels alone",
    "crossfit": "train on folds, for outputs on images not trained on",
    "distill": "distill a student from a teacher with a recipe",
    "compare": "compare recipes on your data, with intervals and cost",
    "tune": "choose a recipe's settings on held-out images",
    "cache": "cache teacher outputs on disk",
    "resume": "continue a run that was stopped",
    "replay": "repeat a step that was not finite, to locate where",
    "select": "score the training samples for a selection, or show scores",
    "evaluate": "measure a student on a data set",
    "calibrate": "choose an abstention threshold with a risk guarantee",
    "predict": "label images, abstaining where the student is unsure",
    "export": "write a student as files to deploy, checked against it",
    "methods": "list every component, recipe, model and setting",
    "reproduce": "run a published protocol: teachers, students, a table",
    "bench": "measure how fast training is on this machine",
}
"""Every verb is a module of this package with ``add_arguments(parser)`` and ``run(arguments)``."""

WITHOUT_NETWORKS = {"demo", "methods", "reproduce", "bench"}
"""Verbs that build no network of the user's."""

INTERRUPTED = 130
PIPE_CLOSED = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 done; 2 an input is wrong; 3 the machine lacks something; 4 stopped, with a checkpoint to resume from; 5 what
        was asked for cannot be guaranteed; 130 interrupted; 141 the reader closed the pipe; 143 ended by
        SIGTERM (129, 138: SIGHUP, SIGUSR1).
    """
    tokens = list(sys.argv[1:] if argv is None else argv)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the parent process
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):  # names and tables hold letters that gbk or ascii lack
            stream.reconfigure(errors="replace")
    with warnings.catch_warnings(), _signals_as_interrupts():
        warnings.showwarning = _show_warning
        warnings.filterwarnings("ignore", module=r"PIL\.")  # damaged tags, and many pixels, which are refused
        return _exit_code(tokens)


class _Terminated(KeyboardInterrupt):
    """Ended by a signal, its argument."""


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Let signals end the process as Ctrl-C does, so that nothing half-written is left; training handles them itself.

    They are SIGTERM, SIGHUP (a dropped connection) and SIGUSR1 (Slurm, before the time limit).
    """

    def terminate(number: int, _: object) -> NoReturn:
        raise _Terminated(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in numbers:
            if before[number] != signal.SIG_IGN:  # as nohup ignores SIGHUP
                signal.signal(number, terminate)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _exit_code(tokens: Sequence[str]) -> int:
    try:
        parser, verb_parser = _parsers(tokens)
        if verb_parser is None:
            parser.parse_args(tokens)  # --help and --version leave here
            parser.print_help()
            return 0
        arguments = _parse(parser, verb_parser, tokens)
        if starts_processes(arguments):
            return run_in_processes(arguments.gpus, tokens)
        allow_code_of(arguments)
        tune_malloc()
        import_module(f"preceptor.cli.{arguments.verb}").run(arguments)
    except PreceptorError as error:
        return _fail(error)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return _fail(_memory_problem(error))
    except OSError as error:
        return _fail(MachineError(f"{error.filename or 'the system'}: {error.strerror or error}"))
    except _Terminated as error:
        note("ended from outside")
        return 128 + int(error.args[0])
    except KeyboardInterrupt:
        note("interrupted")
        return INTERRUPTED
    return 0


class _Parser(argparse.ArgumentParser):
    """Takes no abbreviated option, and raises our own error instead of printing usage and leaving."""

    def __init__(self, **options: Any) -> None:
        # It keeps the line breaks of the examples, and every verb on one line.
        options.setdefault("formatter_class", partial(argparse.RawDescriptionHelpFormatter, max_help_position=32))
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def _parsers(tokens: Sequence[str]) -> tuple[_Parser, _Parser | None]:
    """The parser, and the verb's own. Only this verb's module is imported, so that --help is quick."""
    parser = _Parser(
        prog="preceptor",
        description="Knowledge distillation that checks the teacher.",
        epilog="Start with: preceptor demo. Each verb has its own --help with examples.",
    )
    parser.add_argument("--version", action="version", version=f"preceptor {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB [options]", title="verbs")
    wanted = next((token for token in tokens if not token.startswith("-")), None)
    if wanted is not None and wanted not in VERBS:
        raise unknown_name("verb", wanted, VERBS)
    verb_parser = None
    for verb, line in VERBS.items():
        sub = verbs.add_parser(verb, help=line, description=f"{line[0].upper()}{line[1:]}.")
        if verb == wanted:
            verb_parser = sub
            import_module(f"preceptor.cli.{verb}").add_arguments(sub)
            if verb not in WITHOUT_NETWORKS:
                add_code_option(sub)
    return parser, verb_parser


def _parse(parser: _Parser, verb_parser: _Parser, tokens: Sequence[str]) -> argparse.Namespace:
    """Parse. ``key=value`` may stand anywhere, also between flags, where argparse takes no more positionals."""
    if "" in tokens:  # as a path it would be the current folder
        raise InputError("an empty argument: give a value, or leave it out with its option")
    _check_options(verb_parser, tokens[tokens.index(verb_parser.prog.split()[-1]) + 1 :])
    arguments, rest = parser.parse_known_args(tokens)
    unknown = [
        token for token in rest if token.startswith("-") or "=" not in token or not hasattr(arguments, "override")
    ]
    if unknown:
        raise InputError(f"unrecognized: {' '.join(unknown)} (see {verb_parser.prog} --help)")
    if rest:
        arguments.override += rest
    return arguments


def _check_options(parser: _Parser, tokens: Sequence[str]) -> None:
    """Refuse an unknown option, and one that is set twice: argparse silently keeps the last."""
    known, seen = parser._option_string_actions, set()
    for token in tokens:
        option = token.partition("=")[0]
        if token == "--":
            return
        if option.startswith("--") and option not in known:
            near = nearest(option, known)
            hint = f"did you mean {near}? " if near else ""
            raise InputError(f"unknown option {option}: {hint}{parser.prog} --help lists all")
        if option in known and option in seen and not isinstance(known[option], argparse._AppendAction):
            raise InputError(f"{option} is set twice: give it once")
        seen.add(option)


LESS_MEMORY = "try fewer or smaller images, a smaller batch or model, fewer jobs, or another device"


def _memory_problem(error: MemoryError | RuntimeError) -> MachineError:
    asked = re.search(r"(?:allocate|allocate:) ([0-9.]+ ?(?:bytes|[KMGT]i?B))", str(error))
    amount = f" (asked for {asked[1]} at once)" if asked else ""
    return MachineError(f"out of memory{amount}: {LESS_MEMORY}")


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our own warnings as one line like an error's; those of libraries as usual."""
    if Path(filename).is_relative_to(Path(__file__).parents[1]):
        note(str(message))
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def _fail(error: PreceptorError) -> int:
    number, count = launched()
    note(f"process {number} of {count}: {error}" if number else str(error))
    return error.exit_code
