"""The page of an audit where scripts run: in a headless Chromium, where there is one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from preceptor.audit import TeacherAudit
from preceptor.reports.audit_page import write_audit_page
from tests.reports.audits import made_audit, with_names
from tests.reports.browser import COMMAND, Browser, barriers

pytestmark = pytest.mark.skipif(COMMAND is None, reason="no Chromium on the path")

NAMES = ["<script>alert(1)</script>", '"];alert(1)//', "'+alert(1)+'", "Größe \\ ☃ 😀", *"abcdef"]
CARDS = "[...document.querySelectorAll('.disagreement:not([hidden])')]"
FOCUSED = "document.activeElement"


@pytest.fixture(scope="module")
def audit() -> TeacherAudit:
    made = made_audit("0123456789", 900, teacher_errors=0.2, label_errors=0.15, teacher_accuracy=0.8, members=2)
    return with_names(made, NAMES)


@pytest.fixture(scope="module")
def browser(audit: TeacherAudit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    write_audit_page(audit, folder / "audit.html")
    with Browser(folder / "profile") as browser:
        browser.resize(1400)
        browser.open(folder / "audit.html")
        browser.wait_for("document.querySelectorAll('.drawing.drawn').length === 3")
        yield browser


@pytest.fixture(autouse=True)
def fresh(browser: Browser) -> None:
    browser.value("filters.reset()")
    browser.value(f"{FOCUSED}.blur()")
    browser.value("new Promise((done) => setTimeout(done))")


def count(browser: Browser) -> int:
    number: int = browser.value(f"{CARDS}.length")
    return number


def choose(browser: Browser, name: str, value: str) -> None:
    browser.value(
        f"filters.elements.{name}.value = '{value}', filters.dispatchEvent(new Event('input', {{bubbles: true}}))"
    )


def test_it_draws_its_charts_and_complains_of_nothing(browser: Browser) -> None:
    assert browser.value("document.querySelectorAll('.live svg').length") == 3
    assert not browser.value("[...document.querySelectorAll('.fixed')].some((one) => one.offsetParent)")
    assert browser.problems == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in browser.requests if url.startswith("file:")]) == 1


def test_names_stay_text(browser: Browser) -> None:
    labels = browser.value("[...document.querySelectorAll('.live svg text')].map((one) => one.textContent)")
    assert all(name in labels for name in NAMES)
    assert browser.value("document.scripts.length") == 3 + 5


def test_filters_choose_what_is_shown(browser: Browser, audit: TeacherAudit) -> None:
    verdict, all_of_them = audit.verdicts.at("likely"), len(audit.verdicts.index)
    assert all_of_them > 96
    assert count(browser) == 96
    assert browser.value("shown.textContent") == f"Showing the first 96 of {all_of_them}."
    browser.value("more.click()")
    assert count(browser) == min(192, all_of_them)
    unclear = int((verdict == 2).sum())
    choose(browser, "verdict", "2")
    assert count(browser) == min(unclear, 96)
    choose(browser, "verdict", "all")
    pair = browser.value("filters.elements.pair.options[1].value")
    choose(browser, "pair", pair)
    assert browser.value(f"{CARDS}.every((card) => card.dataset.pair === '{pair}')")
    label, teacher = map(int, pair.split("-"))
    index = audit.verdicts.index
    same = (audit.dataset.train.labels[index] == label) & (audit.logits.argmax(dim=1)[index] == teacher)
    assert count(browser) == int(same.sum())
    choose(browser, "pair", "all")
    choose(browser, "least", "60")
    sure = audit.logits.double().softmax(dim=1).amax(dim=1)[index] >= 0.6
    assert abs(count(browser) - min(96, int(sure.sum()))) <= 1
    assert browser.value(f"{CARDS}.every((card) => Number(card.dataset.confidence) >= 0.6)")


def test_orders(browser: Browser, audit: TeacherAudit) -> None:
    choose(browser, "order", "index")
    assert browser.value(f"{CARDS}.map((card) => Number(card.dataset.index))") == audit.verdicts.index[:96].tolist()
    choose(browser, "order", "teacher")
    wrong = browser.value(f"{CARDS}.map((card) => Number(card.dataset.wrong))")
    assert wrong == sorted(wrong)
    assert wrong[0] == pytest.approx(float(audit.verdicts.label_wrong.min()), abs=1e-3)


def test_the_keyboard_does_it_all(browser: Browser, audit: TeacherAudit) -> None:
    for number in range(3):
        browser.press(str(number + 1))
        assert count(browser) == min(96, int((audit.verdicts.at("likely") == number).sum()))
    browser.press("0")
    assert count(browser) == 96
    first = browser.value(f"{CARDS}.slice(0, 3).map((card) => card.dataset.index)")
    for key, place in (("j", 0), ("j", 1), ("ArrowRight", 2), ("k", 1)):
        browser.press(key)
        assert browser.value(f"{FOCUSED}.dataset.index") == first[place]
    browser.press("ArrowDown")
    assert browser.value(f"{CARDS}.indexOf({FOCUSED})") > 2
    browser.press("/")
    assert browser.value(f"{FOCUSED}.name") == "pair"
    browser.press("Escape")
    assert browser.value(f"{FOCUSED}.dataset.index") == first[0]
    for _ in range(100):
        browser.press("j")
    assert browser.value(f"{CARDS}.indexOf({FOCUSED})") == 100


def test_a_pair_of_the_table_opens_in_the_gallery(browser: Browser) -> None:
    browser.value("document.querySelector('a[data-pair]').click()")
    pair = browser.value("document.querySelector('a[data-pair]').dataset.pair")
    assert count(browser) > 0
    assert browser.value(f"{CARDS}.every((card) => card.dataset.pair === '{pair}')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(browser: Browser, scheme: str) -> None:
    assert barriers(browser, scheme) == []


def test_it_fits_a_phone_and_a_wide_window(browser: Browser) -> None:
    for width in (390, 1400):
        browser.resize(width)
        browser.wait_for(f"innerWidth === {width}")
        assert browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert browser.problems == []


def test_without_scripts_everything_is_shown(browser: Browser, audit: TeacherAudit) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(Path(browser.value("decodeURIComponent(location.pathname)")))
    visible = "[...document.querySelectorAll('%s')].filter((one) => one.offsetParent).length"
    assert browser.value(visible % ".disagreement") == len(audit.verdicts.index)
    assert browser.value(visible % ".fixed") == 3
    assert browser.value(visible % ".filters, #more, .live") == 0
