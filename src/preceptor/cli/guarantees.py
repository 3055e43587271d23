"""A student's guarantees in words."""

import math
from collections.abc import Iterator
from pathlib import Path

from preceptor.metrics import ClassGuarantees, NoGuarantee, RiskGuarantee, samples_needed
from preceptor.models import CalibrationSet, Decision, ModelCard, SetDecision
from preceptor.models.store import CARD_FILE
from preceptor.run.calibration import Calibration

_PARTS = {"held_out": "held-out images", "test": "test images", "all": "images"}


def lines_about(run: Path, calibration: Calibration) -> Iterator[str]:
    """The result of a calibration whose targets are guaranteed."""
    before, card = calibration.before, calibration.card
    yield f"calibrated on {_images_in_words(calibration.source)}"
    if card.decision is not None and card.decision is not before.decision:
        yield f"guaranteed: {_risk_in_words(card.decision)}"
        yield f"  {_threshold_in_words(card.decision)}"
        if isinstance(calibration.guarantee, ClassGuarantees):
            yield from _by_class(card, calibration.guarantee)
    if card.sets is not None and card.sets is not before.sets:
        yield f"guaranteed: {_sets_in_words(card.sets)}"
    yield from (f"note: {note}" for note in calibration.notes)
    if before.decision is not None and card.decision is not before.decision:
        yield f"replaced: {_risk_in_words(before.decision)}; {_calibrated(before.decision)}"
    if before.sets is not None and card.sets is not before.sets:
        yield f"replaced: {_sets_in_words(before.sets)}; {_calibrated(before.sets)}"
    yield f"stored in {run / CARD_FILE}"


def guarantees_of(card: ModelCard) -> list[str]:
    """The guarantees on a card, a line each."""
    lines = []
    if card.decision is not None:
        lines.append(f"{_risk_in_words(card.decision)}; {_calibrated(card.decision)}")
    if card.sets is not None:
        lines.append(f"{_sets_in_words(card.sets)}; {_calibrated(card.sets)}")
    return lines


def why_not(calibration: Calibration) -> str:
    """Why a risk cannot be guaranteed, which one could be, and what to do; one line."""
    failed = calibration.guarantee
    assert isinstance(failed, (NoGuarantee, ClassGuarantees))
    target = f"at most {failed.max_risk:.2%} errors with {1 - failed.delta:.2%} confidence"
    images = f"on these {_images_in_words(calibration.source)}"
    nearest, of_class = failed, ""
    if isinstance(failed, ClassGuarantees):
        nearest = min((one for one in failed.classes if isinstance(one, NoGuarantee)), key=lambda one: one.lowest_bound)
        of_class = ", for one of the classes"
    assert isinstance(nearest, NoGuarantee)
    # Rounded up: a guarantee needs a bound strictly below the risk.
    possible = math.floor(1000 * nearest.lowest_bound + 1) / 1000
    instead = "no risk can be guaranteed"
    if possible < 1:
        instead = f"--max-risk {possible:g} can be guaranteed{of_class}, answering at least {nearest.coverage:.2%}"
    needed = samples_needed(nearest.max_risk, nearest.delta)
    cure = "calibrate on more images (--data), or train the student better"
    if nearest.samples < needed:
        cure = f"this risk takes at least {needed:,} images even without an error, not {nearest.samples:,}: add --data"
    return f"{target} cannot be guaranteed {images}; {instead}; {cure}; nothing was changed"


def _by_class(card: ModelCard, guarantees: ClassGuarantees) -> Iterator[str]:
    width = max(len(name) for name in card.class_names)
    for name, guarantee in zip(card.class_names, guarantees.classes, strict=True):
        if isinstance(guarantee, RiskGuarantee):
            answered = f"{guarantee.covered:,} of {guarantee.samples:,} answered, {guarantee.errors:,} of them wrong"
            yield f"  {name:<{width}}  from {guarantee.threshold:.6g} on: {answered}"
        else:
            possible = f"{guarantee.lowest_bound:.2%} is the least that {guarantee.samples:,} images could guarantee"
            yield f"  {name:<{width}}  never: {possible if guarantee.samples else 'no image was predicted as one'}"


def _risk_in_words(decision: Decision) -> str:
    text = f"at most {decision.max_risk:.2%} errors among its answers, with {decision.confidence:.2%} confidence"
    if decision.class_thresholds is None:
        return text
    return f"{text}, for {'all classes at once' if decision.joint else 'each class by itself'}"


def _threshold_in_words(decision: Decision) -> str:
    options = "".join(f", {name} {value:g}" for name, value in decision.options.items())
    limit = "the threshold of the class" if decision.threshold is None else f"{decision.threshold:.6g}"
    outcome = f"{decision.coverage:.2%} of these images, {decision.risk or 0:.2%} of them wrongly"
    return f"it answers where {decision.score.replace('_', ' ')}{options} is at least {limit}: {outcome}"


def _sets_in_words(sets: SetDecision) -> str:
    return f"prediction sets ({sets.method}) that miss the class of at most {sets.alpha:.2%} of new images on average"


def _calibrated(decision: Decision | SetDecision) -> str:
    return f"calibrated on {_images_in_words(decision.calibrated_on)}"


def _images_in_words(source: CalibrationSet) -> str:
    return f"{source.samples:,} {_PARTS[source.part]} of {source.data}"
