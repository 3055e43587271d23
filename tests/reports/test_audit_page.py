"""The page of an audit, as HTML: what it says, that it is safe, and that it is small."""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preceptor.audit import TeacherAudit, plain
from preceptor.context import VERDICTS
from preceptor.reports.audit_charts import pairs_of
from preceptor.reports.audit_gallery import MOST_CARDS, cards, percent_range, sample
from preceptor.reports.audit_page import audit_page, headline, write_audit_page
from tests.reports.audits import made_audit, with_names
from tests.reports.page import Page

HOSTILE = ("<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", '"];alert(1)//', "'{{7*7}}")
MOST_BYTES = 10_000_000


@pytest.fixture(scope="module")
def audit() -> TeacherAudit:
    return made_audit("0123456789", 500, tables=2, teacher_accuracy=0.9, members=2, unlabeled=20)


@pytest.fixture(scope="module")
def html(audit: TeacherAudit) -> str:
    return audit_page(audit)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def text_of(page: Page) -> str:
    """What a reader sees, with a space between two elements."""
    return " ".join(" ".join(data for tag, data in page.pieces if tag not in ("style", "script")).split())


def test_its_numbers_are_those_of_the_audit(audit: TeacherAudit, page: Page) -> None:
    found, text = plain(audit), text_of(page)
    accuracy = found["report"]["accuracy"]
    low, high = 100 * accuracy["low"], 100 * accuracy["high"]
    assert f"label of {100 * accuracy['value']:.2f} % ({low:.2f} to {high:.2f}) of 480 images" in text
    counts = found["verdicts"]["likely"]
    assert f"on {len(audit.verdicts.index)} the two disagree" in text
    assert f"the label on {counts['wrong_label']}, the teacher on {counts['wrong_teacher']}" in text
    assert f"on {counts['ambiguous']} it can't be told" in text
    for who, verdict in zip(("the teacher", "the label", "can't tell"), VERDICTS, strict=True):
        assert f"{who} {found['verdicts']['sure'][verdict]} {counts[verdict]}" in text
    for effect in found["effects"]:
        assert f"{effect['name'].replace('_', ' ')} {effect['samples']} " in text
    assert f"doubts {found['issues']['teacher']} labels by the teacher" in text
    assert found["advice"]["recipe"] in text
    assert found["advice"]["reason"] in text
    assert audit.data_fingerprint in text
    assert "teacher-1 80.00 % 80.00 % 2.50" in text
    assert "epochs of training count as a witness" in text
    assert page.left_open == []


def test_pairs_are_those_of_the_audit(audit: TeacherAudit) -> None:
    names = audit.dataset.class_names
    listed = {(pair["label"], pair["teacher"]): pair["samples"] for pair in plain(audit)["pairs"]}
    pairs = pairs_of(audit)
    assert {(names[pair.label], names[pair.teacher]): pair.samples for pair in pairs} == listed
    assert [pair.samples for pair in pairs] == sorted(listed.values(), reverse=True)
    verdict = audit.verdicts.at("likely")
    for number in range(len(VERDICTS)):
        assert sum(pair.counts[number] for pair in pairs) == int((verdict == number).sum())


def test_systematic_pairs_are_marked(audit: TeacherAudit, page: Page) -> None:
    label = audit.dataset.train.labels[audit.verdicts.index]
    marked = dataclasses.replace(
        audit, verdicts=dataclasses.replace(audit.verdicts, systematic=label == 3), effects=[], members=[]
    )
    assert {pair.label for pair in pairs_of(marked) if pair.systematic} == {3}
    marks = [text for tag, text in Page(audit_page(marked)).pieces if text == "systematic"]
    assert len(marks) == sum(pair.label == 3 for pair in pairs_of(marked))
    assert "No pair is systematic" in text_of(page)


def test_the_gallery_shows_every_disagreement(audit: TeacherAudit, page: Page) -> None:
    shown = [one for one in page.all("li") if one.get("class") == "disagreement"]
    assert sorted(int(one["data-index"]) for one in shown) == audit.verdicts.index.tolist()
    probability = dict(zip(audit.verdicts.index.tolist(), audit.verdicts.label_wrong.tolist(), strict=True))
    assert [one["alt"] for one in page.all("img")] == [f"image {one['data-index']}" for one in shown]
    order = [probability[int(one["data-index"])] for one in shown]
    assert order == sorted(order, reverse=True)
    assert len([one for one in page.all("img") if one["src"].startswith("data:image/")]) == len(shown)
    assert "disagreements are shown" not in text_of(page)


