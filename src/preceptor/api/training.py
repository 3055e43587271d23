"""Distill and train in Python: any network, any data, in five lines."""

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import load_file
from torch import nn

from preceptor.data import Dataset
from preceptor.data.dataset import NoNormalization, Normalization, Normalizer
from preceptor.data.images import Framing
from preceptor.data.own import normalized, own_dataset
from preceptor.errors import DoctorWarning, InputError, Interrupted
from preceptor.metrics import Metrics
from preceptor.models import load_student
from preceptor.models.store import CARD_FILE, WEIGHTS_FILE
from preceptor.run import RunConfig, RunResult, resolve, resume, run
from preceptor.run.doctor import Finding
from preceptor.run.folder import read_run
from preceptor.run.measuring import measure
from preceptor.run.own_parts import FROM_PYTHON, OwnParts, OwnTeacher
from preceptor.run.progress import ProgressBar
from preceptor.run.resume import check_same, run_state
from preceptor.run.set_up import set_up, training_data
from preceptor.teachers import TeacherCheck
from preceptor.training import Callback, TrainingConfig
from preceptor.training.device import choose_device, deterministic
from preceptor.training.distributed import from_first, process_group, rank

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
        normalization: of the images that the student takes, or none.
        class_names: in the order of its outputs.
    """

    student: nn.Module
    validation: Metrics | None
    test: Metrics | None
    teacher: TeacherCheck | None
    folder: Path
    normalization: Normalizer
    class_names: tuple[str, ...]

    def __repr__(self) -> str:
        """In one line: printed in a notebook, all metrics would fill the screen."""
        shares = {"held out": self.validation, "test": self.test}
        told = [f"{name} {one.accuracy:.2%} of {one.n:,}" for name, one in shares.items() if one is not None]
        return f"Trained({type(self.student).__name__}: {', '.join([*told, str(self.folder)])})"


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
        teacher: an ``nn.Module`` that returns logits (copied, frozen, in eval mode), what :func:`train` returned, a
            callable, a run folder, a file or an array of outputs (a row a training sample; ``teacher_output`` says what
            they are), or a list of these.
        student: an ``nn.Module`` that returns logits, trained in place; or the name of an architecture.
        train: a map-style Dataset of (input, label), (inputs, labels) as tensors or arrays, a folder of images, an
            ``.npz`` file, or the name of a data set. See :func:`~preceptor.data.own.own_dataset` for what inputs may
            be; anything that is not uint8 images goes to the networks as it is.
        recipe: its name; ``preceptor methods`` lists all. Default "safe".
        validation: samples to hold out, of the same kind; None holds out a tenth of ``train``.
        test: samples for the end, of the same kind; None is none.
        normalization: of uint8 images, which networks in Python do not state. Not needed for inputs of another kind,
            and not for architectures by name.
        out: the run's folder. One that holds a stopped run of the same arguments goes on, and a complete one is
            returned. None is a temporary folder.
        callbacks: of the training, such as a tracker's.
        progress: show a bar. Default True.
        settings: any other of :class:`~preceptor.run.RunConfig` or :class:`~preceptor.training.TrainingConfig`, such as
            ``epochs=30``, ``optimizer="adamw"``, ``seed=1``, ``training="finetune"``; ``class_names``, ``views`` and
            ``workers`` of :func:`~preceptor.data.own.own_dataset`; ``teacher_normalization`` where it differs (of
            what :func:`train` returned it is known), None where teachers in Python normalize images themselves; and
            ``force`` and ``checkpoint_seconds`` of :func:`preceptor.run.run`.

    Warns:
        DoctorWarning: what the doctor's quick check wants looked at.

    Raises:
        InputError: something does not fit, or the doctor's quick check found a problem (``force=True`` goes on); before
            the first step.
        KeyboardInterrupt: stopped, with a checkpoint: the same call goes on.
        MachineError: no such device, a package is missing, or the folder cannot be written.
    """
    teachers = list(teacher) if isinstance(teacher, list | tuple) else [teacher]
    paths = [path for one in teachers if (path := _path_of(one)) is not None]
    own_teachers: list[OwnTeacher] = []
    if len(paths) == len(teachers):
        settings["teacher"] = paths
        stated = settings.get("teacher_normalization")
        if isinstance(stated, Normalization):
            settings["teacher_normalization"] = {"mean": stated.mean, "std": stated.std}
    elif any(isinstance(one, str | Path) for one in teachers):
        raise InputError("teachers: some are paths and some are objects; give paths alone, or networks alone")
    else:
        stated = _stated(settings.pop("teacher_normalization", "unknown"))
        own_teachers = [_own_teacher(one, stated) for one in teachers]
    samples = _samples(train, validation, test, normalization, student, settings)
    own = OwnParts(samples.dataset, _module(student), own_teachers)
    return _run(student, samples, {**settings, "recipe": recipe}, own, normalization, out, callbacks, progress)


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
    return _run(student, samples, {"recipe": "none", **settings}, own, normalization, out, callbacks, progress)


