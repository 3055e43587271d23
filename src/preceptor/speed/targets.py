"""How fast Preceptor set out to be, and whether a result shows it."""

from dataclasses import dataclass
from typing import Literal

from preceptor.speed.result import CaseResult, SpeedResult, Spread
from preceptor.speed.variants import ALONE, PEER

PAIR, BATCH_SIZE = "resnet32x4:resnet8x4", 64
"""What the targets are set on."""


@dataclass(frozen=True)
class Target:
    """One aim: a median over rounds.

    Attributes:
        device: kind of device it is for.
        variant: that is to be fast.
        of: the variant it is held against, in the same rounds: the baseline or the student alone.
        least: times as fast as that, for each student.
        with_bf16: it was set on a machine with units for bf16, and rests on them.
    """

    device: Literal["cpu", "cuda"]
    variant: str
    of: str
    least: float
    with_bf16: bool = False


TARGETS = (
    Target("cpu", "live-fp32", PEER, 1.4),
    Target("cpu", "live-bf16-teacher", PEER, 1.8, with_bf16=True),
    Target("cpu", "live", PEER, 2.5, with_bf16=True),
    Target("cpu", "cache", PEER, 5.5, with_bf16=True),
    Target("cpu", "cache", ALONE, 1 / 1.05),
    Target("cpu", "live-8", PEER, 4.5, with_bf16=True),
    Target("cuda", "live", PEER, 15),
    Target("cuda", "cache", PEER, 25),
    Target("cuda", "cache", ALONE, 1 / 1.3),
)
"""Those for a CPU were set on two cores with AVX512-BF16."""


@dataclass(frozen=True)
class Verdict:
    """A target and what was found.

    Attributes:
        target: what was aimed at.
        found: times as fast; None where it was not measured.
        told: "reached", "missed" or "not measured", and what is to be known about it.
    """

    target: Target
    found: Spread | None
    told: str


def verdicts(result: SpeedResult) -> list[Verdict]:
    """What a result says of the targets for its device; none when it has not the case they are set on."""
    case = next((case for case in result.cases if (case.pair, case.batch_size) == (PAIR, BATCH_SIZE)), None)
    if case is None:
        return []
    mine = [target for target in TARGETS if target.device == result.machine.device]
    return [_verdict(target, case, result.machine.lacks_bf16) for target in mine]


def _verdict(target: Target, case: CaseResult, lacks_bf16: str | None) -> Verdict:
    row = case.row(target.variant)
    found = None if row is None else row.to_peer if target.of == PEER else row.to_alone
    if found is None:
        reason = case.left_out.get(target.variant)
        return Verdict(target, None, f"not measured: {reason}" if reason else "not measured")
    told = "reached" if found.median >= target.least else "missed"
    set_elsewhere = target.with_bf16 and lacks_bf16 is not None
    return Verdict(target, found, f"{told}; set where a CPU has units for bf16" if set_elsewhere else told)
