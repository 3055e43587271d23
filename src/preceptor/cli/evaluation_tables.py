"""The tables of ``preceptor evaluate``, for a terminal of 80 columns, in the order of the page."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from preceptor.cli.printing import table
from preceptor.reports.chart import label
from preceptor.run.evaluation_text import (
    NONE,
    agreement_rows,
    calibration_rows,
    decision_in_words,
    estimate_of_share,
    figure,
    headline,
    headline_intervals,
    intervals_in_words,
    outcome_rows,
    outcomes_in_words,
    sets_in_words,
    size_in_words,
    size_rows,
)

if TYPE_CHECKING:
    from rich.table import Table

    from preceptor.metrics import FullReport
    from preceptor.metrics.report import SelectiveReport
    from preceptor.run.evaluation import Evaluation

MOST_CLASSES = 30
"""Classes shown, the worst ones; the page shows more."""
MOST_CONFUSIONS = 5
LETTERS = 30
"""Of a class's name, whose middle is left out beyond."""
WIDTH = 80


def lines(evaluation: "Evaluation") -> Iterator["str | Table"]:
    """Everything that was measured, with intervals in brackets."""
    report = evaluation.report
    yield from _wrapped(f"{headline(evaluation)}. {headline_intervals(evaluation)}")
    if report.top5_accuracy is not None:
        yield from _wrapped(f"Among its first five classes: {estimate_of_share(report.top5_accuracy)}.")
    yield from _beside_teacher(evaluation)
    yield from _errors(evaluation)
    short = ("", "parameters", "multiply-adds", "images/s", "in batches")
    rows = [(label(name, 20), *values) for name, values in size_rows(evaluation)]
    yield from _table(short, rows, f"Size, and speed on {evaluation.device}")
    yield from _wrapped(size_in_words(evaluation))
    headings = ["", "as they are"]
    if report.scaled is not None:
        headings.append(f"at T = {report.scaled.fit.temperature:.3g}")
    yield from _table(headings, [(name, *values) for name, values in calibration_rows(report)], "Calibration")
    if report.scaled is not None:
        yield f"The temperature was fitted on {evaluation.held_out:,} held-out images."
    yield from _abstaining(report)
    for words in (decision_in_words(evaluation), sets_in_words(evaluation)):
        yield from _wrapped(words or "")
    yield from _wrapped(intervals_in_words(report))


def _beside_teacher(evaluation: "Evaluation") -> Iterator["str | Table"]:
    agreement = evaluation.report.agreement
    if agreement is None:
        yield from _wrapped(f"Not compared with a teacher: {evaluation.no_teacher}.")
        return
    rows = [(name, *cells) for name, cells in outcome_rows(agreement.outcomes)]
    yield from _table(("", "student right", "student wrong"), rows, f"Student and its teacher, {evaluation.teacher}")
    for name, sentence in outcomes_in_words(agreement.outcomes):
        yield from _wrapped(f"{name}: {sentence}")
    yield from _table(("", "value"), agreement_rows(evaluation.report))


def _errors(evaluation: "Evaluation") -> Iterator["str | Table"]:
    report, names = evaluation.report, evaluation.data.card.class_names
    worst = sorted(report.per_class, key=lambda part: 2.0 if part.accuracy.value is None else part.accuracy.value)
    rows = [
        (
            label(part.name, LETTERS),
            f"{part.n:,}",
            "no images" if part.accuracy.value is None else estimate_of_share(part.accuracy),
        )
        for part in worst[:MOST_CLASSES]
    ]
    yield from _table(("class", "images", "right"), rows, "By class, the worst first")
    if len(worst) > MOST_CLASSES:
        yield f"and {len(worst) - MOST_CLASSES} more classes"
    for one in report.confusions[:MOST_CONFUSIONS]:
        taken = f"{label(names[one.label], LETTERS)} taken for {label(names[one.prediction], LETTERS)}"
        yield from _wrapped(f"{taken}: {one.count:,} images ({estimate_of_share(one.share, 1)})")


def _abstaining(report: "FullReport") -> Iterator["str | Table"]:
    main = next(one for one in report.selective if one.score == report.main_score)
    rows = [
        ("error at 90 % coverage", estimate_of_share(main.error_at_coverage["90"])),
        ("error at 80 % coverage", estimate_of_share(main.error_at_coverage["80"])),
        ("coverage at risk 2 %", estimate_of_share(main.coverage_at_risk["2"])),
        ("AURC", estimate_of_share(main.aurc)),
        ("AUROC", figure(main.auroc, 3)),
    ]
    yield from _table(("", "value"), rows, f"Abstaining on what it is least sure of, by {_name(main)}")
    others = [one for one in report.selective if one is not main]
    if others:
        yield from _table(
            ("other scores", "AURC", "AUROC", "error at 90 %"),
            [
                (
                    _name(one),
                    estimate_of_share(one.aurc.value),
                    NONE if one.auroc.value is None else f"{one.auroc.value:.3f}",
                    estimate_of_share(one.error_at_coverage["90"].value),
                )
                for one in others
            ],
        )


def _name(one: "SelectiveReport") -> str:
    return one.score + "".join(f" {key}={value:g}" for key, value in one.options.items())


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> Iterator["str | Table"]:
    yield from ("", title) if title else ()
    yield table(heading, [[_plain(cell) for cell in row] for row in rows])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(_plain(text), width=WIDTH, break_on_hyphens=False)


def _plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")
