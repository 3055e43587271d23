"""What a student guarantees, in words."""

from collections.abc import Iterator
from pathlib import Path

from preceptor.metrics import ClassGuarantees, NoGuarantee, RiskGuarantee, samples_needed
from preceptor.models import CalibrationSet, Decision, ModelCard, SetDecision
from preceptor.models.store import CARD_FILE
from preceptor.run.calibration import Calibration

_PARTS = {"held_out": "held-out images", "test": "test images", "all": "images"}


def lines_about(run: Path, found: Calibration) -> Iterator[str]:
    """What a calibration that could be guaranteed came to."""
    before, card = found.before, found.card
    yield f"calibrated on {_set_in_words(found.source)}"
    if card.decision is not None and card.decision is not before.decision:
        yield f"guaranteed: {_errors_promised(card.decision)}"
        yield f"  {_when_answered(card.decision)}"
        if isinstance(found.found, ClassGuarantees):
            yield from _by_class(card, found.found)
    if card.sets is not None and card.sets is not before.sets:
        yield f"guaranteed: {_misses_promised(card.sets)}"
    yield from (f"note: {note}" for note in found.notes)
    if before.decision is not None and card.decision is not before.decision:
        yield f"replaced: {_errors_promised(before.decision)}; {_calibrated(before.decision)}"
    if before.sets is not None and card.sets is not before.sets:
        yield f"replaced: {_misses_promised(before.sets)}; {_calibrated(before.sets)}"
    yield f"stored in {run / CARD_FILE}"


def promises_of(card: ModelCard) -> list[str]:
    """What a card guarantees, a line each."""
    lines = []
    if card.decision is not None:
        lines.append(f"{_errors_promised(card.decision)}; {_calibrated(card.decision)}")
    if card.sets is not None:
        lines.append(f"{_misses_promised(card.sets)}; {_calibrated(card.sets)}")
    return lines


def why_not(found: Calibration) -> str:
    """Why a risk cannot be guaranteed, what could be instead, and what to do; one line."""
    failed = found.found
    assert isinstance(failed, (NoGuarantee, ClassGuarantees))
    asked = f"at most {failed.max_risk:.2%} errors with {1 - failed.delta:.2%} confidence"
    where = f"on these {_set_in_words(found.source)}"
    single = failed if isinstance(failed, NoGuarantee) else _nearest(failed)
    instead = (
        f"the least that could be guaranteed was {single.lowest_bound:.2%}, where {single.coverage:.2%} are answered"
    )
    if isinstance(failed, ClassGuarantees):
        instead = f"of all classes, {instead} of those predicted for one"
    return f"{asked}: cannot be guaranteed {where}: {instead}; {_what_to_do(single)}; nothing was changed"


def _nearest(failed: ClassGuarantees) -> NoGuarantee:
    return min((one for one in failed.classes if isinstance(one, NoGuarantee)), key=lambda one: one.lowest_bound)


def _what_to_do(failed: NoGuarantee) -> str:
    needed = samples_needed(failed.max_risk, failed.delta)
    if failed.samples < needed:
        return (
            f"even without an error that takes {needed:,} images rather than {failed.samples:,}: give more with --data"
        )
    return "calibrate on more images (--data), allow a higher --max-risk, or teach the student better"


def _by_class(card: ModelCard, found: ClassGuarantees) -> Iterator[str]:
    width = max(len(name) for name in card.class_names)
    for name, guarantee in zip(card.class_names, found.classes, strict=True):
        if isinstance(guarantee, RiskGuarantee):
            answered = f"{guarantee.covered:,} of {guarantee.samples:,} answered, {guarantee.errors:,} of them wrong"
            yield f"  {name:<{width}}  from {guarantee.threshold:.6g} on: {answered}"
        else:
            could = f"{guarantee.lowest_bound:.2%} is the least that {guarantee.samples:,} images could guarantee"
            yield f"  {name:<{width}}  never: {could if guarantee.samples else 'no image was taken for one'}"


def _errors_promised(decision: Decision) -> str:
    text = f"at most {decision.max_risk:.2%} errors among its answers, with {decision.confidence:.2%} confidence"
    if decision.class_thresholds is None:
        return text
    return f"{text}, for {'all classes at once' if decision.joint else 'each class by itself'}"


def _when_answered(decision: Decision) -> str:
    options = "".join(f", {name} {value:g}" for name, value in decision.options.items())
    limit = "the threshold of the class" if decision.threshold is None else f"{decision.threshold:.6g}"
    found = f"{decision.coverage:.2%} of these images, {decision.risk or 0:.2%} of them wrongly"
    return f"it answers where {decision.score.replace('_', ' ')}{options} is at least {limit}: {found}"


def _misses_promised(sets: SetDecision) -> str:
    return f"prediction sets ({sets.method}) that miss the class of at most {sets.alpha:.2%} of new images on average"


def _calibrated(decision: Decision | SetDecision) -> str:
    return f"calibrated on {_set_in_words(decision.calibrated_on)}"


def _set_in_words(source: CalibrationSet) -> str:
    return f"{source.samples:,} {_PARTS[source.part]} of {source.data}"