def _path_of(teacher: Any) -> Path | None:
    """Where a teacher lies: a path, or the run folder that states all of a trained network; None of other objects."""
    if isinstance(teacher, Trained) and (teacher.folder / CARD_FILE).is_file():
        return teacher.folder
    return Path(teacher) if isinstance(teacher, str | Path) else None


def _stated(normalization: Any) -> Normalizer | None:
    """How teachers in Python take images; None where nothing is stated of it."""
    if normalization == "unknown":
        return None
    if normalization is None:
        return NoNormalization()
    if isinstance(normalization, Normalizer):
        return normalization
    raise InputError(
        f"teacher_normalization is {normalization!r}; of a teacher in Python expected Normalization(mean, std) of "
        "pixels in [0, 1], or None where it normalizes them itself"
    )


def _own_teacher(teacher: Any, normalization: Normalizer | None) -> OwnTeacher:
    if isinstance(teacher, Trained):
        return OwnTeacher(teacher.student, normalization or teacher.normalization, teacher.class_names)
    return OwnTeacher(teacher, normalization)


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
    normalization: Pixels,
    out: Path | str | None,
    callbacks: Sequence[Callback],
    progress: bool,
) -> Trained:
    options = {name: settings.pop(name) for name in ("force", "checkpoint_seconds") if name in settings}
    name = student if isinstance(student, str) else f"{FROM_PYTHON}{type(student).__qualname__}"
    config = resolve({"data": samples.spec, "student": name}, _placed(settings), "the settings")
    objects = [own.student, *(one.teacher for one in own.teachers)]
    if own.dataset is None and any(isinstance(one, nn.Module) for one in objects):
        own = replace(own, dataset=normalized(training_data(config), normalization))
    with ExitStack() as stack:
        stack.enter_context(process_group(choose_device(config.device)))
        folder = from_first(lambda: Path(tempfile.mkdtemp(prefix="preceptor-") if out is None else out))
        state = from_first(lambda: run_state(folder))
        if state in ("stopped", "complete") and not _same(resolve(read_run(folder)[0]), config):
            raise InputError(f"{folder}: holds a run of other settings: give those, or another folder")
        if progress and rank() == 0:
            callbacks = [stack.enter_context(ProgressBar(name)), *callbacks]
        try:
            if state == "complete":
                return _complete(folder, config, own)
            if state == "stopped":
                result = resume(folder, callbacks, own=own, on_finding=_warn, **options)
            else:
                result = run(config, folder, callbacks, own=own, on_finding=_warn, **options)
        except Interrupted as error:
            again = f"the same call goes on: it needs out={str(folder)!r}" if out is None else "the same call goes on"
            raise KeyboardInterrupt(f"stopped, with a checkpoint: {again}") from error
    return _trained(folder, student, result, own)


def _same(before: RunConfig, now: RunConfig) -> bool:
    """As they are written: a tuple among an optimizer's options is read as a list."""
    return before.model_dump(mode="json") == now.model_dump(mode="json")


def _trained(folder: Path, student: nn.Module | str, result: RunResult, own: OwnParts) -> Trained:
    measured = (result.validation, result.test, result.teacher, folder)
    if isinstance(student, str):
        network, card = load_student(folder)
        return Trained(network, *measured, card.normalization(), card.class_names)
    assert own.dataset is not None, "of a network in Python the data are loaded here"
    return Trained(student.eval(), *measured, own.dataset.normalization, own.dataset.class_names)


def _warn(finding: Finding) -> None:
    warnings.warn(finding.line(), DoctorWarning, stacklevel=5)


def _complete(folder: Path, config: RunConfig, own: OwnParts) -> Trained:
    """A run that is complete, its student measured again."""
    device = choose_device(config.device)
    with deterministic(), closing(set_up(config, device, own)) as context:
        check_same(folder, read_run(folder)[1], context)
        context.network.load_state_dict(load_file(folder / WEIGHTS_FILE))
        network = context.network.to(device).eval()
        validation = measure(context, network, context.train, context.held_out)
        test = None if context.dataset.test is None else measure(context, network, context.dataset.test, None)
        normalization = context.student.normalization
        classes = context.dataset.class_names
        return Trained(network, validation, test, context.teacher_check, folder, normalization, classes)


def _placed(settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Settings under their full keys: those of the training come first by name, as in ``epochs=30``."""
    return [
        (f"training.{name}" if name in TrainingConfig.model_fields else name, value) for name, value in settings.items()
    ]
