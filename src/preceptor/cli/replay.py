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
    show(
        arguments,
        lambda: {
            "failure": replayed.failure.record(),
            "again": {**asdict(replayed.again), "place": replayed.again.place},
            "came_again": replayed.came_again,
        },
        lambda: _lines(replayed),
    )


def _lines(replayed: "Replayed") -> Iterator[str]:
    when, fault = replayed.failure.occasion, replayed.again
    yield (
        f"student {when.pupil!r}: epoch {when.epoch}, step {when.step} of {when.steps}, seed {when.seed}, "
        f"learning rate {fault.learning_rate:g} (policy: {when.action})"
    )
    yield f"first: {fault.place}"
    if fault.terms:
        yield f"loss terms affected: {', '.join(fault.terms)}"
    if fault.samples:
        yield f"samples: {len(fault.samples)} of {fault.batch}"
        for sample in fault.samples[:MOST_SAMPLES]:
            yield f"  position {sample.position}, label {sample.label}, view {sample.view}"
    if fault.sizes:
        yield f"largest logits: {fault.sizes}"
    if not replayed.came_again:
        yield f"in the run it was otherwise: {replayed.failure.fault.place}"
    yield f"advice: {fault.advice}"
