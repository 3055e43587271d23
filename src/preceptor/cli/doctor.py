"""``preceptor doctor``: checks of a run's data, teacher and settings before training."""

import argparse
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from preceptor.cli.options import STUDENT, add_run_options, add_settings, add_teacher_options
from preceptor.cli.printing import show
from preceptor.errors import InputError

if TYPE_CHECKING:
    from preceptor.run.doctor import Diagnosis

EXAMPLES = """examples:
  preceptor doctor --teacher runs/teacher
  preceptor doctor --teacher runs/teacher --student resnet8 --recipe lr-ds --training standard
  preceptor doctor --teacher big.onnx --teacher-output logits --data folder:photos --json
  preceptor doctor --config runs/kd/run.yaml --quick

Takes the options of preceptor distill but --out: it writes nothing, and trains only a copy for a few steps. Exit code
0: no problem, with or without warnings; 2: a problem.
"""

DEFAULTS = {"student": "convnet8", "recipe": "safe"}
WIDTH = 100
INDENT = 27


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.epilog = EXAMPLES
    parser.add_argument("--quick", action="store_true", help="only the checks that every run starts with")
    add_settings(parser.add_argument_group("student"), STUDENT, defaults=DEFAULTS)
    add_teacher_options(parser)
    add_run_options(parser, writes=False)


def run(arguments: argparse.Namespace) -> None:
    """Examine and show.

    Raises:
        InputError: there is a problem; all findings have been shown.
    """
    from preceptor.cli.training import resolve_settings
    from preceptor.run.doctor import examine
    from preceptor.run.progress import StatusLine

    config = resolve_settings(arguments, DEFAULTS)
    with StatusLine("checking: ", quiet=arguments.quick or arguments.quiet or arguments.json) as progress:
        diagnosis = examine(config, arguments.quick, progress)
    show(arguments, diagnosis.plain, lambda: _lines(diagnosis))
    problems = diagnosis.of("problem")
    if problems and arguments.quiet and not arguments.json:
        raise InputError("; ".join(finding.line() for finding in problems))
    if problems:
        raise InputError(f"problems: {', '.join(finding.name for finding in problems)}")


def _lines(diagnosis: "Diagnosis") -> Iterator[str]:
    for finding in diagnosis.findings:
        yield from _wrapped(f"{finding.status:<9}{finding.name:<18}", finding.message)
        if finding.remedy:
            yield from _wrapped(" " * (INDENT - 3) + "-> ", finding.remedy)
    counts = {"problem": len(diagnosis.of("problem")), "warning": len(diagnosis.of("warning"))}
    counts = {name: count for name, count in counts.items() if count}
    passed = len(diagnosis.findings) - sum(counts.values())
    shown = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items()]
    yield ", ".join([*shown, f"{passed} check{'' if passed == 1 else 's'} passed"])


def _wrapped(before: str, text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), WIDTH, initial_indent=before, subsequent_indent=" " * INDENT)
