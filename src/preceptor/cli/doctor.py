"""``preceptor doctor``: checks of a run before it is trained."""

import argparse
import json
import sys
import textwrap
from typing import TYPE_CHECKING

from preceptor.errors import InputError

if TYPE_CHECKING:
    from preceptor.run.doctor import Diagnosis

EXAMPLES = """examples:
  preceptor doctor --teacher runs/teacher
  preceptor doctor --teacher runs/teacher --student resnet8 --recipe lr-ds --training standard
  preceptor doctor --teacher big.onnx --teacher-output logits --data folder:photos --json
  preceptor doctor --config runs/kd/run.yaml --quick

Takes what preceptor distill takes, but for --out: nothing is written, and only a copy of the student is
trained, for a few steps. Ends with 0 without a problem, warnings or not, and with 2 with one.
"""

WIDTH = 100
INDENT = 27


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_run_options, add_student_options, add_teacher_options

    parser.epilog = EXAMPLES
    parser.add_argument("--quick", action="store_true", help="only the checks that every distill makes when it starts")
    add_student_options(parser)
    add_teacher_options(parser)
    add_run_options(parser, writes=False)


def run(arguments: argparse.Namespace) -> None:
    """Examine and show.

    Raises:
        InputError: a problem was found, after all findings were shown.
    """
    from preceptor.cli.options import given_settings
    from preceptor.run import read_config, resolve
    from preceptor.run.doctor import examine

    content = {"student": "convnet8", "recipe": "kd"}
    content |= read_config(arguments.config) if arguments.config else {}
    diagnosis = examine(resolve(content, given_settings(arguments)), quick=arguments.quick)
    if arguments.json:
        json.dump(diagnosis.plain(), sys.stdout, allow_nan=False)
        print()
    elif not arguments.quiet:
        _show(diagnosis)
    problems = diagnosis.of("problem")
    if problems:
        told = arguments.json or not arguments.quiet
        raise InputError(
            f"problems found: {', '.join(finding.name for finding in problems)}"
            if told
            else "; ".join(finding.line() for finding in problems)
        )


def _show(diagnosis: "Diagnosis") -> None:
    for finding in diagnosis.findings:
        _wrapped(f"{finding.status:<9}{finding.name:<18}", finding.message)
        if finding.remedy:
            _wrapped(" " * (INDENT - 3) + "-> ", finding.remedy)
    problems, warnings = len(diagnosis.of("problem")), len(diagnosis.of("warning"))
    fine = len(diagnosis.findings) - problems - warnings
    if problems or warnings:
        print(f"problems: {problems}, warnings: {warnings}, passed: {fine}")
    else:
        print(f"{fine} checks passed")


def _wrapped(before: str, text: str) -> None:
    print(textwrap.fill(" ".join(text.split()), WIDTH, initial_indent=before, subsequent_indent=" " * INDENT))
