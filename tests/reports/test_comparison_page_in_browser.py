"""The page of a comparison where scripts run: in a headless Chromium, where there is one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from preceptor.compare.comparison_result import ComparisonResult
from preceptor.reports.comparison_page import write_comparison_page
from tests.compare.comparisons import made_arm, made_comparison, made_teacher
from tests.reports.browser import COMMAND, Browser, barriers

pytestmark = pytest.mark.skipif(COMMAND is None, reason="no Chromium on the path")

NAMES = ["<script>alert(1)</script>", '"];alert(1)//', "'+alert(1)+'", "Größe \\ ☃ 😀", *"abcdef"]
CHARTS = 7


def made() -> ComparisonResult:
    """Two teachers, and names that would do harm as anything but text."""
    arms = [made_arm("none", (0.70, 0.71, 0.72), (-0.1, -0.13, -0.07))]
    for teacher in ("big", NAMES[0]):
        arms.append(made_arm("kd", (0.80, 0.82, 0.84), teacher=teacher))
        arms += [
            made_arm(name, (0.81, 0.82 + place / 100, 0.83), (0.01, -0.02, 0.04), teacher=teacher)
            for place, name in enumerate([*NAMES[:4], "a_recipe_with_quite_a_long_name_of_its_own"])
        ]
    return made_comparison(arms, names=NAMES, teachers=[made_teacher("big"), made_teacher(NAMES[0])])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    write_comparison_page(made(), folder / "compare.html")
    with Browser(folder / "profile") as browser:
        browser.resize(1400)
        browser.open(folder / "compare.html")
        browser.wait_for(f"document.querySelectorAll('.drawing.drawn').length === {2 * CHARTS}")
        yield browser


def test_it_draws_its_charts_and_complains_of_nothing(browser: Browser) -> None:
    assert browser.value("document.querySelectorAll('.live svg').length") == 2 * CHARTS
    assert not browser.value("[...document.querySelectorAll('.fixed')].some((one) => one.offsetParent)")
    assert browser.problems == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in browser.requests if url.startswith("file:")]) == 1


def test_names_stay_text(browser: Browser) -> None:
    labels = browser.value("[...document.querySelectorAll('.live svg text')].map((one) => one.textContent)")
    assert all(name in labels for name in NAMES[:4])
    assert browser.value("document.scripts.length") == 2 * CHARTS + 4


def test_every_recipe_has_a_mark_and_the_baseline_a_line(browser: Browser) -> None:
    ranking = "document.querySelector('.live svg')"
    rows = browser.value("document.querySelector('table.ranking tbody').rows.length")
    assert rows == 7
    assert browser.value(f"{ranking}.querySelectorAll('.mark-symbol path').length") == rows + 3 * rows
    line = f"{ranking}.querySelector('.mark-rule line')"
    assert browser.value(f"{line}.getBoundingClientRect().height") > 30 * rows


def test_links_lead_to_the_tables(browser: Browser) -> None:
    links = "[...document.querySelectorAll('nav a')]"
    assert browser.value(f"{links}.length") == 2
    assert browser.value(f"{links}.every((one) => document.querySelector(one.getAttribute('href')))")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(browser: Browser, scheme: str) -> None:
    assert barriers(browser, scheme) == []


def test_it_fits_a_phone_and_a_wide_window(browser: Browser) -> None:
    for width in (390, 1400):
        browser.resize(width)
        browser.wait_for(f"innerWidth === {width}")
        assert browser.value("document.documentElement.scrollWidth") <= width
        cut = (
            "[...document.querySelectorAll('table.recipes td')].filter((one) => "
            f"one.getBoundingClientRect().right > {width}).length"
        )
        assert browser.value(cut) == 0
    assert browser.problems == []


def test_without_scripts_everything_is_shown(browser: Browser) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(Path(browser.value("decodeURIComponent(location.pathname)")))
    visible = "[...document.querySelectorAll('%s')].filter((one) => one.offsetParent).length"
    assert browser.value(visible % ".fixed") == 2 * CHARTS
    assert browser.value(visible % ".live") == 0
