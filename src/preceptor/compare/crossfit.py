"""Cross-fitting: outputs for every training image from a copy of a classifier that has not learned from that image.

A classifier looks right on what it was trained on, so that its errors there say little about its errors elsewhere. The
training images are divided into folds; each is answered by a copy trained on the others.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.compare.parallel import Counter, Report, run_seeds
from preceptor.context import UNLABELED, predicted_class
from preceptor.data import Dataset
from preceptor.data.arrays import load_array
from preceptor.data.lazy import Inputs, taken
from preceptor.errors import InputError, first_line
from preceptor.files import check_writable, read_json, write_whole
from preceptor.metrics.logits import network_logits
from preceptor.models import load_student
from preceptor.models.checkpoints import load_checkpoints
from preceptor.run import RunConfig, resume, run
from preceptor.run.folder import fingerprint, versions
from preceptor.run.resume import run_state
from preceptor.run.set_up import folds_of, training_data

OUTPUTS_FILE = "outputs.npy"
"""Logits of shape [training images, classes], float32: a teacher file."""

EPOCHS_FILE = "epochs.npy"
"""Probabilities of shape [kept epochs, training images, classes], float16: of an image, the mean over the copies that
learned from it. Averaged over the epochs they tell wrong labels, which are learned late, from right ones."""

FOLDS = 5

Parts = Sequence[tuple[Tensor, Tensor]]
"""Of each part the indices outside it and those inside it."""

PROVENANCE_FILE = "crossfit.json"
"""What the outputs come from; written first, and again with the results when all is done."""


@dataclass(frozen=True)
class CrossFit:
    """Out-of-fold outputs.

    Attributes:
        folder: of the files.
        folds: number of copies.
        images: number of training images.
        accuracy: share of the labeled images whose given label the outputs name.
        by_fold: the same by fold.
    """

    folder: Path
    folds: int
    images: int
    accuracy: float
    by_fold: tuple[float, ...]

    @property
    def outputs(self) -> Path:
        """The teacher file."""
        return self.folder / OUTPUTS_FILE


def crossfit(
    config: RunConfig,
    out: Path,
    *,
    epochs_kept: int = 0,
    jobs: int | None = None,
    on_start: Callable[[int], None] = lambda images: None,
    report: Report = lambda images: None,
) -> CrossFit:
    """Train a network fold by fold, several side by side, and write its out-of-fold outputs.

    Every fold is a run folder of its own (``fold-1``, ...), trained with one thread; called again after it was stopped,
    it goes on, and ends in the same outputs.

    Args:
        config: of the runs; its network is the student, its recipe usually ``none``. It says how many ``folds``
            there are; 5 where it does not.
        out: folder, empty or absent, or one of the same cross-fitting that was stopped.
        epochs_kept: write probabilities after so many epochs too, evenly spaced. Default 0: no.
        jobs: folds at a time; None is :func:`~preceptor.compare.parallel.default_jobs`.
        on_start: called with the number of images that all folds are trained on, epochs counted.
        report: called with the number of images trained on since the last call.

    Raises:
        InputError: a configuration or data that cannot be trained, or a folder of something else.
        MachineError: the folder cannot be written, or the process of a fold died.
    """
    count = config.folds or FOLDS
    config = config.model_copy(update={"folds": count, "keep_checkpoints": epochs_kept, "train_images": None})
    runs = [config.model_copy(update={"fold": number + 1}) for number in range(count)]
    dataset = training_data(config)
    labels, images = dataset.train.labels, dataset.train.images
    parts = folds_of(dataset, count, config.split_seed)
    settings = runs[0].model_dump(mode="json", exclude_none=True, exclude={"fold"})
    provenance = _provenance(settings, {"images": images, "labels": labels})
    _open(out, provenance)
    on_start((count - 1) * len(labels) * config.training.epochs)
    run_seeds(_FoldRun(tuple(runs), out), range(count), report, jobs)

    rows = torch.zeros(len(labels), dataset.classes)
    for number, (_, inside) in enumerate(parts):
        rows[inside] = _logits(_folder(out, number), dataset, inside)
    files = {}
    if epochs_kept:
        learned = [(_folder(out, number), outside) for number, (outside, _) in enumerate(parts)]
        files[EPOCHS_FILE] = _by_epoch(learned, dataset)
    return _written(out, rows, labels, [inside for _, inside in parts], provenance, files)


def crossfit_features(
    config: RunConfig, out: Path, classifier: str, options: Mapping[str, Any], features: Path
) -> CrossFit:
    """Cross-fit a classifier of scikit-learn on given features, and write its out-of-fold outputs.

    Args:
        config: its data, labels, ``folds`` and ``split_seed`` count.
        out: folder, empty or absent.
        classifier: its dotted name, such as ``sklearn.linear_model.LogisticRegression``.
        options: of its constructor.
        features: ``.npy`` file, a row a training image; of several dimensions they are flattened.

    Raises:
        InputError: no such classifier, features that do not fit, or a folder of something else.
        MachineError: the folder cannot be written.
    """
    build, dataset, count = _builder(classifier, options), training_data(config), config.folds or FOLDS
    labels, table = dataset.train.labels, read_features(features, len(dataset.train))
    settings = {"classifier": classifier, "options": dict(options), "folds": count, "split_seed": config.split_seed}
    provenance = _provenance(settings, {"features": table, "labels": labels})
    _open(out, provenance)
    parts = folds_of(dataset, count, config.split_seed)
    rows = crossfit_classifier(build, table, labels, dataset.classes, parts)
    logits = rows.clamp_min(torch.finfo(torch.float32).tiny).log().float()
    return _written(out, logits, labels, [inside for _, inside in parts], provenance, {})


def read_features(path: Path, samples: int) -> Float[Tensor, "n features"]:
    """Features from a ``.npy`` file, flattened to a row a sample.

    Raises:
        InputError: it cannot be read, has another number of rows, or holds something that is not finite.
    """
    table = load_array(path)
    if table.dtype.kind not in "fiu" or table.ndim < 2 or len(table) != samples:
        raise InputError(
            f"{path}: {table.shape}; expected one array of numbers with {samples} rows, one a training image"
        )
    rows = torch.from_numpy(table.reshape(samples, -1)).double()
    if not bool(rows.isfinite().all()):
        raise InputError(f"{path}: holds a value that is not finite: leave it out or replace it")
    return rows


def crossfit_classifier(
    build: Callable[[], Any],
    features: Float[Tensor, "n features"],
    labels: Int[Tensor, " n"],
    classes: int,
    parts: Parts,
    progress: Callable[[int], None] = lambda done: None,
) -> Float[Tensor, "n classes"]:
    """Out-of-fold probabilities of a classifier of scikit-learn on given features.

    Args:
        build: makes an unfitted classifier with ``predict_proba``.
        features: a row a sample, finite.
        labels: class numbers; samples labeled -1 are answered and not learned from.
        classes: number of classes; one that a fold does not contain gets probability 0 there.
        parts: of :func:`~preceptor.data.folds`.
        progress: called after every fold with the number of folds done.

    Raises:
        InputError: a classifier that cannot be fitted on them.
    """
    table, classes_of = features.double().numpy(), labels.numpy()
    probabilities = torch.zeros(len(labels), classes, dtype=torch.float64)
    for done, (outside, inside) in enumerate(parts, start=1):
        known = outside[labels[outside] != UNLABELED]
        try:
            fitted = build().fit(table[known], classes_of[known])
            columns = torch.from_numpy(np.asarray(fitted.classes_, dtype=np.int64))
            probabilities[inside[:, None], columns] = torch.from_numpy(np.asarray(fitted.predict_proba(table[inside])))
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"the classifier cannot be fitted on these features: {first_line(error)}") from error
        progress(done)
    return probabilities


def _builder(name: str, options: Mapping[str, Any]) -> Callable[[], Any]:
    """What makes a classifier by its dotted name; nothing outside scikit-learn is imported."""
    module, _, attribute = name.rpartition(".")
    if not module.startswith("sklearn."):
        raise InputError(f"classifier {name!r}: expected one of scikit-learn, such as sklearn.svm.SVC")
    try:
        build = partial(getattr(import_module(module), attribute), **options)
        has_probabilities = hasattr(build(), "predict_proba")
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(f"classifier {name!r}: {first_line(error)}") from error
    if not has_probabilities:
        raise InputError(f"classifier {name!r}: gives no probabilities (predict_proba); choose one that does")
    return build


@dataclass(frozen=True)
class _FoldRun:
    """Trains a fold, or goes on with it, or leaves it as it is when it is complete."""

    configs: tuple[RunConfig, ...]
    out: Path

    def __call__(self, seed: int, counter: Counter) -> None:
        folder, config = _folder(self.out, seed), self.configs[seed]
        state = run_state(folder)
        if state == "absent":
            run(config, folder, [counter])
        elif state != "complete":
            resume(folder, [counter])


def _folder(out: Path, number: int) -> Path:
    return out / f"fold-{number + 1}"


def _open(out: Path, provenance: Mapping[str, Any]) -> None:
    """Make the folder, or make sure that it is of this very cross-fitting."""
    path = out / PROVENANCE_FILE
    if path.is_file():
        before = read_json(path)
        known = {key: before.get(key) for key in provenance} if isinstance(before, dict) else None
        if known != json.loads(_json(provenance)):
            raise InputError(f"{out}: holds a cross-fitting of other settings or data: choose another --out")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: not empty, and no cross-fitting: choose another --out")
    check_writable(out)
    write_whole({path: _json(provenance)})


def _logits(folder: Path, dataset: Dataset, index: Int[Tensor, " some"]) -> Float[Tensor, "some classes"]:
    network, card = load_student(folder)
    return network_logits(network, card.normalization(), taken(dataset.train.images, index))[:, : dataset.classes]


def _by_epoch(learned: Sequence[tuple[Path, Tensor]], dataset: Dataset) -> np.ndarray:
    """Probabilities after each kept epoch, the mean over the copies that learned from an image."""
    checkpoints = [[path for _, path in load_checkpoints(folder)] for folder, _ in learned]
    sums = torch.zeros(len(checkpoints[0]), len(dataset.train), dataset.classes)
    for (_, index), folders in zip(learned, checkpoints, strict=True):
        for epoch, folder in enumerate(folders):
            sums[epoch, index] += _logits(folder, dataset, index).softmax(dim=1)
    return (sums / (len(learned) - 1)).half().numpy()


def _provenance(settings: Mapping[str, Any], data: Mapping[str, Inputs]) -> dict[str, Any]:
    return {"what": "out-of-fold logits, a row a training image", "settings": settings, "data": fingerprint(data)}


def _written(
    out: Path,
    rows: Float[Tensor, "n classes"],
    labels: Int[Tensor, " n"],
    parts: Sequence[Int[Tensor, " some"]],
    provenance: Mapping[str, Any],
    files: Mapping[str, np.ndarray],
) -> CrossFit:
    by_fold = tuple(_accuracy(rows[inside], labels[inside]) for inside in parts)
    result = CrossFit(out, len(parts), len(labels), _accuracy(rows, labels), by_fold)
    record = {**provenance, "accuracy": result.accuracy, "accuracy_by_fold": by_fold, "versions": versions()}
    arrays = {OUTPUTS_FILE: rows.numpy(), **files}
    content = {out / name: _npy(array) for name, array in arrays.items()}
    write_whole({**content, out / PROVENANCE_FILE: _json(record)})
    return result


def _accuracy(rows: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> float:
    labeled = labels != UNLABELED
    return float((predicted_class(rows)[labeled] == labels[labeled]).double().mean())


def _npy(array: np.ndarray) -> bytes:
    content = BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2, allow_nan=False).encode()
