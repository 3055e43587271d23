"""A stranger's bytes end in the project's own errors; a few examples here, more by ``PRECEPTOR_FUZZ_EXAMPLES``."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Fuzzed, attempt

EXAMPLES = int(os.environ.get("PRECEPTOR_FUZZ_EXAMPLES", "12"))

TOKENS = [b"\0", b"\xff", b"{", b"[", b"&a ", b"*a", b"!!", b"-1", b"1e400", b"9" * 25, b"null", b"NaN", b"\n", b": "]


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Sound bytes with a few changes, or wild ones."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        place, length = draw(st.integers(0, max(len(content) - 1, 0))), draw(st.integers(0, 8))
        kind = draw(st.sampled_from(["set", "insert", "remove", "cut", "copy"]))
        if kind == "set" and content:
            content[place] = draw(st.integers(0, 255))
        elif kind == "insert":
            content[place:place] = draw(st.sampled_from(TOKENS) | st.binary(max_size=8))
        elif kind == "remove":
            del content[place : place + length]
        elif kind == "cut":
            del content[place:]
        else:
            content[place:place] = content[place : place + 4 * length]
    return bytes(content)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_sound_seeds_are_there_and_end_well(name: str, tmp_path: Path) -> None:
    seeds = TARGETS[name].seeds()
    assert seeds
    assert len(set(seeds)) == len(seeds)
    TARGETS[name].run(fresh(tmp_path), seeds[0])


def fresh(folder: Path) -> Path:
    (folder / "work").mkdir()
    return folder / "work"


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_mutated_bytes_end_in_our_own_errors(name: str, tmp_path: Path) -> None:
    seeds = TARGETS[name].seeds()

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), report_multiple_bugs=True)
    @given(content=mutated(seeds))
    def try_out(content: bytes) -> None:
        attempt(name, tmp_path / "work", content)

    try_out()


def test_a_fault_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(folder: Path, content: bytes) -> None:
        raise KeyError(content)

    monkeypatch.setitem(TARGETS, "breaks", Fuzzed(breaks, lambda: [b""]))
    with pytest.raises(KeyError):
        attempt("breaks", tmp_path / "work", b"")
