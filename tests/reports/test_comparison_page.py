"""The page of a comparison, as HTML: what it says, that it is safe, and that it is small."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from preceptor.compare.comparison_result import ComparisonResult, FailedRun
from preceptor.compare.findings import tables
from preceptor.reports.comparison_classes import class_gains
from preceptor.reports.comparison_curves import MOST_EPOCHS, thinned
from preceptor.reports.comparison_looks import BASELINE, looks
from preceptor.reports.comparison_page import comparison_page, write_comparison_page
from preceptor.reports.comparison_settings import setting_rows
from preceptor.result_files import read_result, write_result
from tests.compare.comparisons import ACCURACY, made_arm, made_comparison, made_teacher
from tests.reports.page import Page

HOSTILE = ("<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", '"];alert(1)//', "'{{7*7}}")
CHARTS = 7


@pytest.fixture(scope="module")
def result() -> ComparisonResult:
    return made_comparison()


@pytest.fixture(scope="module")
def html(result: ComparisonResult) -> str:
    return comparison_page(result)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def text_of(page: Page) -> str:
    """What a reader sees, with a space between two elements."""
    return " ".join(" ".join(data for tag, data in page.pieces if tag not in ("style", "script")).split())


def charts_of(html: str) -> list[dict[str, Any]]:
    return [json.loads(one) for one in re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)]


def test_its_numbers_are_those_of_the_result(result: ComparisonResult, page: Page) -> None:
    text = text_of(page)
    assert "ka-ps scored highest: 92.00 % of the test set, mean of 3 seeds. Clearly better than kd: ka-ps" in text
    assert "95 % interval leaves out zero; the intervals are corrected for 3 comparisons" in text
    assert "ka-ps 92.00 ± 1.00 +3.00 [+1.00, +5.00] 91.00 ± 1.00 0.580 7.0 2.67 2 4,500" in text
    assert "none 79.00 ± 1.00 −10.00 [−13.00, −7.00] 78.00 ± 1.00 0.710 10.2 7.00 1.9 0" in text
    assert "kd baseline 89.00 ± 1.00 –" in text
    assert "ka-ps 87.0 5.0 3.0 3.0 2.0 30" in text
    assert "big network 93.1 97.0 90.0" in text
    assert "none – cross entropy" not in text
    assert "preceptor compare --config DIR/plan.yaml --seeds 6 --out DIR" in text
    assert "ka-ps 0 runs/ka-ps/seed-0" in text
    assert page.left_open == []


def test_recipes_stand_in_the_order_of_their_accuracies(result: ComparisonResult, html: str) -> None:
    ranking = charts_of(html)[0]
    rows = ranking["data"]["values"]
    assert [row["recipe"] for row in rows] == ["ka-ps", "kd", "cmkd", "none"]
    arms = {arm.recipe: arm for arm in result.arms}
    for row in rows:
        gain = arms[row["recipe"]].difference
        assert row["accuracy"] == arms[row["recipe"]].accuracy.mean
        if gain is not None:
            assert row["low"] == pytest.approx(row["accuracy"] + gain.low - gain.mean)
            assert row["high"] == pytest.approx(row["accuracy"] + gain.high - gain.mean)
    marks = {row["recipe"]: row["shape"] for row in rows}
    assert marks == {"ka-ps": "circle", "kd": "diamond", "cmkd": "square", "none": "circle"}
    seeds = next(layer for layer in ranking["layer"] if "seed" in str(layer.get("data")))["data"]["values"]
    assert sorted(seed["accuracy"] for seed in seeds) == sorted(
        value for values in ACCURACY.values() for value in values
    )


def test_curves_are_those_of_the_result(result: ComparisonResult, html: str) -> None:
    _, meetings, held_out, losses, cost, risk, classes = (chart["data"]["values"] for chart in charts_of(html))
    arm = next(arm for arm in result.arms if arm.recipe == "ka-ps")
    own = [row for row in held_out if row["recipe"] == "ka-ps"]
    assert [row["epoch"] for row in own] == [1, 2, 3, 4]
    for row, point in zip(own, arm.curve, strict=True):
        assert point.held_out is not None
        band = point.held_out
        assert (row["value"], row["low"], row["high"]) == pytest.approx(
            (band.mean, band.lowest, band.highest), rel=1e-4
        )
    assert [row["value"] for row in losses if row["recipe"] == "kd"] == pytest.approx([2.1, 1.05, 0.7, 0.525], rel=1e-4)
    assert [row["value"] for row in risk if row["recipe"] == "ka-ps"] == pytest.approx(arm.risk, rel=1e-4)
    assert {row["recipe"]: row["seconds"] for row in cost}["ka-ps"] == pytest.approx(2)
    assert sum(row["share"] for row in meetings if row["recipe"] == "ka-ps") == pytest.approx(1)
    assert {row["class"] for row in classes} == set("0123456789") - {"7"}


def test_it_loads_nothing_and_runs_its_own_scripts_only(page: Page, html: str) -> None:
    addresses = page.values("src") + page.values("href")
    assert all(address.startswith(("data:", "#")) for address in addresses)
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.partition("script-src ")[2]
    assert not re.search(r"@import|url\(", html.partition("</style>")[0])
    assert len(page.all("script")) == CHARTS + 4


def test_names_are_escaped() -> None:
    arms = [
        made_arm(name, (0.8, 0.81), None if name == "kd" else (0.01, -0.1, 0.1), teacher=HOSTILE[0])
        for name in (*HOSTILE, "kd")
    ]
    hostile = made_comparison(
        arms, names=[*HOSTILE, *(name * 200 for name in "abcdef")], teachers=[made_teacher(HOSTILE[0])]
    )
    html = comparison_page(hostile.model_copy(update={"data": HOSTILE[1], "unfinished": {HOSTILE[0]: [FAILED]}}))
    page = Page(html)
    assert all(name not in html for name in HOSTILE[:2])
    assert HOSTILE[0] in page.text
    assert page.values("onerror") == []
    assert len(charts_of(html)) == CHARTS
    assert "a" * 60 not in page.text


FAILED = FailedRun(seed=1, message="the logits are inf")
SEVERAL = [
    made_arm(name, (0.8 + rate, 0.7), (0.01, -0.1, 0.1), teacher=teacher, settings={"training.learning_rate": rate})
    for teacher in ("big", "small")
    for rate in (0.05, 0.1)
    for name in ("cmkd", "dist")
]


def test_several_teachers_and_settings_have_a_section_each() -> None:
    result = made_comparison(SEVERAL, teachers=[made_teacher("big"), made_teacher("small")], baseline="cmkd")
    html = comparison_page(result)
    page, text = Page(html), text_of(Page(html))
    links = [link["href"] for link in page.all("a")]
    assert links == [f"#table-{place}" for place in range(4)]
    assert {link[1:] for link in links} <= set(page.values("id"))
    assert len(set(page.values("id"))) == len(page.values("id"))
    assert "Teacher small, training.learning_rate=0.1" in text
    assert len(charts_of(html)) == 4 * CHARTS
    assert "cmkd 77.50 80.00 77.50 80.00" in text.replace("<wbr>", "")
    assert page.left_open == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"teachers": []}, "There is no teacher, so there is nothing to copy.", id="no teacher"),
        pytest.param(
            {"teachers": [made_teacher(unasked="a file holds outputs of the training images only")]},
            "It can’t be told: the teacher was not asked about these images, as a file holds outputs of the training",
            id="teacher not asked",
        ),
        pytest.param({"measured_on": "held-out training images"}, "There is no test set.", id="no test set"),
        pytest.param({"unfinished": {"dist, big": [FAILED]}}, "1 of 13 runs failed.", id="a recipe failed"),
        pytest.param(
            {"teachers": [made_teacher(training_accuracy=0.999)]},
            "It probably learned from these training images",
            id="teacher's own images",
        ),
    ],
)
def test_it_says_what_is_missing(changes: dict[str, Any], expected: str) -> None:
    asked = changes.get("teachers", [made_teacher()])
    arms = [
        made_arm(name, values, (0.01, -0.1, 0.1) if name != "kd" else None, asked=bool(asked) and not asked[0].unasked)
        for name, values in ACCURACY.items()
    ]
    if not asked:
        arms = [arm.model_copy(update={"teacher": None}) for arm in arms]
    page = Page(comparison_page(made_comparison(arms, **changes)))
    assert expected in text_of(page)
    assert page.left_open == []


def test_a_run_that_failed_is_named() -> None:
    arms = [made_arm("kd", (0.8, 0.81)), made_arm("cmkd", (0.82,), failed=[FAILED])]
    text = text_of(Page(comparison_page(made_comparison(arms))))
    assert "1 of 4 runs failed." in text
    assert "cmkd 1 of 2 failed" in text
    assert "cmkd, seed 1, failed: the logits are inf." in text


def test_one_seed_without_held_out_images_and_one_epoch() -> None:
    arms = [
        made_arm(name, (0.8,), difference, held_out=False, epochs=1)
        for name, difference in (("kd", None), ("cmkd", (0.01, -0.1, 0.1)))
    ]
    html = comparison_page(made_comparison(arms))
    text = text_of(Page(html))
    assert "±" not in text
    assert "With one seed, training again is not in it" in text
    assert "No training images are held out" in text
    assert len(charts_of(html)) == CHARTS - 1


def test_many_classes_recipes_and_epochs_stay_readable() -> None:
    names = [f"class_{number}" for number in range(100)]
    recipes = [f"recipe-{number}" for number in range(25)]
    arms = [
        made_arm(name, (0.5 + place / 100,) * 2, None if place == 3 else (0.1, -0.1, 0.3), classes=100, epochs=500)
        for place, name in enumerate(recipes)
    ]
    result = made_comparison(arms, names=names, baseline="recipe-3")
    of = looks(result)
    assert list(of) == ["recipe-3", *reversed(recipes[20:])]
    assert of["recipe-3"] == BASELINE
    html = comparison_page(result)
    text = text_of(Page(html))
    assert "30 of 100 classes are drawn." in text
    assert "Not drawn, as more lines can’t be told apart: recipe-19" in text
    assert len(charts_of(html)[-1]["data"]["values"]) == 30 * 5
    assert len(html.encode()) < 3_000_000
    assert [point.epoch for point in thinned(arms[0])][:: MOST_EPOCHS - 1] == [1, 500]


def test_the_classes_that_differ_most_are_first() -> None:
    base, other = made_arm("kd", (0.8,)), made_arm("cmkd", (0.8,))
    other = other.model_copy(update={"per_class": [0.8, 0.2, None, 0.9]})
    base = base.model_copy(update={"per_class": [0.7, 0.5, None, 0.9]})
    rows = class_gains([other], base, "abcd")
    assert [(row.name, row.gains) for row in rows] == [
        ("b", [pytest.approx(-0.3)]),
        ("a", [pytest.approx(0.1)]),
        ("d", [0]),
    ]


def test_settings_are_readable() -> None:
    arms = [made_arm("none", (0.8,)), made_arm("kd", (0.8,)), made_arm("drop", (0.8,))]
    differing = {
        "teacher": [None, "runs/big", "runs/big"],
        "recipe.terms.ce.label_loss.name": ["cross_entropy"] * 2 + ["smoothed"],
        "recipe.terms.ce.weight": [1.0, 0.1, 0.1],
        "recipe.terms.ce.where": [None, None, "selected"],
        "recipe.terms.ce.since": [0.0, 0.0, 0.25],
        "recipe.terms.kl.weight": [None, 0.9, 0.9],
        "recipe.terms.kl.reduction": [None, "batch", "batch"],
        "recipe.temperature.name": [None, "fixed", "fixed"],
        "recipe.temperature.temperature": [None, 4.0, 4.0],
        "recipe.selection.name": [None, None, "drop_wrong"],
        "training.learning_rate": [0.1, 0.05, 0.05],
        "training.epochs": [10, 20, 20],
    }
    result = made_comparison(arms, differing=differing, plan={**PLAN, "vary": {"training.learning_rate": [0.05, 0.1]}})
    headings, rows = setting_rows(result)
    assert headings == ["temperature", "selection", "losses", "other settings"]
    assert dict(rows) == {
        "none": ["–", "–", "cross entropy", "training.epochs 10"],
        "kd": ["fixed (4)", "–", "0.1 cross entropy, 0.9 kl", "training.epochs 20"],
        "drop": [
            "fixed (4)",
            "drop wrong",
            "0.1 smoothed (where selected, since 0.25), 0.9 kl",
            "training.epochs 20",
        ],
    }


PLAN = {"recipes": {"kd": {"recipe": "kd"}}, "seeds": [0]}


def test_seeds_of_ones_own_have_no_command_for_more() -> None:
    text = text_of(Page(comparison_page(made_comparison(plan={**PLAN, "seeds": [3, 5, 9], "vary": {}}))))
    assert "--seeds" not in text
    assert "preceptor compare --config DIR/plan.yaml --out DIR" in text


def test_a_page_is_made_again_from_the_file_alone(result: ComparisonResult, tmp_path: Path) -> None:
    write_result(result, tmp_path / "compare.json")
    write_comparison_page(result, tmp_path / "compare.html")
    before = (tmp_path / "compare.html").read_bytes()
    write_comparison_page(read_result(ComparisonResult, tmp_path / "compare.json"), tmp_path / "compare.html")
    assert (tmp_path / "compare.html").read_bytes() == before
    assert f"--out {tmp_path}" in before.decode()


def test_every_table_of_the_result_is_on_the_page(result: ComparisonResult, page: Page) -> None:
    assert len(tables(result)) == 1
    assert "ranking-0" in page.values("id")


def test_of_many_tables_the_best_are_drawn_in_full() -> None:
    arms = [
        made_arm(name, (0.5 + rate, 0.5), (0.01, -0.1, 0.1), settings={"training.learning_rate": rate})
        for rate in (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08)
        for name in ("kd", "cmkd")
    ]
    html = comparison_page(made_comparison(arms))
    assert "drawn for the 6 of 8 with the highest accuracies" in text_of(Page(html))
    assert len(charts_of(html)) == 6 * CHARTS + 2 * 2
    ids = Page(html).values("id")
    assert "risk-1" not in ids
    assert "risk-2" in ids


def test_a_table_of_recipes_without_a_look_has_no_lines() -> None:
    crowd = [made_arm(f"recipe-{number}", (0.9,), teacher="big") for number in range(6)]
    lonely = made_arm("lonely", (0.1,), teacher="small")
    result = made_comparison(
        [*crowd, lonely], teachers=[made_teacher("big"), made_teacher("small")], baseline="recipe-0"
    )
    html = comparison_page(result)
    assert "Not drawn, as more lines can’t be told apart: lonely." in text_of(Page(html))
    assert len(charts_of(html)) == CHARTS + 3
