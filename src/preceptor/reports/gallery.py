"""The images on which the teacher was most confidently wrong, as cards with small bars."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from preceptor.reports.images import PageImage, page_image
from preceptor.studies.format import counted, probability
from preceptor.studies.result import ExampleImage

TOP = 3
"""Classes of the teacher's to show, beside the truth."""


@dataclass(frozen=True)
class Bar:
    """One class's share of a distribution.

    Args:
        name: the class, or how many others are summed up.
        number: the share in words.
        width: of the bar, per cent of the full length; 0 for a share that is NaN.
        role: "truth", "said" (the class the teacher named), or "other".
    """

    name: str
    number: str
    width: float
    role: str


@dataclass(frozen=True)
class ProbabilityBars:
    """A distribution over classes under a heading."""

    heading: str
    bars: list[Bar]


@dataclass(frozen=True)
class Card:
    """An example, ready for the page."""

    image: PageImage
    truth: str
    said: str
    confidence: str
    signals: list[ProbabilityBars]


def card(example: ExampleImage, class_names: Sequence[str], position: int) -> Card:
    """Prepare one example; ``position`` names it in an error.

    Raises:
        InputError: its pixels are not an image.
    """
    ranked = _ranked(example.said)
    shown = _shown(ranked, example.truth)
    one_hot = [float(index == example.truth) for index in range(len(class_names))]
    distributions = {"the teacher": example.said, "the truth": one_hot}
    distributions |= {name.replace("_", " "): target for name, target in example.targets.items()}
    said = ranked[0]
    return Card(
        image=page_image(example.pixels, f"example {position}"),
        truth=class_names[example.truth],
        said=class_names[said],
        confidence=probability(example.said[said]),
        signals=[
            ProbabilityBars(heading, _bars(shares, shown, class_names, example.truth, said))
            for heading, shares in distributions.items()
        ],
    )


def _ranked(shares: Sequence[float]) -> list[int]:
    """Classes by falling share, ties to the smaller index, NaN last."""
    return sorted(range(len(shares)), key=lambda index: (math.isnan(shares[index]), -shares[index]))


def _shown(ranked: Sequence[int], truth: int) -> list[int]:
    top = list(ranked[:TOP])
    return top if truth in top else [*top, truth]


def _bars(
    shares: Sequence[float], shown: Sequence[int], class_names: Sequence[str], truth: int, said: int
) -> list[Bar]:
    roles = {said: "said", truth: "truth"}
    bars = [_bar(class_names[index], shares[index], roles.get(index, "other")) for index in shown]
    others = [share for index, share in enumerate(shares) if index not in shown and not math.isnan(share)]
    return [*bars, _bar(counted(len(others), "other"), sum(others), "rest")] if others else bars


def _bar(name: str, share: float, role: str) -> Bar:
    width = 0.0 if math.isnan(share) else round(100 * min(max(share, 0.0), 1.0), 2)
    return Bar(name=name, number=probability(share), width=width, role=role)
