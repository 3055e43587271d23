"""Evaluate in Python, and write a network's outputs: any network, any data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from preceptor.api.training import Pixels, Trained, data_spec
from preceptor.data import Dataset, ImageSet, NoAugmentation, load_dataset
from preceptor.data.dataset import Normalizer
from preceptor.data.hugging_face import holds_images
from preceptor.data.images import AS_THEY_ARE
from preceptor.data.items import classes_of
from preceptor.data.own import hub_images, normalized, not_stated, own_samples
from preceptor.metrics import FullReport, Predictions, full_report
from preceptor.metrics.logits import network_logits
from preceptor.models import ModelCard, load_student
from preceptor.models.store import CARD_FILE, read_card
from preceptor.run.cards import load_for_student
from preceptor.run.class_names import in_classes_of
from preceptor.training.device import choose_device


def evaluate(
    student: Trained | nn.Module | Path | str,
    data: Any,
    *,
    normalization: Pixels = "unknown",
    resamples: int | None = None,
    **options: Any,
) -> FullReport:
    """Measure a classifier on labeled data: accuracy, calibration, selective risk, each with an interval.

    Args:
        student: what :func:`distill` returned, a run folder, or an ``nn.Module``, whose classes are taken to be
            those of the data, in their order; of one output more, the last abstains.
        data: as ``train`` of :func:`distill`; the test set of a folder or a named data set that has one. Its classes
            are matched by name to those that a student was trained on; some may be missing.
        normalization: of uint8 images, as there. Not needed for a run folder.
        resamples: as for :func:`~preceptor.metrics.full_report`.
        options: of :func:`~preceptor.data.own.own_dataset` or :func:`~preceptor.data.load_dataset`.

    Raises:
        InputError: a network and data that do not fit, a class that the student does not have, or no labeled sample.
    """
    logits, samples, names = _outputs(student, data, normalization, options)
    return full_report(
        Predictions(logits, abstains=logits.shape[1] == len(names) + 1),
        samples.labels,
        class_names=names,
        resamples=resamples,
    )


def outputs(
    model: Trained | nn.Module | Path | str,
    data: Any,
    *,
    normalization: Pixels = "unknown",
    out: Path | str | None = None,
    **options: Any,
) -> Float[np.ndarray, "n classes"]:
    """Logits of all samples, in their order, a column an output: a file of them can teach, and can be audited.

    Args:
        model, data, normalization, options: as for :func:`evaluate`; of data with several sets, the training set.
        out: ``.npy`` file to write them to; None is none.
    """
    logits, _, _ = _outputs(model, data, normalization, options, of_train=True)
    rows: np.ndarray = logits.numpy()
    if out is not None:
        np.save(out, rows)
    return rows


def _outputs(
    model: Trained | nn.Module | Path | str,
    data: Any,
    normalization: Pixels,
    options: Mapping[str, Any],
    *,
    of_train: bool = False,
) -> tuple[Tensor, ImageSet, tuple[str, ...]]:
    """Logits on the CPU, the samples they are of, labeled by the network's classes, and the names of these."""
    device, who = choose_device("auto"), f"student {model.folder if isinstance(model, Trained) else model}"
    normalize: Normalizer | None = None
    names: tuple[str, ...] = ()
    card: ModelCard | None = None
    if isinstance(model, Trained):
        normalize, names = model.normalization, model.class_names
        path = model.folder / CARD_FILE
        card = read_card(path) if path.is_file() else None  # none of a network from Python
        model = model.student
    if not isinstance(model, nn.Module):
        model, card = load_student(Path(model))
        normalize, names = card.normalization(), card.class_names
    spec = data_spec(data)
    if holds_images(data):
        framing = AS_THEY_ARE if card is None else card.framing()
        dataset = hub_images({"train": data}, options.get("framing", framing))
        normalize = normalize or normalized(dataset, normalization).normalization
    elif spec is None:
        samples, stated = own_samples(data, normalization, options.get("workers", 0))
        normalize = normalize or stated
        if normalize is None:
            raise not_stated()
        theirs = tuple(options.get("class_names", ())) or classes_of(data) or names
        dataset = Dataset("the data", theirs, samples, None, normalize, NoAugmentation())
    elif card is not None:
        dataset, normalize = load_for_student(who, card, spec, **options), card.normalization()
    else:
        dataset = load_dataset(spec, **options)
        normalize = normalize or normalized(dataset, normalization).normalization
    if names:
        dataset = in_classes_of(who, names, dataset)
    samples = dataset.train if of_train or dataset.test is None else dataset.test
    logits = network_logits(model.to(device), normalize, samples.images.to(device))
    return logits, samples, names or dataset.class_names or tuple(map(str, range(logits.shape[1])))
