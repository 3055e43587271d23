"""The disagreements of an audit as cards: all of them, or a sample by verdict and pair of classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preceptor.audit import TeacherAudit
from preceptor.compare.format import PER_CENT
from preceptor.context import predicted_class
from preceptor.data import Dataset
from preceptor.reports.audit_charts import SHOWN
from preceptor.reports.chart import label
from preceptor.reports.images import PageImage, shown_pixels, thumbnail

MOST_CARDS = 1_200
"""Disagreements shown at most: with more, a page becomes too large to open."""

LETTERS = 32
"""Of a class's name on a card."""


@dataclass(frozen=True)
class Card:
    """A disagreement, ready for the page.

    Attributes:
        index: of the image in the training set.
        name: of its file, else its index.
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
    name: str
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
    pairs = (labels * audit.dataset.classes + answer)[verdicts.index]
    shown = sample(verdict.numpy(), pairs.numpy(), most)
    order = shown[np.argsort(-verdicts.label_wrong.numpy()[shown], kind="stable")]
    confidence = audit.logits.double().softmax(dim=1).amax(dim=1)
    opinion = predicted_class(audit.opinion.tables[0])
    names, files = [label(name, LETTERS) for name in audit.dataset.class_names], audit.dataset.train.names
    return [
        Card(
            index=index,
            name=str(index) if files is None else files[index],
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


def sample(verdict: NDArray[np.int64], pair: NDArray[np.int64], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Rows to show: as many of each verdict where there are so many, and in each verdict every pair by its share.

    Args:
        verdict: its number, shape [n].
        pair: the number of the two classes, shape [n].
        most: rows to choose at most; all if there are no more.
        seed: of the draw.
    """
    if len(verdict) <= most:
        return np.arange(len(verdict))
    random, chosen, room = np.random.default_rng(seed), [], most
    numbers, sizes = np.unique(verdict, return_counts=True)
    for left, place in enumerate(np.argsort(sizes, kind="stable")):
        count = min(int(sizes[place]), room // (len(numbers) - left))
        rows = random.permutation(np.flatnonzero(verdict == numbers[place]))
        # Evenly spaced in the order of the pairs: each gets its share, rounded up or down.
        rows = rows[np.argsort(pair[rows], kind="stable")]
        chosen.append(rows[((np.arange(count) + 0.5) * len(rows) / max(count, 1)).astype(np.int64)])
        room -= count
    return np.sort(np.concatenate(chosen))


def left_out(audit: TeacherAudit, shown: Sequence[Card]) -> str | None:
    """What the cards do not show, in words; None if they show everything."""
    verdict = audit.verdicts.at("likely")
    if len(shown) == len(verdict):
        return None
    parts = [
        f"{who}: {sum(card.verdict == number for card in shown):,} of {int((verdict == number).sum()):,}"
        for number, who in enumerate(SHOWN)
    ]
    return (
        f"{len(shown):,} of the {len(verdict):,} disagreements are shown, drawn at random by who is wrong "
        f"({', '.join(parts)}) and, in each of these, by pair of classes. audit.json has the verdicts on all."
    )


def percent_range(low: float, high: float) -> str:
    """A range of probabilities in whole per cent: "12 to 40 %", or "12 %"."""
    first, last = f"{100 * low:.0f}", f"{100 * high:.0f}"
    return f"{first if first == last else f'{first} to {last}'}{PER_CENT}"


def _image(dataset: Dataset, index: int) -> PageImage:
    return thumbnail(shown_pixels(dataset.train.images, index), f"image {index}")
