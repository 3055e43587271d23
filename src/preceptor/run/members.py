"""One teacher: a run folder, an ONNX file, a file of logits or probabilities, or a network by name."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from preceptor.data import Dataset, Normalization
from preceptor.errors import InputError, NetworkFitted, first_line
from preceptor.models import load_student, seeded_model
from preceptor.models.custom import LIBRARIES, code_module
from preceptor.models.family import is_own_architecture
from preceptor.models.network_input import NetworkInput
from preceptor.models.pretrained import network_input
from preceptor.models.sized import fitted_to
from preceptor.models.weights import load_weights
from preceptor.run.cards import check_channels, note_size, size_in_words
from preceptor.run.class_names import match_classes
from preceptor.run.config import RunConfig
from preceptor.run.folder import fingerprint
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher
from preceptor.teachers.cache.metadata import METADATA_FILE
from preceptor.teachers.file import FileTeacher
from preceptor.teachers.onnx import OnnxTeacher, weights_beside

Kind = Literal["network", "ONNX file", "file", "function"]

_KINDS: dict[str, Kind] = {".onnx": "ONNX file", ".npy": "file", ".parquet": "file", ".pq": "file"}


@dataclass(frozen=True)
class Member:
    """One teacher, alone or in an ensemble.

    Attributes:
        path: a run folder, a file, or a network's name.
        kind: what it is.
        fingerprint: a SHA-256 of all that its outputs follow from, but for the normalization: of a network's weights,
            or of a file and of what its numbers are.
        normalization: of its images; None where it takes pixels, or no images at all.
        teacher: a network as it came, in fp32.
    """

    path: Path
    kind: Kind
    fingerprint: str
    normalization: Normalization | None
    teacher: Teacher


def kind_of(path: Path) -> Kind:
    """The kind of a teacher, by its name. A folder and an architecture's name are a network's.

    Raises:
        InputError: a file of another kind.
    """
    if path.is_dir() or names_network(path) or (not path.exists() and path.suffix not in _KINDS):
        return "network"
    if path.suffix == ".npz":
        raise InputError(f"teacher {path}: an .npz archive cannot teach: save its one array of outputs with numpy.save")
    if path.suffix not in _KINDS:
        raise InputError(
            f"teacher {path}: not a kind of file that can teach; expected a run folder, FILE.onnx, FILE.npy or "
            "FILE.parquet"
        )
    return _KINDS[path.suffix]


def load_members(config: RunConfig, dataset: Dataset, device: torch.device) -> tuple[Member, ...]:
    """The teachers of a configuration, each checked against the data set as far as possible without a query.

    Raises:
        InputError: one cannot be read or does not fit; ``teacher_output`` or ``teacher_normalization`` is missing, or
            set where there is nothing that it applies to.
        MachineError: a package that a kind of file needs is not installed.
    """
    kinds = {path: kind_of(path) for path in config.teachers}
    _check_weights(config)
    files = [path for path, kind in kinds.items() if kind != "network"]
    if files and config.teacher_output is None:
        raise InputError(
            f"{files[0]}: give --teacher-output logits or --teacher-output probabilities: its numbers do not tell"
        )
    if not files and config.teacher_output is not None:
        raise InputError(
            f"teacher_output = {config.teacher_output}: is for .onnx, .npy and .parquet files; a run folder's outputs "
            "are logits: leave it out"
        )
    if config.teacher_output_name is not None and "ONNX file" not in kinds.values():
        raise InputError("teacher_output_name: is for .onnx files: leave it out")
    takes_normalization = "ONNX file" in kinds.values() or any(map(names_network, config.teachers))
    if config.teacher_normalization is not None and not takes_normalization:
        raise InputError("teacher_normalization: is for .onnx files and networks by name: leave it out")
    return tuple(_load_member(path, kinds[path], config, dataset, device) for path in config.teachers)


def names_network(path: Path) -> bool:
    """Whether a teacher is a network by its architecture's name, such as resnet56, timm:NAME or
    PACKAGE.MODULE:FUNCTION."""
    name = str(path)
    if path.exists():
        return False
    library, colon, _ = name.partition(":")
    return bool(colon and library in LIBRARIES) or code_module(name) is not None or is_own_architecture(name)


def _check_weights(config: RunConfig) -> None:
    if config.teacher_weights is None:
        for path in config.teachers:
            if not path.exists() and is_own_architecture(str(path)):
                raise InputError(
                    f"teacher {path}: no such run folder, and the architecture of this name has no weights of its own: "
                    "give --teacher-weights FILE, or the folder of a run"
                )
        return
    if len(config.teachers) != 1 or not names_network(config.teachers[0]):
        raise InputError(
            "teacher_weights: is for one teacher that is a network by name (resnet56, timm:NAME, torchvision:NAME, "
            "hf:NAME or PACKAGE.MODULE:FUNCTION); a run folder has weights of its own: leave it out"
        )


def load_network(folder: Path, dataset: Dataset, device: torch.device) -> tuple[NetworkTeacher, str]:
    """The network in a run folder as teacher, and the fingerprint of its weights.

    It sees the data's images in its own size, and its classes are matched to the data's by name; both are told in a
    line.

    Raises:
        InputError: no whole network in the folder, or one of other channels or without a class of the data.
    """
    if (folder / METADATA_FILE).is_file():
        raise InputError(f"teacher {folder}: holds a cache: give it as --cache, with or without the teacher it is of")
    network, card = load_student(folder)
    who = f"teacher {folder}"
    check_channels(who, card, dataset)
    columns = match_classes(who, card.class_names, dataset)
    normalization = fitted_to(Normalization(card.mean, card.std), card.image_size, dataset.size)
    teacher = NetworkTeacher(network, normalization, device, card.classes, columns)
    return teacher, fingerprint(network.state_dict())


def _named_network(name: str, config: RunConfig, dataset: Dataset, device: torch.device) -> NetworkTeacher:
    """A network by its architecture's name, with weights of a file, of its library, or as its function built it."""
    who, stated = f"teacher {name}", config.teacher_normalization
    own = network_input(name, dataset.channels, download=config.download) or NetworkInput()
    normalization = own.normalization if stated is None else stated.normalization(dataset.channels)
    if normalization is None:
        raise InputError(
            f"{who}: how its images are normalized is not known, and never guessed: give --teacher-mean and "
            "--teacher-std (0 and 1 for a network that takes pixels in [0, 1])"
        )
    from_library = config.teacher_weights is None and code_module(name) is None
    classes = len(own.class_names) if from_library and own.class_names else dataset.classes
    network = seeded_model(
        name,
        channels=dataset.channels,
        classes=classes,
        seed=0,
        weights="pretrained" if from_library else "later",
        download=config.download,
    )
    if config.teacher_weights is not None:
        report = load_weights(network, config.teacher_weights, whole=True)
        warnings.warn(f"{who}: {config.teacher_weights}: {report.line()}", NetworkFitted, stacklevel=2)
    columns = match_classes(who, own.class_names, dataset) if from_library and own.class_names else None
    size = own.size or dataset.size
    note_size(who, size, dataset)
    teacher = NetworkTeacher(network, fitted_to(normalization, size, dataset.size), device, classes, columns)
    _try(who, teacher, size, dataset)
    return teacher


