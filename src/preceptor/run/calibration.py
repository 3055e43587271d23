"""Calibration of a student: when it answers, or with which classes, and what that guarantees; kept on its card."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from preceptor.errors import InputError
from preceptor.metrics import ClassGuarantees, NoGuarantee, Predictions, RiskGuarantee, RiskTarget, SetTarget
from preceptor.metrics.checks import check_number
from preceptor.metrics.decisions import Outcome, decide, decide_sets
from preceptor.metrics.logits import network_logits
from preceptor.models import CalibrationSet, ModelCard, SetDecision, load_student, save_card
from preceptor.run.calibration_data import CalibrationSource, calibration_images
from preceptor.training.device import choose_device

LEAST_SHARE = 1e-9
"""Of errors, to be guaranteed: it would take billions of images."""


@dataclass(frozen=True)
class Calibration:
    """The result of a calibration.

    Attributes:
        before, card: the card as it was, and as it is now: unchanged where not all targets can be guaranteed.
        guaranteed: whether they can, and are on the card.
        guarantee: about errors, or what could be guaranteed instead; None without such a target.
        source: the calibration images.
        notes: what limits the guarantee, a sentence each.
    """

    before: ModelCard
    card: ModelCard
    guaranteed: bool
    guarantee: RiskGuarantee | NoGuarantee | ClassGuarantees | None
    source: CalibrationSet
    notes: tuple[str, ...]


def calibrate(
    folder: Path,
    target: RiskTarget | None,
    sets: SetTarget | None = None,
    source: CalibrationSource | None = None,
    *,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Choose an abstention threshold with a risk guarantee, prediction sets, or both, and write them on the card.

    They replace what the card held of the same kind. Where the risk cannot be guaranteed, nothing is written.

    Args:
        folder: of the student.
        target, sets: about its errors, and about its prediction sets. Default: none.
        source: which images to calibrate on. Default: those that its run held out.
        device: "auto", "cpu" or "cuda".
        progress: called with the number of images done, and of all.

    Raises:
        InputError: no target; no whole student; a score or a number that cannot be; images that do not fit or
            were used for something else.
        MachineError: no such device, or the card cannot be written.
    """
    network, before = load_student(folder)
    place = choose_device(device)
    _rehearse(before, target, sets)
    data = calibration_images(folder, before, source or CalibrationSource())
    images = data.images
    outputs = network_logits(network.to(place), before.normalization(), images.images.to(place), progress=progress)
    predictions = Predictions(outputs, before.abstains)
    outcome, decided_sets = _decided(predictions, images.labels, target, sets, data.source)
    guaranteed = outcome is None or outcome.decision is not None
    card = before
    if guaranteed:
        changes = {"decision": None if outcome is None else outcome.decision, "sets": decided_sets}
        card = before.model_copy(update={key: value for key, value in changes.items() if value is not None})
    notes = (*data.notes, *_notes(before, card, target, data.source))
    if guaranteed:
        save_card(folder, card)
    return Calibration(before, card, guaranteed, None if outcome is None else outcome.guarantee, data.source, notes)


def forget(folder: Path) -> ModelCard:
    """Remove decision and prediction sets from a student's card, which is returned as it was; it then always answers.

    Raises:
        InputError: no whole student in the folder.
        MachineError: the card cannot be written.
    """
    _, before = load_student(folder)
    save_card(folder, before.model_copy(update={"decision": None, "sets": None}))
    return before


def _rehearse(card: ModelCard, target: RiskTarget | None, sets: SetTarget | None) -> None:
    """Calibrate on one made-up image, so that an impossible target is refused before any image is read."""
    if target is None and sets is None:
        raise InputError("no goal to calibrate for; give --max-risk 0.05 (a guarantee), --sets lac, or both")
    if target is not None:
        check_number("max_risk", target.max_risk, at_least=LEAST_SHARE, at_most=1, example=0.05)
        check_number("confidence", target.confidence, at_least=LEAST_SHARE, below=1, example=0.95)
    if sets is not None:
        check_number("alpha", sets.alpha, at_least=LEAST_SHARE, below=1, example=0.1)
    made_up = Predictions(torch.arange(card.outputs).float()[None], card.abstains), torch.zeros(1).long()
    _decided(*made_up, target, sets, CalibrationSet(data="made up", part="all", samples=1, fingerprint=""))


def _decided(
    predictions: Predictions, labels: Tensor, target: RiskTarget | None, sets: SetTarget | None, source: CalibrationSet
) -> tuple[Outcome | None, SetDecision | None]:
    outcome = None if target is None else decide(predictions, labels, target, source)
    return outcome, None if sets is None else decide_sets(predictions, labels, sets, source)


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
