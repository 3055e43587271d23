"""Calibrates a student on its card: when it answers, or with which classes, and what that guarantees."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from preceptor.errors import InputError
from preceptor.metrics import (
    Answers,
    ClassGuarantees,
    NoGuarantee,
    Outcome,
    RiskGuarantee,
    RiskTarget,
    decide,
    decide_sets,
)
from preceptor.metrics.checks import finite_number
from preceptor.metrics.conformal import Method
from preceptor.metrics.logits import network_logits
from preceptor.models import CalibrationSet, ModelCard, SetDecision, load_student, save_card
from preceptor.run.calibration_data import Given, calibration_images
from preceptor.training.device import choose_device

LEAST_SHARE = 1e-9
"""Of errors, to be guaranteed: it would take billions of images."""


@dataclass(frozen=True)
class SetTarget:
    """What is to be guaranteed of prediction sets; see :func:`preceptor.metrics.calibrate_sets`.

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
        card: as it is now; the same where not all that was asked for can be guaranteed.
        guaranteed: whether it can, and is on the card.
        found: the guarantee about errors, or what could have been guaranteed instead; None where none was asked for.
        source: the images it was done on.
        notes: what to bear in mind about it, a sentence each.
    """

    before: ModelCard
    card: ModelCard
    guaranteed: bool
    found: RiskGuarantee | NoGuarantee | ClassGuarantees | None
    source: CalibrationSet
    notes: tuple[str, ...]


def calibrate(
    folder: Path,
    target: RiskTarget | None,
    sets: SetTarget | None = None,
    given: Given | None = None,
    *,
    device: str = "auto",
) -> Calibration:
    """Settle when a student answers, with which classes, or both, and write it on its card with what it guarantees.

    What was asked for takes the place of what the card said of it before; the rest of the card stays. Where a wished
    risk cannot be guaranteed, nothing is written.

    Args:
        folder: of the student.
        target: about its errors; None asks for none.
        sets: about its prediction sets; None asks for none.
        given: which images to do it on. Default: those that its run held out.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: nothing asked for; no whole student; a score or a number that cannot be; images that do not fit or
            were used for something else.
        MachineError: no such device, or the card cannot be written.
    """
    network, before = load_student(folder)
    place = choose_device(device)
    _rehearse(before, target, sets)
    found = calibration_images(folder, before, given or Given())
    images, source = found.images, found.source
    outputs = network_logits(network.to(place), before.normalization(), images.images.to(place))
    answers = Answers(outputs, before.abstains)
    outcome = None if target is None else decide(answers, images.labels, target, source)
    guaranteed = outcome is None or outcome.decision is not None
    card = before
    if guaranteed:
        card = _changed(before, outcome, None if sets is None else _decided_sets(answers, images.labels, sets, source))
    notes = (*found.notes, *_notes(before, card, target, source))
    if guaranteed:
        save_card(folder, card)
    return Calibration(before, card, guaranteed, None if outcome is None else outcome.found, source, notes)


def forget(folder: Path) -> ModelCard:
    """Take away what a student was calibrated to: it answers always, and with one class.

    Returns:
        its card as it was.

    Raises:
        InputError: no whole student in the folder.
        MachineError: the card cannot be written.
    """
    _, before = load_student(folder)
    save_card(folder, before.model_copy(update={"decision": None, "sets": None}))
    return before


def _rehearse(card: ModelCard, target: RiskTarget | None, sets: SetTarget | None) -> None:
    """Do it on one made-up image, so that a target that cannot be is refused before any is read."""
    if target is None and sets is None:
        raise InputError("nothing to calibrate: ask for a risk, for prediction sets, or for both")
    if target is not None:
        _check_share("max risk", target.max_risk)
        _check_share("confidence", target.confidence)
    if sets is not None:
        _check_share("alpha", sets.alpha)
    answers, labels = Answers(torch.arange(card.outputs).float()[None], card.abstains), torch.zeros(1).long()
    source = CalibrationSet(data="made up", part="all", samples=1, fingerprint="")
    if target is not None:
        decide(answers, labels, target, source)
    if sets is not None:
        _decided_sets(answers, labels, sets, source)


def _check_share(name: str, share: float) -> None:
    if finite_number(share) and 0 < share < LEAST_SHARE:  # what is no number is refused where it is used
        raise InputError(f"{name} {share:g}: too small to mean anything: give {LEAST_SHARE:g} or more")


def _decided_sets(answers: Answers, labels: Tensor, target: SetTarget, source: CalibrationSet) -> SetDecision:
    return decide_sets(
        answers, labels, source, target.method, target.alpha, penalty=target.penalty, free_ranks=target.free_ranks
    )


def _changed(card: ModelCard, outcome: Outcome | None, sets: SetDecision | None) -> ModelCard:
    changes = {"decision": None if outcome is None else outcome.decision, "sets": sets}
    return card.model_copy(update={key: value for key, value in changes.items() if value is not None})


def _notes(before: ModelCard, card: ModelCard, target: RiskTarget | None, source: CalibrationSet) -> list[str]:
    notes = []
    if target is not None and target.options:
        options = ", ".join(f"{name} = {value:g}" for name, value in target.options.items())
        notes.append(f"the guarantee holds where {options} was chosen on other images than these")
    earlier = {old.calibrated_on.fingerprint for old in (before.decision, before.sets) if old is not None}
    if source.fingerprint in earlier:
        notes.append(
            "these images were calibrated on before: each guarantee holds by itself, but not for the best of several "
            "picked by what they came to"
        )
    if card.decision is not None and card.decision.class_thresholds is not None and card is not before:
        limits = zip(card.class_names, card.decision.class_thresholds, strict=True)
        if never := [name for name, limit in limits if limit is None]:
            notes.append(f"never answered, as nothing can be guaranteed of them: {', '.join(never)}")
    if card.sets is not None and card.sets is not before.sets and card.sets.threshold is None:
        needed = math.ceil(round((1 - card.sets.alpha) / card.sets.alpha, 9))
        notes.append(f"every set holds every class: smaller ones take at least {needed:,} images")
    return notes
