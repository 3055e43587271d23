"""``preceptor replay``: repeat the step at which a run became non-finite, and locate where."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from preceptor.run import Replayed

EXAMPLES = """examples:
  preceptor replay runs/student
  preceptor replay runs/student --device cpu --json

A run that meets a non-finite loss, gradient or weight writes the batch, the teacher's logits and the weights before the
step into its folder; then it goes on as on_nonfinite says. The replay needs neither the data nor the teacher.
"""

MOST_SAMPLES = 20
"""Samples that are shown; --json has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_output_options, add_settings

    parser.epilog = EXAMPLES
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of the run")
    add_settings(parser, ["device"], defaults={"device": "the run's"})
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Replay and show."""
    from dataclasses import asdict

    from preceptor.cli.printing import show
    from preceptor.run import replay

    replayed = replay(arguments.folder, arguments.device)
    failure, again = replayed.report.record(), asdict(replayed.again)
    content = {"failure": failure, "again": again, "reproduced": replayed.reproduced}
    show(arguments, lambda: content, lambda: _lines(replayed))


def _lines(replayed: "Replayed") -> Iterator[str]:
    step, fault = replayed.report.context, replayed.again
    yield (
        f"student {step.student!r}: epoch {step.epoch}, step {step.step} of {step.steps}, seed {step.seed}, "
        f"learning rate {fault.learning_rate:g} (on_nonfinite: {step.action})"
    )
    yield fault.line()
    if fault.terms:
        yield f"loss terms affected: {', '.join(fault.terms)}"
    for sample in fault.samples[:MOST_SAMPLES]:
        yield f"  position {sample.index}, label {sample.label}, view {sample.view}"
    if not replayed.reproduced:
        yield f"in the run it was otherwise: {replayed.report.fault.line()}"
