"""Entry: benchmarks/losses.py, one shape of logits at a time."""

import sys
from collections.abc import Sequence

from benchmarks.gpu.entries import UNFINISHED
from benchmarks.gpu.job import entry_parser, job_of
from benchmarks.gpu.parts import in_parts

from benchmarks import losses
from preceptor.speed.machine import this_machine

MOST_SECONDS_A_SHAPE = 300.0


def main(arguments: Sequence[str] | None = None) -> int:
    job = job_of(entry_parser(__doc__).parse_args(arguments))
    shapes = {f"{rows} x {classes}": (rows, classes) for rows, classes in losses.SHAPES}
    found = in_parts(
        job,
        list(shapes),
        lambda name: losses.measure(shapes[name], losses.ROUNDS, job.device),
        seconds=MOST_SECONDS_A_SHAPE,
    )
    if found is None:
        return UNFINISHED
    machine = this_machine(job.device).model_dump(mode="json")
    job.answer({"kind": "losses", "rounds": losses.ROUNDS, "machine": machine, "shapes": list(found.values())})
    return 0


if __name__ == "__main__":
    sys.exit(main())
