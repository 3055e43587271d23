import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preceptor.errors import MachineError
from preceptor.training.trace import (
    busy_share,
    callers,
    device_events,
    events_of,
    host_events,
    outermost,
    own_times,
    read_trace,
    span_at,
    step_spans,
)

UPTIME = 4391405057014.375
"""Microseconds, as torch writes them: large, with three places."""


def entry(kind, name, start, duration, thread=1, correlation=None):
    arguments = {} if correlation is None else {"correlation": correlation}
    times = {"ts": UPTIME + start, "dur": duration}
    return {"ph": "X", "cat": kind, "name": name, "pid": 7, "tid": thread, **times, "args": arguments}


def mark(name, start, duration):
    return entry("user_annotation", name, start, duration)


def names(events):
    return [event.name for event in events]


def test_times_are_whole_nanoseconds_since_the_first_event():
    [first, second] = events_of([mark("b", 4.5, 2.125), mark("a", 0.25, 1.5)])
    assert (first.name, first.start, first.end) == ("a", 0, 1500)
    assert (second.name, second.start, second.end, second.duration) == ("b", 4250, 6375, 2125)


def test_what_takes_no_time_of_host_or_device_is_left_out():
    flow = {"ph": "s", "cat": "fwdbwd", "name": "fwdbwd", "ts": 1.0, "id": 1}
    thread_name = {"ph": "M", "name": "thread_name", "ts": 1.0, "args": {"name": "python"}}
    assert events_of([flow, thread_name, entry("Trace", "PyTorch Profiler (0)", 0, 9)]) == []


def test_a_trace_that_breaks_off_is_no_trace():
    whole = json.dumps({"traceEvents": [mark("batch", 0, 1)]}).encode()
    assert names(read_trace(whole)) == ["batch"]
    with pytest.raises(MachineError, match="not whole"):
        read_trace(whole[:-5])


def test_a_name_with_odd_bytes_is_read():
    trace = json.dumps({"traceEvents": [mark("odd", 0, 1)]}).encode().replace(b"odd", b"o\xff\x01d")
    assert len(read_trace(trace)) == 1


def test_steps_are_cut_where_an_epoch_begins():
    events = events_of(
        [
            mark("ProfilerStep#1", 0, 10),
            mark("batch", 1, 2),
            mark("ProfilerStep#2", 10, 100),
            mark("batch", 90, 5),
            mark("ProfilerStep#3", 110, 3),
        ]
    )
    assert step_spans(events, 2, {1}, "batch") == [(0, 10_000), (90_000, 110_000)]
    assert step_spans(events, 2, (), "batch") == [(0, 10_000), (10_000, 110_000)]
    assert step_spans(events, 9, {2}, "batch")[2] == (110_000, 113_000)  # it has no batch to begin with


def test_the_span_at_a_time():
    spans = [(0, 10), (10, 20), (30, 40)]
    assert [span_at(spans, time) for time in (-1, 0, 9, 10, 20, 29, 30, 40)] == [None, 0, 0, 1, None, None, 2, None]


def test_events_of_the_host_within_spans():
    events = events_of(
        [
            mark("ProfilerStep#1", 0, 10),
            entry("cpu_op", "in", 9, 5),
            entry("cpu_op", "out", 10, 1),
            mark("kernel", 2, 1),
        ]
    )
    assert names(host_events(events, [(0, 10_000)])) == ["kernel", "in"]


def test_the_device_works_for_the_span_that_launched_it():
    events = events_of(
        [
            entry("cuda_runtime", "cudaLaunchKernel", 1, 1, correlation=5),
            entry("cuda_runtime", "cudaGraphLaunch", 12, 1, thread=2, correlation=6),
            entry("kernel", "late", 50, 4, correlation=5),
            entry("kernel", "replayed", 60, 4, correlation=6),
            entry("kernel", "replayed", 64, 4, correlation=6),
            entry("gpu_memset", "nobody's", 2, 1),
            entry("gpu_user_annotation", "batch", 50, 9),
        ]
    )
    origin = 1_000  # the first event's start, in nanoseconds of the numbers above
    found = device_events(events, [(0, 10_000 - origin)])
    assert [(event.name, launched + origin) for event, launched in found] == [("nobody's", 2_000), ("late", 1_000)]
    assert names(event for event, _ in device_events(events, [(11_000, 12_000)])) == ["replayed", "replayed"]


def test_only_the_outermost_ranges_count():
    assert names(outermost(events_of([mark("a", 0, 5), mark("b", 1, 2), mark("c", 5, 1)]))) == ["a", "c"]


def test_own_time_is_without_what_is_inside_on_the_same_thread():
    events = events_of(
        [
            entry("cpu_op", "outer", 0, 10),
            entry("cpu_op", "inner", 1, 4),
            entry("cpu_op", "innermost", 2, 1),
            entry("cpu_op", "next", 5, 3),
            entry("cpu_op", "elsewhere", 3, 2, thread=2),
        ]
    )
    around = callers(events)
    assert [None if by is None else events[by].name for by in around] == [None, "outer", "inner", None, "outer"]
    assert dict(zip(names(events), own_times(events, around), strict=True)) == {
        "outer": 3_000,
        "inner": 3_000,
        "innermost": 1_000,
        "next": 3_000,
        "elsewhere": 2_000,
    }


nested = st.recursive(st.just([]), lambda inside: st.lists(inside, max_size=3), max_leaves=12)


def laid_out(tree, start, entries):
    """Entries of calls that contain each other as the lists of the tree do; each works 1 us before every inner one."""
    end = start + 1
    for inside in tree:
        end = laid_out(inside, end, entries) + 1
    entries.append(entry("cpu_op", "call", start, end - start))
    return end


@given(st.lists(nested, min_size=1, max_size=4))
def test_own_times_add_up_to_the_whole(trees):
    entries, end = [], 0
    for tree in trees:
        end = laid_out(tree, end, entries)
    events = events_of(entries)
    own = own_times(events, callers(events))
    assert sum(own) == end * 1000
    assert min(own) > 0


def test_the_device_is_busy_while_anything_runs():
    together = [entry("kernel", "a", 0, 10), entry("kernel", "b", 2, 3), entry("kernel", "c", 8, 4)]
    assert busy_share(events_of(together)) == 1
    assert busy_share(events_of([*together, entry("kernel", "d", 18, 6)])) == 18 / 24