def test_it_loads_nothing_and_runs_its_own_scripts_only(page: Page, html: str) -> None:
    addresses = page.values("src") + page.values("href")
    assert all(address.startswith(("data:", "#")) for address in addresses)
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    script_sources = policy.partition("script-src ")[2]
    assert "unsafe-inline" not in script_sources
    assert script_sources.count("'sha256-") == 5
    assert "sourceMappingURL" not in html
    assert not re.search(r"@import|url\(", html.partition("</style>")[0])


def test_names_from_data_are_escaped(audit: TeacherAudit) -> None:
    hostile = with_names(audit, [*HOSTILE, *(name * 200 for name in "abcdef")])
    hostile = dataclasses.replace(hostile, teacher=HOSTILE[0], warnings=[HOSTILE[1]])
    html = audit_page(hostile)
    page = Page(html)
    assert all(name not in html for name in HOSTILE[:2])
    assert HOSTILE[0] in page.text
    assert len(page.all("script")) == 3 + 5
    assert page.values("onerror") == []
    for chart in re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL):
        json.loads(chart)
    assert "a" * 60 not in page.text


@pytest.mark.parametrize(
    ("names", "samples", "options"),
    [
        pytest.param("01", 60, {"teacher_errors": 0.2}, id="two classes"),
        pytest.param("01", 60, {"teacher_errors": 0, "label_errors": 0}, id="no disagreement"),
        pytest.param("abc", 200, {"gold": True, "unlabeled": 150}, id="gold, few labels"),
        pytest.param("abc", 90, {"shape": (4, 9, 5)}, id="four channels"),
        pytest.param([f"class {number}" for number in range(60)], 120, {}, id="many classes"),
    ],
)
def test_whatever_the_data(names: Sequence[str], samples: int, options: dict[str, Any]) -> None:
    audit = made_audit(names, samples, **options)
    page = Page(audit_page(audit))
    assert page.left_open == []
    shown = [one for one in page.all("li") if one.get("class") == "disagreement"]
    assert len(shown) == len(audit.verdicts.index)
    if not shown:
        assert "there is no disagreement to judge" in headline(audit)
        assert "agree on every labeled image" in page.text


def test_a_large_page_stays_small_and_says_what_it_leaves_out() -> None:
    audit = made_audit([f"class_{number}" for number in range(40)], 1500, teacher_errors=0.9, shape=(3, 64, 64))
    assert len(audit.verdicts.index) > MOST_CARDS
    html = audit_page(audit)
    assert len(html.encode()) < MOST_BYTES
    shown = cards(audit)
    assert len(shown) == MOST_CARDS
    text = text_of(Page(html))
    assert f"1,200 of the {len(audit.verdicts.index):,} disagreements are shown" in text
    for number, who in enumerate(("the teacher", "the label", "can't tell")):
        of = int((audit.verdicts.at("likely") == number).sum())
        assert f"{who}: {sum(card.verdict == number for card in shown):,} of {of:,}" in text


def test_a_sample_is_even_by_verdict_and_by_pair() -> None:
    verdict = np.repeat([0, 1, 2], [5, 6000, 3000])
    pair = np.concatenate([np.zeros(5, int), np.repeat([1, 2], [4000, 2000]), np.zeros(3000, int)])
    rows = sample(verdict, pair, 1205)
    assert len(set(rows.tolist())) == 1205
    assert np.bincount(verdict[rows]).tolist() == [5, 600, 600]
    assert np.bincount(pair[rows][verdict[rows] == 1]).tolist() == [0, 400, 200]
    assert sample(verdict, pair, 20_000).tolist() == list(range(9005))


@pytest.mark.parametrize(("low", "high", "words"), [(0.1, 0.4, "10 to 40"), (0.5, 0.501, "50"), (0, 1, "0 to 100")])
def test_ranges_in_words(low: float, high: float, words: str) -> None:
    assert percent_range(low, high) == f"{words}\N{NO-BREAK SPACE}%"


def test_it_is_written_whole(audit: TeacherAudit, html: str, tmp_path: Path) -> None:
    write_audit_page(audit, tmp_path / "new" / "audit.html")
    assert (tmp_path / "new" / "audit.html").read_text() == html
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["audit.html"]


def test_images_of_a_folder_are_named_by_their_files(audit: TeacherAudit) -> None:
    files = tuple(f"train/{number}.png" for number in range(len(audit.dataset.train)))
    dataset = dataclasses.replace(audit.dataset, train=dataclasses.replace(audit.dataset.train, names=files))
    page = Page(audit_page(dataclasses.replace(audit, dataset=dataset)))
    assert {one["alt"] for one in page.all("img")} == {f"image {files[index]}" for index in audit.verdicts.index}