def _try(who: str, teacher: NetworkTeacher, size: tuple[int, int], dataset: Dataset) -> None:
    """Show a network that no card describes two images."""
    try:
        logits = teacher(dataset.train.images[:2].to(teacher.device))
    except (RuntimeError, ValueError, AssertionError, AttributeError, TypeError, IndexError) as error:
        raise InputError(
            f"{who} cannot take images of {dataset.channels} channels and {size_in_words(size)} pixels "
            f"({first_line(error)}): choose another network, or other data"
        ) from error
    if logits.shape[1] != dataset.classes:
        raise InputError(
            f"{who} has {logits.shape[1]} classes, {dataset.name} has {dataset.classes}: the classes must be the same, "
            "in the same order"
        )


def _load_member(path: Path, kind: Kind, config: RunConfig, dataset: Dataset, device: torch.device) -> Member:
    if kind == "network" and names_network(path):
        named = _named_network(str(path), config, dataset, device)
        return Member(path, kind, fingerprint(named.network.state_dict()), _pixels(named), named)
    if kind == "network":
        network, weights = load_network(path, dataset, device)
        return Member(path, kind, weights, _pixels(network), network)
    output = config.teacher_output
    assert output is not None, "checked by load_members"
    if kind == "file":
        rows = FileTeacher(path, output_kind=output, images=len(dataset.train), class_names=dataset.class_names)
        return Member(path, kind, _file_fingerprint(output, [path]), None, rows)
    normalization = config.teacher_normalization
    teacher = OnnxTeacher(
        path,
        output_kind=output,
        image_shape=(dataset.channels, *dataset.size),
        output=config.teacher_output_name,
        normalize=None if normalization is None else normalization.normalization(dataset.channels),
        default_normalize=dataset.normalization if isinstance(dataset.normalization, Normalization) else None,
    )
    if teacher.classes != dataset.classes:
        raise InputError(
            f"teacher {path} has {teacher.classes} classes, {dataset.name} has {dataset.classes}: "
            "the classes must be the same, in the same order"
        )
    return Member(path, kind, _file_fingerprint(output, [path, *weights_beside(path)]), teacher.normalize, teacher)


def _pixels(teacher: NetworkTeacher) -> Normalization | None:
    return teacher.normalize if isinstance(teacher.normalize, Normalization) else None


def _file_fingerprint(output: str, paths: Sequence[Path]) -> str:
    digest = hashlib.sha256(output.encode())
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
