import pytest

from preceptor.errors import InputError
from preceptor.speed import find_variants, variants
from preceptor.speed.variants import VARIANTS, reason_to_leave_out
from tests.speed.tiny import CPU


def test_the_peers_are_always_there_and_first():
    assert [variant.name for variant in find_variants(["cache", "live"])] == ["peer", "live", "cache"]
    assert [variant.name for variant in find_variants([])] == ["peer"]
    assert find_variants(VARIANTS) == list(VARIANTS.values())


def test_an_unknown_variant_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'student-alone'"):
        find_variants(["student"])


@pytest.mark.parametrize("lack", [None, "this CPU has no units"])
def test_what_needs_bf16_is_left_out_where_there_are_no_units(monkeypatch, lack):
    monkeypatch.setattr(variants, "bf16_unsupported_reason", lambda device: lack)
    reasons = {name: reason_to_leave_out(variant, CPU) for name, variant in VARIANTS.items()}
    assert {name for name, reason in reasons.items() if reason} == (
        {"live-bf16-teacher", "cache-fp32"} if lack else set()
    )
    assert set(reasons.values()) <= {lack, None}
