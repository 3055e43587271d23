"""Traces of ``torch.profiler``: what took time, on the host and on the device, and which step it belongs to."""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from preceptor.errors import MachineError

RANGE = "user_annotation"
LAUNCHES = {"cuda_runtime", "cuda_driver"}
HOST = {"cpu_op", RANGE, *LAUNCHES}
DEVICE = {"kernel", "gpu_memcpy", "gpu_memset"}

STEP = "ProfilerStep#"
"""How the names of the ranges begin that ``torch.profiler`` puts around each step."""

Span = tuple[int, int]
"""From when to when, in nanoseconds."""


class Event(NamedTuple):
    """Something that took time; in nanoseconds since the first event of its trace."""

    kind: str
    name: str
    thread: str
    start: int
    end: int
    correlation: int | None

    @property
    def duration(self) -> int:
        """In nanoseconds."""
        return self.end - self.start

    @property
    def is_step(self) -> bool:
        """Whether this is the range around a step."""
        return self.kind == RANGE and self.name.startswith(STEP)


def read_trace(trace: bytes) -> list[Event]:
    """The events of a trace in Chrome's format, in the order of their starts.

    Raises:
        MachineError: the trace is not whole, as when it went to a disk that is full.
    """
    try:
        entries = json.loads(trace.decode(errors="replace"), strict=False)["traceEvents"]
    except ValueError as error:
        raise MachineError(f"the profiler's trace is not whole ({error}): is the disk full?") from error
    return events_of(entries)


def events_of(entries: Iterable[Mapping[str, Any]]) -> list[Event]:
    """The events among the entries of such a trace, in the order of their starts."""
    kept = [entry for entry in entries if entry.get("ph") == "X" and entry.get("cat") in HOST | DEVICE]
    origin = min((entry["ts"] for entry in kept), default=0.0)
    return sorted((_event(entry, origin) for entry in kept), key=lambda event: (event.start, -event.end))


def _event(entry: Mapping[str, Any], origin: float) -> Event:
    start = round((entry["ts"] - origin) * 1000)  # whole nanoseconds: rounded microseconds would break the nesting
    end = start + round(entry["dur"] * 1000)
    thread = f"{entry.get('pid')}/{entry.get('tid')}"
    return Event(entry["cat"], entry["name"], thread, start, end, entry.get("args", {}).get("correlation"))


def step_spans(events: Sequence[Event], steps: int, epoch_begins: Collection[int], begins_with: str) -> list[Span]:
    """From when to when the first steps went.

    Args:
        events: in the order of their starts.
        steps: how many.
        epoch_begins: which of them, counted from 0, are the first of an epoch. What happens between two epochs
            (measuring, saving) is no part of a step: these begin with the range next named.
        begins_with: the name of the first range of a step.
    """
    begins = [event.start for event in events if event.kind == RANGE and event.name == begins_with]
    spans = []
    for number, step in enumerate([event for event in events if event.is_step][:steps]):
        begin = next((begin for begin in begins if step.start <= begin < step.end), step.start)
        spans.append((begin if number in epoch_begins else step.start, step.end))
    return spans


def span_at(spans: Sequence[Span], time: int) -> int | None:
    """Which of the spans, in order and apart, a time lies in; None for none."""
    number = bisect_right(spans, time, key=lambda span: span[0]) - 1
    return number if number >= 0 and time < spans[number][1] else None


def host_events(events: Sequence[Event], spans: Sequence[Span]) -> list[Event]:
    """What the host did in these spans."""
    return [event for event in events if event.kind in HOST and not event.is_step and _within(spans, event.start)]


def device_events(events: Sequence[Event], spans: Sequence[Span]) -> list[tuple[Event, int]]:
    """What the device did for these spans of the host, which it lags behind, and when the host launched it."""
    launched = {event.correlation: event.start for event in events if event.kind in LAUNCHES}
    launched.pop(None, None)
    found = [(event, launched.get(event.correlation, event.start)) for event in events if event.kind in DEVICE]
    return [(event, start) for event, start in found if _within(spans, start)]


def _within(spans: Sequence[Span], time: int) -> bool:
    return span_at(spans, time) is not None


def outermost(ranges: Sequence[Event]) -> list[Event]:
    """Those that lie in no other, so that no time counts twice; ranges are in the order of their starts."""
    kept: list[Event] = []
    for event in ranges:
        if not kept or event.start >= kept[-1].end:
            kept.append(event)
    return kept


def callers(events: Sequence[Event]) -> list[int | None]:
    """For each event the number of the one around it on its thread; events are in the order of their starts."""
    found: list[int | None] = []
    around: defaultdict[str, list[int]] = defaultdict(list)
    for number, event in enumerate(events):
        stack = around[event.thread]
        while stack and event.end > events[stack[-1]].end:
            stack.pop()
        found.append(stack[-1] if stack else None)
        stack.append(number)
    return found


def own_times(events: Sequence[Event], callers: Sequence[int | None]) -> list[int]:
    """The time of each event without that of the events that it calls, in nanoseconds."""
    own = [event.duration for event in events]
    for event, caller in zip(events, callers, strict=True):
        if caller is not None:
            own[caller] -= event.duration
    return own


def busy_share(events: Sequence[Event]) -> float:
    """Share of the time from the first event to the end of the last in which at least one goes on."""
    busy, reached = 0, events[0].start
    for event in events:
        busy += max(0, event.end - max(reached, event.start))
        reached = max(reached, event.end)
    return busy / max(1, reached - events[0].start)
