"""Entry: the same numbers on the GPU as on the CPU, and no step that waits for it."""

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch
from benchmarks.gpu import checks, training_checks
from benchmarks.gpu.checks import Broken, Numbers
from benchmarks.gpu.job import entry_parser, job_of

CHECKS: tuple[Callable[[torch.device], Numbers], ...] = (
    checks.views_are_the_same_bits,
    checks.stages_agree_with_the_cpu,
    checks.stages_never_wait,
    checks.bank_says_what_the_teacher_said,
    checks.a_fast_teacher_says_the_same,
    training_checks.trained_from_a_bank_as_from_the_teacher,
    training_checks.each_pupil_learns_as_alone,
    training_checks.trained_as_on_the_cpu,
    training_checks.trained_from_images_on_the_cpu,
    training_checks.the_loop_seldom_waits,
    training_checks.quicker_means_change_rounding_alone,
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = entry_parser(__doc__)
    job = job_of(parser.parse_args(arguments))
    found = {check.__name__: _outcome(check, job.device) for check in CHECKS}
    failed = [name for name, outcome in found.items() if not outcome["passed"]]
    job.answer({"failed": failed, "checks": found})
    for name in failed:
        print(f"{name}: {found[name]['error']}")
    return 1 if failed else 0


def _outcome(check: Callable[[torch.device], Numbers], device: torch.device) -> dict[str, Any]:
    """What a check found; one that breaks down is no reason to leave out those after it."""
    started = time.monotonic()
    outcome: dict[str, Any] = {"guarantee": (check.__doc__ or "").strip()}
    try:
        outcome |= {"passed": True, "found": check(device)}
    except Broken as broken:
        outcome |= {"passed": False, "error": str(broken)}
    except Exception as error:
        traceback.print_exc()
        outcome |= {"passed": False, "error": f"{type(error).__name__}: {error}"}
    return {**outcome, "seconds": round(time.monotonic() - started, 1)}


if __name__ == "__main__":
    sys.exit(main())
