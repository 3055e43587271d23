"""One run: check everything, train, measure, and leave a folder behind."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from preceptor.data import ImageSet, ViewRule
from preceptor.evaluation import Metrics, evaluate
from preceptor.evaluation.logits import network_logits
from preceptor.lesson import UNLABELLED
from preceptor.models import save_checkpoint, save_student
from preceptor.models.checkpoints import kept_epochs
from preceptor.runs.config import RunConfig
from preceptor.runs.folder import RunFolder, check_free, versions
from preceptor.runs.material import Material, prepare
from preceptor.runs.scores import Scores, save_scores
from preceptor.runs.selection import data_fingerprint, settle_selection
from preceptor.teachers import TeacherCheck
from preceptor.training import Pupil, Watcher, fit
from preceptor.training.device import choose_device, deterministic

SCORES_FILE = "scores.safetensors"
"""The scores of a recipe that selects beforehand, in the run's folder."""


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        folder: where it lies.
        teacher: what the look at the teacher found; None without one.
        validation: on the held-out training images, after the last epoch; None when none were held out.
        test: on the test set, looked at once after the last epoch; None when the data has none.
        training_images: how many were trained on.
        taught: how many of these the teacher teaches; None when the recipe selects none beforehand.
        untaught: how many of these neither the teacher nor a label teaches, since the recipe leaves them out.
    """

    folder: Path
    teacher: TeacherCheck | None
    validation: Metrics | None
    test: Metrics | None
    training_images: int
    taught: int | None
    untaught: int


def run(config: RunConfig, out: Path, watcher: Watcher | None = None) -> RunResult:
    """Train a student as configured and write its folder.

    Everything that can be checked is checked before the folder is made; the student is the one after the last
    epoch, and is saved before anything is measured; the test set is looked at once, at the end.

    Raises:
        InputError: anything wrong with the configuration, the data, the teacher or the folder.
        EnvironmentProblem: no such device, or the folder cannot be written.
    """
    device = choose_device(config.device)
    check_free(out)
    with deterministic():
        material = prepare(config, device)
        scores = settle_selection(config, material)
        folder = RunFolder(out)
        folder.write_config(config.model_dump(mode="json", exclude_none=True), _record(material, scores, device))
        if scores is not None:
            save_scores(out / SCORES_FILE, scores)
        _train(config, material, folder, watcher)
        save_student(out, material.student, material.card)
        validation = _measure(material, material.train, material.held_out)
        test = None if material.dataset.test is None else _measure(material, material.dataset.test, None)
    images = len(material.positions)
    taught = None if scores is None else int(scores.selected.sum())
    untaught = 0 if taught is None or material.chain.labels_unselected else images - taught
    result = RunResult(out, material.teacher_check, validation, test, images, taught, untaught)
    folder.append({"event": "end", **_plain(dataclasses.replace(result, folder=Path(out.name)))})
    return result


def _train(config: RunConfig, material: Material, folder: RunFolder, watcher: Watcher | None) -> None:
    rule = material.dataset.view_rule if config.augment else ViewRule(padding=0, flip=False)
    epochs = fit(
        [Pupil("student", material.student, material.chain)],
        material.train,
        material.positions,
        rule,
        material.dataset.normalisation,
        config.protocol,
        teacher=material.teacher,
        seed=config.seed,
        precision=config.precision,
        watcher=watcher,
    )
    kept = kept_epochs(config.protocol.epochs, config.keep_checkpoints)
    for (record,) in epochs:
        if record.epoch in kept:
            save_checkpoint(
                folder.path, material.student, material.card, epoch=record.epoch, learning_rate=record.learning_rate
            )
        held_out = _measure(material, material.train, material.held_out)
        entry = {"event": "epoch", **_plain(record)}
        if held_out is not None:
            entry["validation_accuracy"] = held_out.accuracy
        folder.append(entry)


def _measure(material: Material, images: ImageSet, positions: Tensor | None) -> Metrics | None:
    """Metrics on a split, or on some positions of it; None when there are no labelled images to measure on."""
    chosen = images if positions is None else images.take(positions.to(images.images.device))
    labels = chosen.labels.cpu()
    if not bool((labels != UNLABELLED).any()):
        return None
    on_device = chosen.images.to(material.train.images.device)
    logits = network_logits(material.student, material.dataset.normalisation, on_device)
    return evaluate(logits, labels, material.card.abstains)


def _record(material: Material, scores: Scores | None, device: torch.device) -> dict[str, Any]:
    return {
        "versions": versions(),
        "device": str(device),
        "training_images": len(material.positions),
        "held_out_images": len(material.held_out),
        "fingerprints": {
            "data": data_fingerprint(material.dataset),
            "teacher": material.teacher_fingerprint,
        },
        "scores": None if scores is None else scores.origin.model_dump(),
    }


def _plain(thing: Any) -> dict[str, Any]:
    """A dataclass as JSON-ready values."""
    plain = dataclasses.asdict(thing)
    return {key: str(value) if isinstance(value, Path) else value for key, value in plain.items()}
