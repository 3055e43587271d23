"""The plan for ImageNet is that of the command, and its committed result is what it says now."""

import json

from experiments.bench import cache_plan
from preceptor.teachers.cache import Layout


def test_the_committed_plans_are_those_of_today() -> None:
    assert json.loads(cache_plan.RESULT.read_text(encoding="utf-8")) == cache_plan.plans()


def test_a_plan_is_bytes_by_hand() -> None:
    kept = cache_plan.plan("ImageNet-21k", 1, 20)
    assert kept["entry_bytes"] == 4 + 20 * 2 + 4 + 20 * 2 + 4  # top, values, rest, ids of two bytes, checksum
    assert kept["bytes"] == 14_197_122 * 92
    whole = cache_plan.plan("ImageNet-1k", 10, None)
    assert whole["entry_bytes"] == 4 + 1000 * 2 + 4
    assert whole["bytes"] == 10 * 1_281_167 * 2008
    assert whole["queries"] == Layout(samples=1_281_167, views=10, classes=1000).queries() == 12_811_670
    assert whole["seconds"] == 12_811_670 / cache_plan.RATE


def test_every_case_is_in_the_table() -> None:
    shown = cache_plan.markdown(cache_plan.plans())
    assert shown.count("\n| ImageNet-1k |") == shown.count("\n| ImageNet-21k |") == 4
    assert "| ImageNet-21k | the 20 largest | 1 | 92 | 1.3 GB | 14,197,122 | 118 minutes | 15 minutes |" in shown
