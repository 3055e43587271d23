"""The disagreements of an audit as cards: all of them, or a sample in which no pair of classes is missing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from preceptor.audit import TeacherAudit
from preceptor.audit.verdicts import VERDICTS
from preceptor.compare.format import PER_CENT
from preceptor.context import predicted_class
from preceptor.data import Dataset
from preceptor.reports.audit_charts import SHOWN
from preceptor.reports.images import PageImage, thumbnail
from preceptor.reports.svg import label

MOST_CARDS = 1_200
"""Disagreements shown at most: with more, a page becomes too large to open."""

LETTERS = 32
"""Of a class's name on a card."""


@dataclass(frozen=True)
class Card:
    """A disagreement, ready for the page.

    Attributes:
        index: of the image in the training set.
        image: small.
        label: name of the given class.
        teacher: name of the teacher's class.
        confidence: the teacher's, 0 to 1.
        opinion: name of the second opinion's class.
        verdict: who is wrong, by its number.
        wrong: in words.
        probability: that the label is wrong, in words.
        label_wrong: the middle of that range, to sort by.
        pair: label and teacher's class by their numbers, to filter by.
    """

    index: int
    image: PageImage
    label: str
    teacher: str
    confidence: float
    opinion: str
    verdict: int
    wrong: str
    probability: str
    label_wrong: float
    pair: str


def cards(audit: TeacherAudit, most: int = MOST_CARDS) -> list[Card]:
    """A card for each disagreement, the likeliest label errors first.

    Args:
        audit: whose disagreements.
        most: of more, a sample is shown, see :func:`sample`.
    """
    verdicts, labels = audit.verdicts, audit.dataset.train.labels
    answer, verdict = predicted_class(audit.logits), verdicts.at("likely")
    strata = torch.stack([verdict, labels[verdicts.index], answer[verdicts.index]], dim=1)
    shown = sample(strata.numpy(), most)
    order = shown[np.argsort(-verdicts.label_wrong.numpy()[shown], kind="stable")]
    confidence = audit.logits.double().softmax(dim=1).amax(dim=1)
    opinion = predicted_class(audit.opinion.tables[0])
    names = [label(name, LETTERS) for name in audit.dataset.class_names]
    return [
        Card(
            index=index,
            image=_image(audit.dataset, index),
            label=names[labels[index]],
            teacher=names[answer[index]],
            confidence=float(confidence[index]),
            opinion=names[opinion[index]],
            verdict=int(verdict[place]),
            wrong=SHOWN[int(verdict[place])],
            probability=percent_range(float(verdicts.label_wrong_low[place]), float(verdicts.label_wrong_high[place])),
            label_wrong=float(verdicts.label_wrong[place]),
            pair=f"{int(labels[index])}-{int(answer[index])}",
        )
        for place, index in zip(order.tolist(), verdicts.index[order].tolist(), strict=True)
    ]


def sample(strata: NDArray[np.int64], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Rows to show: all if they are few, else at least one a stratum and of each stratum about the same share.

    Args:
        strata: a row a disagreement, shape [n, k]; equal rows are one stratum.
        most: rows to choose at most. With more strata than that, the largest are shown, by one row each.
        seed: of the draw.
    """
    count = len(strata)
    if count <= most:
        return np.arange(count)
    _, place, sizes = np.unique(strata, axis=0, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    order = np.random.default_rng(seed).permutation(count)
    order = order[np.argsort(place[order], kind="stable")]  # by stratum, in each of them at random
    starts = np.cumsum(sizes) - sizes
    number = np.arange(count) - starts[place[order]]
    size = sizes[place[order]]
    # The first of every stratum comes before all others, that of a large stratum earlier.
    turn = np.where(number == 0, -size, (number + 0.5) / size)
    return np.sort(order[np.argsort(turn, kind="stable")[:most]])


def left_out(audit: TeacherAudit, shown: Sequence[Card]) -> str | None:
    """What the cards do not show, in words; None if they show everything."""
    verdict = audit.verdicts.at("likely")
    if len(shown) == len(verdict):
        return None
    parts = [
        f"{sum(card.verdict == number for card in shown):,} of {int((verdict == number).sum()):,} with the verdict "
        f"“{SHOWN[number]}”"
        for number in range(len(VERDICTS))
    ]
    return (
        f"{len(shown):,} of {len(verdict):,} disagreements are shown, drawn at random from every pair of classes and "
        f"verdict, at least one of each where there is room: {', '.join(parts)}. audit.json has the verdict on all."
    )


def percent_range(low: float, high: float) -> str:
    """A range of probabilities in whole per cent: "12 to 40 %", or "12 %"."""
    first, last = f"{100 * low:.0f}", f"{100 * high:.0f}"
    return f"{first if first == last else f'{first} to {last}'}{PER_CENT}"


def _image(dataset: Dataset, index: int) -> PageImage:
    pixels = dataset.train.images[index].numpy()
    # Gray or red, green and blue, channels last; of other numbers of channels the first.
    return thumbnail(pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0], f"image {index}")
