"""Distill, train and evaluate in Python: any network, any data, in five lines."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from preceptor.data import Dataset, ImageSet, load_dataset
from preceptor.data.dataset import Normalization, Normalizer
from preceptor.data.images import Framing
from preceptor.data.own import own_dataset
from preceptor.errors import InputError
from preceptor.metrics import FullReport, Metrics, Predictions, full_report
from preceptor.metrics.logits import network_logits
from preceptor.models import load_student
from preceptor.models.store import WEIGHTS_FILE
from preceptor.run import resolve, resume, run, stopped_run
from preceptor.run.folder import RUN_FILE
from preceptor.run.own_parts import FROM_PYTHON, OwnParts
from preceptor.run.progress import ProgressBar
from preceptor.teachers import TeacherCheck
from preceptor.training import Callback, TrainingConfig
from preceptor.training.device import choose_device

Pixels = Normalization | Literal["measured", "unknown"] | None
"""Normalization of uint8 images: mean and deviation, "measured" on the training images, or None where the networks do
it. "unknown" is refused where it would have to be guessed."""


@dataclass(frozen=True)
class Trained:
    """What a training ends with.

    Attributes:
        student: the network after the last epoch, in eval mode; the one that was handed in, trained in place.
        validation: its metrics on the held-out samples; None without any.
        test: those on the test set, measured once after the last epoch; None without one.
        teacher: how the teacher does on the training samples; None without one.
        folder: of the run: its settings, metrics of every epoch, and the weights.
    """

    student: nn.Module
    validation: Metrics | None
    test: Metrics | None
    teacher: TeacherCheck | None
    folder: Path


def distill(
    teacher: Any,
    student: nn.Module | str,
    train: Any,
    recipe: str = "safe",
    *,
    validation: Any = None,
    test: Any = None,
    normalization: Pixels = "unknown",
    out: Path | str | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    **settings: Any,
) -> Trained:
    """Train a student with a teacher.

    Args:
        teacher: an ``nn.Module`` that returns logits (copied, frozen, in eval mode), a callable, a run folder, a file
            or an array of outputs (a row a training sample; ``teacher_output`` says what they are), or a list of these.
        student: an ``nn.Module`` that returns logits, trained in place; or the name of an architecture.
        train: a map-style Dataset of (input, label), (inputs, labels) as tensors or arrays, a folder of images, an
            ``.npz`` file, or the name of a data set. See :func:`~preceptor.data.own.own_dataset` for what inputs may
            be; anything that is not uint8 images goes to the networks as it is.
        recipe: its name; ``preceptor methods`` lists all. Default "safe".
        validation: samples to hold out, of the same kind; None holds out a tenth of ``train``.
        test: samples for the end, of the same kind; None is none.
        normalization: of uint8 images, which networks in Python do not state. Not needed for inputs of another kind,
            and not for architectures by name.
        out: the run's folder; one that holds a stopped run of the same arguments goes on. None is a temporary folder.
        callbacks: of the training, such as a tracker's.
        progress: show a bar. Default True.
        settings: any other of :class:`~preceptor.run.RunConfig` or :class:`~preceptor.training.TrainingConfig`, such as
            ``epochs=30``, ``optimizer="adamw"``, ``seed=1``, ``training="finetune"``; ``class_names``, ``views`` and
            ``workers`` of :func:`~preceptor.data.own.own_dataset`; ``teacher_normalization`` where it differs; and
            ``force`` and ``checkpoint_seconds`` of :func:`preceptor.run.run`.

    Raises:
        InputError: something does not fit, or the doctor's quick check found a problem (``force=True`` goes on); before
            the first step.
        MachineError: no such device, a package is missing, or the folder cannot be written.
    """
    teachers = list(teacher) if isinstance(teacher, list | tuple) else [teacher]
    paths = [Path(one) for one in teachers if isinstance(one, str | Path)]
    if paths and len(paths) < len(teachers):
        raise InputError("teachers: some are paths and some are objects; give paths alone, or networks alone")
    if paths:
        settings["teacher"] = paths
    samples = _samples(train, validation, test, normalization, student, settings)
    own = OwnParts(
        samples.dataset, _module(student), () if paths else teachers, settings.pop("teacher_normalization", None)
    )
    return _run(student, samples, {**settings, "recipe": recipe}, own, out, callbacks, progress)


def train(
    student: nn.Module | str,
    train: Any,
    *,
    validation: Any = None,
    test: Any = None,
    normalization: Pixels = "unknown",
    out: Path | str | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    **settings: Any,
) -> Trained:
    """Train a network on labels alone: a teacher to be, or what a student has to beat. See :func:`distill`."""
    samples = _samples(train, validation, test, normalization, student, settings)
    own = OwnParts(samples.dataset, _module(student))
    return _run(student, samples, {"recipe": "none", **settings}, own, out, callbacks, progress)


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
        student: what :func:`distill` returned, an ``nn.Module``, or a run folder.
        data: as ``train`` of :func:`distill`; the test set of a folder or a named data set that has one.
        normalization: of uint8 images, as there. Not needed for a run folder.
        resamples: as for :func:`~preceptor.metrics.full_report`.
        options: of :func:`~preceptor.data.own.own_dataset` or :func:`~preceptor.data.load_dataset`.

    Raises:
        InputError: a network and data that do not fit, or no labeled sample.
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
    """Logits of all samples, in their order: a file of them can teach, and can be audited.

    Args:
        model, data, normalization, options: as for :func:`evaluate`; of data with several sets, the training set.
        out: ``.npy`` file to write them to; None is none.
    """
    logits, _, _ = _outputs(model, data, normalization, options, of_train=True)
    rows: np.ndarray = logits.numpy()
    if out is not None:
        np.save(out, rows)
    return rows


@dataclass(frozen=True)
class _Samples:
    """Data by name, or a data set from Python objects with a name to call it by."""

    spec: str
    dataset: Dataset | None


def _samples(
    train: Any,
    validation: Any,
    test: Any,
    normalization: Pixels,
    student: nn.Module | str,
    settings: dict[str, Any],
) -> _Samples:
    """The data of a training; the options of own data are taken out of the settings."""
    options = {name: settings.pop(name) for name in ("class_names", "views", "workers") if name in settings}
    spec = data_spec(train)
    if spec is None:
        if normalization == "unknown" and isinstance(student, str):
            normalization = "measured"  # an architecture by name normalizes nothing itself
        sets = {"validation": validation, "test": test}
        dataset = own_dataset(train, **sets, normalization=normalization, framing=_framing(settings), **options)
        return _Samples(dataset.name, dataset)
    if validation is not None or test is not None or options:
        raise InputError(f"{spec}: brings its own sets and classes: leave out validation, test, class_names and views")
    return _Samples(spec, None)


def _framing(settings: Mapping[str, Any]) -> Framing:
    named = {"size": "image_size", "crop": "crop", "interpolation": "interpolation", "exif": "exif"}
    return Framing(**{field: settings[name] for field, name in named.items() if name in settings})


def data_spec(data: Any) -> str | None:
    """The name of a data set that is stated by its name, folder or file; None for Python objects."""
    if not isinstance(data, str | Path):
        return None
    if isinstance(data, str) and not Path(data).exists():
        return data
    return f"folder:{data}" if Path(data).is_dir() else f"arrays:{data}"


def _module(student: nn.Module | str) -> nn.Module | None:
    return None if isinstance(student, str) else student


def _run(
    student: nn.Module | str,
    samples: _Samples,
    settings: dict[str, Any],
    own: OwnParts,
    out: Path | str | None,
    callbacks: Sequence[Callback],
    progress: bool,
) -> Trained:
    options = {name: settings.pop(name) for name in ("force", "checkpoint_seconds") if name in settings}
    name = student if isinstance(student, str) else f"{FROM_PYTHON}{type(student).__qualname__}"
    config = resolve({"data": samples.spec, "student": name}, _placed(settings), "the settings")
    folder = Path(tempfile.mkdtemp(prefix="preceptor-") if out is None else out)
    with ExitStack() as stack:
        if progress:
            callbacks = [stack.enter_context(ProgressBar(name)), *callbacks]
        if (folder / RUN_FILE).is_file() and not (folder / WEIGHTS_FILE).exists():
            if stopped_run(folder)[0] != config:
                raise InputError(f"{folder}: holds a stopped run of other settings: give these, or another folder")
            result = resume(folder, callbacks, own=own, **options)
        else:
            result = run(config, folder, callbacks, own=own, **options)
    trained = load_student(folder)[0] if isinstance(student, str) else student.eval()
    return Trained(trained, result.validation, result.test, result.teacher, folder)


def _placed(settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Settings under their full keys: those of the training come first by name, as in ``epochs=30``."""
    return [
        (f"training.{name}" if name in TrainingConfig.model_fields else name, value) for name, value in settings.items()
    ]


def _outputs(
    model: Trained | nn.Module | Path | str,
    data: Any,
    normalization: Pixels,
    options: Mapping[str, Any],
    *,
    of_train: bool = False,
) -> tuple[Tensor, ImageSet, tuple[str, ...]]:
    """Logits on the CPU, the samples they are of, and the names of the classes."""
    device = choose_device("auto")
    normalize: Normalizer | None = None
    if isinstance(model, Trained):
        model = model.student
    if not isinstance(model, nn.Module):
        model, card = load_student(Path(model))
        normalize = card.normalization()
    spec = data_spec(data)
    if spec is None:
        # Of a run folder the card says how images are normalized, whatever those here would be by.
        stated = "measured" if normalize is not None and normalization == "unknown" else normalization
        dataset = own_dataset(data, normalization=stated, **options)
        samples = dataset.train
    else:
        dataset = load_dataset(spec, **options)
        samples = dataset.train if of_train or dataset.test is None else dataset.test
    logits = network_logits(model.to(device), normalize or dataset.normalization, samples.images.to(device))
    return logits, samples, dataset.class_names
