"""``preceptor replay``: take the step at which a run went wrong again, and see where."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from preceptor.run import Replayed

EXAMPLES = """examples:
  preceptor replay runs/student
  preceptor replay runs/student --device cpu --json

A run that meets a loss, a gradient or weights that are not finite writes the batch, the teacher's logits for it and the
weights before the step into its folder. Then it stops, or goes on, as on_nonfinite=stop, skip or lower says. Neither
the data nor the teacher need be there to take the step again.
"""

MOST_SAMPLES = 20
"""How many samples are shown; --json holds all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    from preceptor.cli.options import add_output_options

    parser.epilog = EXAMPLES
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("--device", help="auto, cpu or cuda (default: the run's)")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Replay and show."""
    import json
    from dataclasses import asdict

    from preceptor.cli.printing import printable
    from preceptor.run import replay

    replayed = replay(arguments.folder, arguments.device)
    if arguments.json:
        shown = {
            "failure": replayed.failure.record(),
            "again": {**asdict(replayed.again), "place": replayed.again.place},
            "came_again": replayed.came_again,
        }
        print(json.dumps(shown))
    elif not arguments.quiet:
        print("\n".join(printable(line) for line in _lines(replayed)))


def _lines(replayed: "Replayed") -> list[str]:
    when, fault = replayed.failure.occasion, replayed.again
    lines = [
        f"pupil {when.pupil!r}: epoch {when.epoch}, step {when.step} of {when.steps}, seed {when.seed}, learning rate "
        f"{fault.learning_rate:g} (policy: {when.action})",
        f"first: {fault.place}",
    ]
    if fault.terms:
        lines.append(f"loss terms affected: {', '.join(fault.terms)}")
    if fault.samples:
        lines.append(f"samples: {len(fault.samples)} of {fault.batch}")
        lines += [
            f"  position {one.position}, label {one.label}, view {one.view}" for one in fault.samples[:MOST_SAMPLES]
        ]
    if fault.sizes:
        lines.append(f"largest logits: {fault.sizes}")
    if not replayed.came_again:
        lines.append(f"in the run it was otherwise: {replayed.failure.fault.place}")
    return [*lines, f"advice: {fault.advice}"]
