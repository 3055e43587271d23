"""The images on which the teacher was most confidently wrong, as cards with small bars."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from preceptor.compare.format import counted, probability
from preceptor.compare.result import ExampleImage
from preceptor.reports.images import PageImage, page_image

TOP = 3
"""Classes of the teacher's to show, beside the label."""


@dataclass(frozen=True)
class Bar:
    """The share of a class, or of several others, in a distribution.

    The width is in per cent of the full length, 0 for a share that is NaN; the role is a CSS class: "truth",
    "prediction" (the teacher's prediction), "other" or "rest".
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
    label: str
    prediction: str
    confidence: str
    distributions: list[ProbabilityBars]


def card(example: ExampleImage, class_names: Sequence[str], position: int) -> Card:
    """Prepare one example; ``position`` names it in an error.

    Raises:
        InputError: its pixels are not an image.
    """
    probs, label = example.teacher_probs, example.label
    # Classes by falling probability, ties to the smaller index, NaN last.
    ranked = sorted(range(len(probs)), key=lambda index: (math.isnan(probs[index]), -probs[index]))
    prediction = ranked[0]
    top = ranked[:TOP]
    classes = top if label in top else [*top, label]
    one_hot = [float(index == label) for index in range(len(class_names))]
    distributions = {"teacher": probs, "label": one_hot}
    distributions |= {name.replace("_", " "): probs for name, probs in example.corrected_probs.items()}
    return Card(
        image=page_image(example.pixels, f"example {position}"),
        label=class_names[label],
        prediction=class_names[prediction],
        confidence=probability(probs[prediction]),
        distributions=[
            ProbabilityBars(heading, _bars(shares, classes, class_names, {prediction: "prediction", label: "truth"}))
            for heading, shares in distributions.items()
        ],
    )


def _bars(
    shares: Sequence[float], classes: Sequence[int], class_names: Sequence[str], roles: dict[int, str]
) -> list[Bar]:
    bars = [_bar(class_names[index], shares[index], roles.get(index, "other")) for index in classes]
    others = [share for index, share in enumerate(shares) if index not in classes and not math.isnan(share)]
    return [*bars, _bar(counted(len(others), "other"), sum(others), "rest")] if others else bars


def _bar(name: str, share: float, role: str) -> Bar:
    width = 0.0 if math.isnan(share) else round(100 * min(max(share, 0.0), 1.0), 2)
    return Bar(name=name, number=probability(share), width=width, role=role)
