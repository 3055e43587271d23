"""The chart of an audit's page: who is wrong in which pair of classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from preceptor.audit import TeacherAudit
from preceptor.context import VERDICTS, predicted_class
from preceptor.reports.chart import label
from preceptor.reports.vega import LiveChart, chart_of, ink, names_axis, tooltip

MOST_PAIRS = 20
"""Pairs of classes in the chart, the most frequent."""

ROLES = ("wrong", "truth", "plain")
"""The colors of the verdicts: that of the side that is wrong, gray where it cannot be told."""

SHOWN = ("the teacher", "the label", "can't tell")
"""Who is wrong, in the order of the verdicts."""


@dataclass(frozen=True)
class ConfusedPair:
    """The disagreements of one label and one class of the teacher's.

    Attributes:
        label: the class's number.
        teacher: the number of the teacher's class.
        counts: by verdict.
        systematic: more frequent than other pairs by far.
    """

    label: int
    teacher: int
    counts: tuple[int, ...]
    systematic: bool

    @property
    def samples(self) -> int:
        """All of them."""
        return sum(self.counts)

    def name(self, names: Sequence[str], longest: int = 40) -> str:
        """Label and teacher's class in one line."""
        return f"{label(names[self.label], longest)} → {label(names[self.teacher], longest)}"


def pairs_of(audit: TeacherAudit) -> list[ConfusedPair]:
    """Every pair of classes on which teacher and label disagree, the most frequent first."""
    verdicts, classes = audit.verdicts, audit.dataset.classes
    labels, answer = audit.dataset.train.labels[verdicts.index], predicted_class(audit.logits)[verdicts.index]
    numbers, place = (labels * classes + answer).unique(return_inverse=True)
    counts = torch.zeros((len(numbers), len(VERDICTS)), dtype=torch.long)
    counts.index_put_((place, verdicts.at("likely")), torch.ones_like(place), accumulate=True)
    systematic = torch.zeros(len(numbers), dtype=torch.bool)
    systematic[place[verdicts.systematic]] = True
    rows = zip(numbers.tolist(), counts.tolist(), systematic.tolist(), strict=True)
    pairs = [ConfusedPair(number // classes, number % classes, tuple(count), often) for number, count, often in rows]
    return sorted(pairs, key=lambda pair: (-pair.samples, pair.label, pair.teacher))


def live_pairs(pairs: list[ConfusedPair], names: Sequence[str]) -> LiveChart:
    """The most frequent pairs as stacked bars of who is wrong."""
    shown = pairs[:MOST_PAIRS]
    alt = "Disagreements by label and teacher's class: " + ", ".join(
        f"{pair.name(names)} {pair.samples}" for pair in shown
    )
    wide, narrow = ([_marked(pair, names, letters) for pair in shown] for letters in (14, 7))
    values = [
        {"place": place, "label → teacher": pair.name(names), "wrong": who, "images": count, "order": number}
        for place, pair in enumerate(shown)
        for number, (who, count) in enumerate(zip(SHOWN, pair.counts, strict=True))
    ]

    encoding = {
        "y": names_axis(wide, narrow),
        "x": {
            "field": "images",
            "type": "quantitative",
            "title": None,
            "axis": {"tickMinStep": 1, "format": ",d"},
        },
        "color": {
            "field": "wrong",
            "type": "nominal",
            "scale": {"domain": list(SHOWN), "range": [ink(role) for role in ROLES]},
        },
        "order": {"field": "order", "type": "quantitative"},
        "tooltip": tooltip(*((name, "") for name in ("label → teacher", "wrong", "images"))),
    }
    mark = {"type": "bar", "height": {"band": 0.6}}
    return chart_of("pairs", alt, values, 24 * len(shown), mark=mark, encoding=encoding)


def _marked(pair: ConfusedPair, names: Sequence[str], longest: int) -> str:
    return pair.name(names, longest) + (" *" if pair.systematic else "")
