"""The tables of ``preceptor evaluate``."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from preceptor.run.evaluation_text import (
    agreement_rows,
    calibration_rows,
    decision_in_words,
    estimate_of_share,
    intervals_in_words,
    sets_in_words,
)

if TYPE_CHECKING:
    from preceptor.metrics import FullReport
    from preceptor.run.evaluation import Evaluation

MOST_CLASSES = 30
"""Classes shown, the worst ones; the page shows all."""

MOST_CONFUSIONS = 5


def show_tables(evaluation: "Evaluation") -> None:
    """Print everything that was measured, with intervals in brackets."""
    report = evaluation.report
    facts = {"accuracy": report.accuracy, "top-5": report.top5_accuracy, "mean confidence": report.mean_confidence}
    known = [(name, estimate_of_share(estimate)) for name, estimate in facts.items() if estimate is not None]
    _table("", ("", "value"), known)
    headings = ["", "as they are"]
    if report.scaled is not None:
        headings.append(f"at T = {report.scaled.fit.temperature:.3g} (of {evaluation.held_out:,} held out)")
    rows = [(name, *values) for name, values in calibration_rows(report)]
    _table("Whether its probabilities are what they claim", headings, rows)
    _table("When it may abstain on what it is least sure of", *_abstaining(report))
    for words in (decision_in_words(evaluation), sets_in_words(evaluation)):
        if words is not None:
            print(_wrapped(words))
    if report.agreement is not None:
        _table(f"Beside its teacher, {evaluation.teacher}", ("", "value"), agreement_rows(report))
    else:
        print(_wrapped(f"Not compared with a teacher: {evaluation.no_teacher}."))
    _table("By class, the worst first", ("class", "images", "right"), _classes(report))
    if len(report.per_class) > MOST_CLASSES:
        print(f"and {len(report.per_class) - MOST_CLASSES} more classes")
    names = evaluation.data.card.class_names
    for one in report.confusions[:MOST_CONFUSIONS]:
        taken = f"{one.count:,} images of {names[one.label]} are taken for {names[one.prediction]}"
        print(f"{taken} ({estimate_of_share(one.share, 1)} of the class)")
    print(_wrapped(intervals_in_words(report)))


def _abstaining(report: "FullReport") -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    headings = ("score", "AURC", "AUGRC", "AUROC", "error at 90 %", "error at 80 %", "coverage at risk 2 %")
    rows: list[tuple[str, ...]] = [
        (
            one.score + "".join(f" {key}={value:g}" for key, value in one.options.items()),
            estimate_of_share(one.aurc),
            estimate_of_share(one.augrc.value),
            "–" if one.auroc.value is None else f"{one.auroc.value:.3f}",
            estimate_of_share(one.error_at_coverage["90"].value),
            estimate_of_share(one.error_at_coverage["80"].value),
            estimate_of_share(one.coverage_at_risk["2"].value),
        )
        for one in report.selective
    ]
    return headings, rows


def _classes(report: "FullReport") -> list[tuple[str, ...]]:
    worst = sorted(report.per_class, key=lambda part: 2.0 if part.accuracy.value is None else part.accuracy.value)
    return [
        (part.name, f"{part.n:,}", "no images" if part.accuracy.value is None else estimate_of_share(part.accuracy))
        for part in worst[:MOST_CLASSES]
    ]


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(title=title or None, title_justify="left")
    for place, heading in enumerate(headings):
        table.add_column(Text(heading), overflow="fold", justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, width=110)
