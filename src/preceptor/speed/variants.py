"""The ways of doing the same training step that are held against each other."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch

from preceptor.errors import unknown_name
from preceptor.teachers.optimize import bf16_unsupported_reason

PEER, ALONE = "peer", "student-alone"

Source = Literal["peer", "live", "cache", "none"]
"""Who runs the loop, and where our loop has the teacher's word from."""


@dataclass(frozen=True)
class Variant:
    """One way.

    Attributes:
        name: on the command line and in the result.
        about: a line on what it does.
        source: of the teacher's word.
        fp32: the student's arithmetic is fp32 and eager; otherwise precision and compiling are what they are by
            default.
        bf16_teacher: what the teacher computes in; None is the default.
        students: taught from one pass over the data; measured per student.
        needs_bf16: it differs from others only where the device has units for bf16.
    """

    name: str
    about: str
    source: Source
    fp32: bool = False
    bf16_teacher: bool | None = None
    students: int = 1
    needs_bf16: bool = False


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant(
            PEER,
            "a loop as the peers build theirs: PIL in 2 worker processes, fp32, channels first, nothing compiled",
            "peer",
        ),
        Variant(
            "live-fp32",
            "the teacher asked in every step, in fp32, batch norm folded; the student in fp32 too, nothing compiled",
            "live",
            fp32=True,
            bf16_teacher=False,
        ),
        Variant(
            "live-bf16-teacher",
            "the same with the teacher in bf16",
            "live",
            fp32=True,
            bf16_teacher=True,
            needs_bf16=True,
        ),
        Variant("live", "the teacher asked in every step, everything as by default", "live"),
        Variant("cache", "the teacher's word from a cache that is filled, everything as by default", "cache"),
        Variant(
            "cache-fp32", "the same with the student in fp32, nothing compiled", "cache", fp32=True, needs_bf16=True
        ),
        Variant(ALONE, "no teacher, labels alone, everything as by default: the floor", "none"),
        Variant(
            "live-8",
            "8 students of one teacher asked in every step, for each student; everything as by default",
            "live",
            students=8,
        ),
    )
}
"""By name, the baseline first."""


def find_variants(names: Iterable[str]) -> list[Variant]:
    """The variants of these names in the order of :data:`VARIANTS`, the baseline always among them.

    Raises:
        InputError: one is not known; the nearest is offered.
    """
    wanted = {PEER, *names}
    for name in wanted - set(VARIANTS):
        raise unknown_name("variant", name, VARIANTS)
    return [variant for variant in VARIANTS.values() if variant.name in wanted]


def reason_to_leave_out(variant: Variant, device: torch.device) -> str | None:
    """Why a variant is not worth measuring on a device; None when it is."""
    return bf16_unsupported_reason(device) if variant.needs_bf16 else None
