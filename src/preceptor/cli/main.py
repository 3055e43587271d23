"""``preceptor``: finds the verb, runs it, and turns errors into one clear line and an exit code."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from preceptor import __version__
from preceptor.errors import EnvironmentProblem, InputError, PreceptorError, unknown_name

VERBS = {
    "demo": "see it work now, on this machine, offline",
    "train": "train a teacher, or a student by labels alone",
    "distill": "distil a student from a teacher with a recipe",
    "bank": "keep what a teacher says, so that it is asked once",
    "resume": "go on with a run that was stopped",
    "select": "score the samples for a selection, or show scores",
    "evaluate": "measure a student on a data set",
    "methods": "list every stage and recipe, with its paper and defaults",
    "reproduce": "run an experiment again and write its result file",
    "bench": "measure how fast training is here, against the peers' loop",
}
"""Every verb is a module of this package with ``add_arguments(parser)`` and ``run(arguments)``."""

INTERRUPTED = 130
PIPE_CLOSED = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 done; 2 something handed in is wrong; 3 the machine lacks something; 4 stopped, with a checkpoint to go on
        from; 130 interrupted.
    """
    given = list(sys.argv[1:] if argv is None else argv)
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
        if not _out_of_memory(error):
            raise
        return _fail(EnvironmentProblem("out of memory: try a smaller --batch-size, model or --image-size"))
    except OSError as error:
        return _fail(EnvironmentProblem(f"{error.filename or 'the system'}: {error.strerror or error}"))
    except KeyboardInterrupt:
        print("preceptor: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parsed(parser: argparse.ArgumentParser, given: Sequence[str]) -> argparse.Namespace:
    """Parse; ``key=value`` may stand anywhere, also between flags, where argparse takes no more of them."""
    arguments, rest = parser.parse_known_args(given)
    stray = [word for word in rest if word.startswith("-") or "=" not in word or not hasattr(arguments, "override")]
    if stray:
        raise InputError(f"unrecognised: {' '.join(stray)} (see preceptor {arguments.verb or ''} --help)")
    if rest:
        arguments.override += rest
    return arguments


def _out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Torch says it in words on a CPU, and by a class of its own, not imported here, on a GPU."""
    told = str(error)
    said = "can't allocate memory" in told or "not enough memory" in told
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or said


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
    print(f"preceptor: {' '.join(str(error).split())}", file=sys.stderr)
    return error.exit_code
