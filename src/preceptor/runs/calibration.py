"""Calibrates a student on its card: when it answers, or with which classes, and what that promises."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from preceptor.errors import InputError
from preceptor.evaluation import Answers, ClassPromises, NoPromise, Outcome, Promise, Wish, decide, decide_sets
from preceptor.evaluation.checks import finite_number
from preceptor.evaluation.conformal import Method
from preceptor.evaluation.logits import network_logits
from preceptor.models import CalibrationSet, ModelCard, SetDecision, load_student, save_card
from preceptor.runs.untouched import Given, untouched_images
from preceptor.training.device import choose_device

LEAST_SHARE = 1e-9
"""Of errors, to be promised: it would take billions of images."""


@dataclass(frozen=True)
class SetWish:
    """What is to be promised of prediction sets; see :func:`preceptor.evaluation.calibrate_sets`.

    Attributes:
        method: "lac", "aps" or "raps". Default "lac".
        alpha: share of new images whose class a set may miss. Default 0.1.
        penalty: raps only. Default 0.01.
        free_ranks: raps only. Default 5.
    """

    method: Method = "lac"
    alpha: float = 0.1
    penalty: float = 0.01
    free_ranks: int = 5


@dataclass(frozen=True)
class Calibration:
    """What a calibration came to.

    Attributes:
        before: the card as it was.
        card: as it is now; the same where not all that was asked for can be promised.
        promised: whether it can, and is on the card.
        found: the promise about errors, or what could have been promised instead; None where none was asked for.
        source: the images it was done on.
        notes: what to bear in mind about it, a sentence each.
    """

    before: ModelCard
    card: ModelCard
    promised: bool
    found: Promise | NoPromise | ClassPromises | None
    source: CalibrationSet
    notes: tuple[str, ...]


def calibrate(
    folder: Path,
    wish: Wish | None,
    sets: SetWish | None = None,
    given: Given | None = None,
    *,
    device: str = "auto",
) -> Calibration:
    """Settle when a student answers, with which classes, or both, and write it on its card with what it promises.

    What was asked for takes the place of what the card said of it before; the rest of the card stays. Where a wished
    risk cannot be promised, nothing is written.

    Args:
        folder: of the student.
        wish: about its errors; None asks for none.
        sets: about its prediction sets; None asks for none.
        given: which images to do it on. Default: those that its run held out.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: nothing asked for; no whole student; a score or a number that cannot be; images that do not fit or
            were used for something else.
        EnvironmentProblem: no such device, or the card cannot be written.
    """
    network, before = load_student(folder)
    place = choose_device(device)
    _rehearse(before, wish, sets)
    found = untouched_images(folder, before, given or Given())
    images, source = found.images, found.source
    outputs = network_logits(network.to(place), before.normalisation(), images.images.to(place))
    answers = Answers(outputs, before.abstains)
    outcome = None if wish is None else decide(answers, images.labels, wish, source)
    promised = outcome is None or outcome.decision is not None
    card = before
    if promised:
        card = _changed(before, outcome, None if sets is None else _decided_sets(answers, images.labels, sets, source))
    notes = (*found.notes, *_notes(before, card, wish, source))
    if promised:
        save_card(folder, card)
    return Calibration(before, card, promised, None if outcome is None else outcome.found, source, notes)


def forget(folder: Path) -> ModelCard:
    """Take away what a student was calibrated to: it answers always, and with one class.

    Returns:
        its card as it was.

    Raises:
        InputError: no whole student in the folder.
        EnvironmentProblem: the card cannot be written.
    """
    _, before = load_student(folder)
    save_card(folder, before.model_copy(update={"decision": None, "sets": None}))
    return before


def _rehearse(card: ModelCard, wish: Wish | None, sets: SetWish | None) -> None:
    """Do it on one made-up image, so that a wish that cannot be is refused before any is read."""
    if wish is None and sets is None:
        raise InputError("nothing to calibrate: ask for a risk, for prediction sets, or for both")
    if wish is not None:
        _check_share("max risk", wish.max_risk)
        _check_share("confidence", wish.confidence)
    if sets is not None:
        _check_share("alpha", sets.alpha)
    answers, labels = Answers(torch.arange(card.outputs).float()[None], card.abstains), torch.zeros(1).long()
    source = CalibrationSet(data="made up", part="all", samples=1, fingerprint="")
    if wish is not None:
        decide(answers, labels, wish, source)
    if sets is not None:
        _decided_sets(answers, labels, sets, source)


def _check_share(name: str, share: float) -> None:
    if finite_number(share) and 0 < share < LEAST_SHARE:  # what is no number is refused where it is used
        raise InputError(f"{name} {share:g}: too small to mean anything: give {LEAST_SHARE:g} or more")


def _decided_sets(answers: Answers, labels: Tensor, wish: SetWish, source: CalibrationSet) -> SetDecision:
    return decide_sets(
        answers, labels, source, wish.method, wish.alpha, penalty=wish.penalty, free_ranks=wish.free_ranks
    )


def _changed(card: ModelCard, outcome: Outcome | None, sets: SetDecision | None) -> ModelCard:
    changes = {"decision": None if outcome is None else outcome.decision, "sets": sets}
    return card.model_copy(update={key: value for key, value in changes.items() if value is not None})


def _notes(before: ModelCard, card: ModelCard, wish: Wish | None, source: CalibrationSet) -> list[str]:
    notes = []
    if wish is not None and wish.options:
        options = ", ".join(f"{name} = {value:g}" for name, value in wish.options.items())
        notes.append(f"the promise holds where {options} was chosen on other images than these")
    earlier = {old.calibrated_on.fingerprint for old in (before.decision, before.sets) if old is not None}
    if source.fingerprint in earlier:
        notes.append(
            "these images were calibrated on before: each promise holds by itself, but not for the best of several "
            "picked by what they came to"
        )
    if card.decision is not None and card.decision.class_thresholds is not None and card is not before:
        limits = zip(card.class_names, card.decision.class_thresholds, strict=True)
        if never := [name for name, limit in limits if limit is None]:
            notes.append(f"never answered, as nothing can be promised of them: {', '.join(never)}")
    if card.sets is not None and card.sets is not before.sets and card.sets.threshold is None:
        needed = math.ceil(round((1 - card.sets.alpha) / card.sets.alpha, 9))
        notes.append(f"every set holds every class: smaller ones take at least {needed:,} images")
    return notes
