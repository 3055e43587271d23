"""Where the time of a training step goes, by part of the loop and by operator."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from preceptor.errors import MachineError
from preceptor.training.trace import (
    RANGE,
    Event,
    busy_share,
    callers,
    device_events,
    host_events,
    outermost,
    own_times,
    span_at,
    step_spans,
)

PARTS = ("batch", "teacher", "student", "loss", "backward", "optimizer")
"""The ranges that the loop marks, in the order in which a step comes to them."""

REST = "rest"
"""The time of a step that lies in none of its parts."""

ROWS_SHOWN = 20
LONGEST_NAME = 60


@dataclass(frozen=True)
class Part:
    """A part of the loop.

    Attributes:
        name: of ``PARTS``, or ``REST``.
        calls: a step.
        ms: milliseconds a step that the host spends in it, with all that it calls and waits for.
        share: the same, of the time of a step.
        device_ms: milliseconds a step of the kernels that it launched; None without a device.
        device_share: the same, of the time of all kernels.
    """

    name: str
    calls: float
    ms: float
    share: float
    device_ms: float | None = None
    device_share: float | None = None


@dataclass(frozen=True)
class Cost:
    """An operator on the host, or a kernel on the device.

    Attributes:
        name: as torch calls it; what a part spends outside operators (Python, waiting) goes by the part's name.
        calls: a step.
        ms: milliseconds a step, without the operators that it calls.
        share: the same, of the time of a step; of a kernel, of the time of all kernels.
    """

    name: str
    calls: float
    ms: float
    share: float


@dataclass(frozen=True)
class Profile:
    """Where the time of some steps went.

    Attributes:
        skipped: steps of training before the first one recorded.
        steps: recorded.
        step_ms: milliseconds from one step to the next as the host sees them, on the mean.
        fastest_ms: the same of the fastest step.
        slowest_ms: the same of the slowest step.
        device_ms: milliseconds a step of all kernels, None without a device.
        device_busy: share of the time, from the first kernel to the last, in which one ran; None without a device.
        parts: in the order of the loop, then the rest.
        operators: the largest first.
        kernels: the largest first; empty without a device.
    """

    skipped: int
    steps: int
    step_ms: float
    fastest_ms: float
    slowest_ms: float
    device_ms: float | None
    device_busy: float | None
    parts: tuple[Part, ...]
    operators: tuple[Cost, ...]
    kernels: tuple[Cost, ...]


def profile_of(events: Sequence[Event], *, steps: int, skipped: int = 0, epoch_begins: Collection[int] = ()) -> Profile:
    """Sum up the first steps of a trace.

    Args:
        events: in the order of their starts.
        steps: how many at most; a further one in the trace, which may be broken off, is left out.
        skipped: steps of training before the first one of the trace.
        epoch_begins: which of the steps, counted from 0, are the first of an epoch; they begin with their batch.

    Raises:
        MachineError: the trace holds no step, so the profiler lost it.
    """
    spans = step_spans(events, steps, epoch_begins, PARTS[0])
    if not spans:
        raise MachineError("the profiler's trace holds no step: record fewer of them")
    steps = len(spans)
    host = host_events(events, spans)
    device = device_events(events, spans)
    kernels = [kernel for kernel, _ in device]
    lengths = [end - start for start, end in spans]
    whole, on_device = sum(lengths), sum(kernel.duration for kernel in kernels)
    return Profile(
        skipped=skipped,
        steps=steps,
        step_ms=whole / steps / 1e6,
        fastest_ms=min(lengths) / 1e6,
        slowest_ms=max(lengths) / 1e6,
        device_ms=on_device / steps / 1e6 if kernels else None,
        device_busy=busy_share(kernels) if kernels else None,
        parts=_parts(outermost([event for event in host if _is_part(event)]), device, whole, steps),
        operators=_operators(host, whole, steps),
        kernels=_kernels(kernels, on_device, steps),
    )


def _is_part(event: Event) -> bool:
    return event.kind == RANGE and event.name in PARTS


def _label(event: Event) -> str:
    return f"{event.name}: outside operators" if _is_part(event) else event.name


def _parts(ranges: Sequence[Event], device: Sequence[tuple[Event, int]], whole: int, steps: int) -> tuple[Part, ...]:
    calls = Counter(event.name for event in ranges)
    host = _sums((event.name, event.duration) for event in ranges)
    host[REST] = whole - host.total()
    spans = [(event.start, event.end) for event in ranges]
    numbered = [(span_at(spans, launched), kernel) for kernel, launched in device]
    kernels = _sums((REST if at is None else ranges[at].name, kernel.duration) for at, kernel in numbered)
    return tuple(
        Part(
            name=name,
            calls=calls[name] / steps,
            ms=host[name] / steps / 1e6,
            share=host[name] / whole,
            device_ms=kernels[name] / steps / 1e6 if device else None,
            device_share=kernels[name] / kernels.total() if device else None,
        )
        for name in (*PARTS, REST)
        if name in host
    )


def _operators(host: Sequence[Event], whole: int, steps: int) -> tuple[Cost, ...]:
    around = callers(host)
    inside = Counter(around)
    times = _sums((_label(event), own) for event, own in zip(host, own_times(host, around), strict=True))
    calls: Counter[str] = Counter()
    for event, by in zip(host, around, strict=True):
        handed_on = by is not None and host[by].name == event.name and inside[by] == 1  # as torch counts: one call
        calls[_label(event)] += not handed_on
    return _costs(times, calls, whole, steps)


def _kernels(kernels: Sequence[Event], whole: int, steps: int) -> tuple[Cost, ...]:
    times = _sums((kernel.name, kernel.duration) for kernel in kernels)
    return _costs(times, Counter(kernel.name for kernel in kernels), whole, steps)


def _costs(times: Counter[str], calls: Counter[str], whole: int, steps: int) -> tuple[Cost, ...]:
    return tuple(
        Cost(name, calls[name] / steps, time / steps / 1e6, time / whole) for name, time in times.most_common()
    )


def _sums(named: Iterable[tuple[str, int]]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for name, time in named:
        sums[name] += time
    return sums


def as_text(profile: Profile) -> str:
    """The profile as tables to read: the parts, then the largest operators and kernels."""
    tables = [_heading(profile), _part_table(profile)]
    tables.append(_cost_table("operator, its own time", profile.operators))
    if profile.kernels:
        tables.append(_cost_table("kernel on the device", profile.kernels))
    return "\n\n".join(tables) + "\n"


def _heading(profile: Profile) -> str:
    heading = (
        f"{profile.steps} steps, after {profile.skipped} to warm up: {profile.step_ms:.2f} ms a step "
        f"({profile.fastest_ms:.2f} to {profile.slowest_ms:.2f}), the profiler's own work included"
    )
    if profile.device_ms is None or profile.device_busy is None:
        return heading
    return (
        f"{heading}\ndevice: {profile.device_ms:.2f} ms of kernels a step, busy {profile.device_busy:.1%} of the time"
    )


def _part_table(profile: Profile) -> str:
    lines = [_line("part of a step", "calls", "ms", "share")]
    for part in profile.parts:
        lines.append(_line(part.name, f"{part.calls:.1f}", f"{part.ms:.3f}", f"{part.share:.1%}"))
    if profile.device_ms is not None:
        device = ["device ms", *(f"{part.device_ms:.3f}" for part in profile.parts)]
        shares = ["share", *(f"{part.device_share:.1%}" for part in profile.parts)]
        lines = [f"{line}{ms:>12}{share:>8}" for line, ms, share in zip(lines, device, shares, strict=True)]
    return "\n".join(lines)


def _cost_table(title: str, costs: Sequence[Cost]) -> str:
    lines = [_line(title, "calls", "ms", "share")]
    for cost in costs[:ROWS_SHOWN]:
        lines.append(_line(cost.name, f"{cost.calls:.1f}", f"{cost.ms:.3f}", f"{cost.share:.1%}"))
    if len(costs) > ROWS_SHOWN:
        left = costs[ROWS_SHOWN:]
        calls, ms, share = (sum(getattr(cost, field) for cost in left) for field in ("calls", "ms", "share"))
        lines.append(_line(f"{len(left)} others", f"{calls:.1f}", f"{ms:.3f}", f"{share:.1%}"))
    return "\n".join(lines)


def _line(name: str, calls: str, ms: str, share: str) -> str:
    shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return f"{shown:<{LONGEST_NAME}}{calls:>9}{ms:>11}{share:>8}"
