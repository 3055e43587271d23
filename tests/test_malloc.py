"""What glibc keeps of freed memory after ``tune_malloc``, and where it is left alone."""

import json
import os
import platform
import subprocess
import sys

import pytest

from preceptor import malloc
from preceptor.malloc import tune_malloc

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back in this way")

PROBE = """
import json, resource, runpy, sys

tune_malloc = runpy.run_path(sys.argv[1])["tune_malloc"]
kept = [tune_malloc(), tune_malloc()] if sys.argv[2] == "keep" else None

def step():
    blocks = [bytearray(3_000_000) for _ in range(20)]
    for block in blocks:
        block[::4096] = bytes(len(block[::4096]))

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(json.dumps({"kept": kept, "faults": (after - before) / 5}))
"""


def probe(what):
    """In a process of its own, as the setting is for all of it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    command = [sys.executable, "-c", PROBE, malloc.__file__, what]
    return json.loads(subprocess.run(command, env=clean, capture_output=True, text=True, check=True).stdout)


class Library:
    """A C library that allows thresholds up to some size."""

    def __init__(self, malloc=1, largest=2**40):
        self.malloc, self.largest, self.calls = malloc, largest, []

    def mallopt(self, parameter, value):
        self.calls.append((parameter, value))
        return int(value <= self.largest)


def on_machine(monkeypatch, *, process, library):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.31"))
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(malloc, "_address", lambda function: function)
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda name: process if name is None else library)


@on_glibc
def test_a_step_finds_the_memory_of_the_one_before():
    pages = 20 * 3_000_000 / 4096
    assert probe("nothing")["faults"] > 0.5 * pages
    kept = probe("keep")
    assert kept["kept"] == [True, True]
    assert kept["faults"] < 0.05 * pages


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("MALLOC_MMAP_THRESHOLD_", "131072"),
        ("GLIBC_TUNABLES", "glibc.pthread.rseq=0:glibc.malloc.top_pad=65536"),
    ],
)
def test_what_the_environment_says_stands(name, value, monkeypatch):
    glibc = Library()
    on_machine(monkeypatch, process=glibc, library=glibc)
    monkeypatch.setenv(name, value)
    assert not tune_malloc()
    assert glibc.calls == []


def test_other_settings_of_malloc_do_not_matter(monkeypatch):
    glibc = Library()
    on_machine(monkeypatch, process=glibc, library=glibc)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert tune_malloc()
    assert glibc.calls == [(-3, 256 * 2**20), (-1, -1)]


def test_nothing_to_do_elsewhere(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda name: pytest.fail("no library is to be loaded"))
    assert not tune_malloc()


def test_an_old_glibc_takes_less(monkeypatch):
    old = Library(largest=32 * 2**20)
    on_machine(monkeypatch, process=old, library=old)
    assert tune_malloc()
    assert old.calls == [(-3, 256 * 2**20), (-3, 32 * 2**20), (-1, -1)]


def test_a_glibc_that_takes_nothing(monkeypatch):
    stubborn = Library(largest=-5)
    on_machine(monkeypatch, process=stubborn, library=stubborn)
    assert not tune_malloc()
    assert (-1, -1) not in stubborn.calls


def test_another_allocator_is_left_alone(monkeypatch):
    glibc = Library()
    on_machine(monkeypatch, process=Library(malloc=2), library=glibc)
    assert not tune_malloc()
    assert glibc.calls == []
