"""One teacher as it lies on the disk: a run folder, an ONNX file, or a file of logits or probabilities."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from preceptor.data import Dataset, Normalization
from preceptor.errors import InputError
from preceptor.models import load_student
from preceptor.run.cards import check_card
from preceptor.run.config import RunConfig
from preceptor.run.folder import fingerprint
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher
from preceptor.teachers.file import FileTeacher
from preceptor.teachers.onnx import OnnxTeacher, weights_beside
from preceptor.teachers.rows import OutputKind

Kind = Literal["network", "ONNX file", "file"]

_KINDS: dict[str, Kind] = {".onnx": "ONNX file", ".npy": "file", ".parquet": "file", ".pq": "file"}
_KNOWN = "a run folder, FILE.onnx, FILE.npy or FILE.parquet"


@dataclass(frozen=True)
class Member:
    """One teacher, alone or in an ensemble.

    Attributes:
        path: where it lies.
        kind: what it is.
        fingerprint: a SHA-256 of what decides its word, but for the normalization: of a network's weights, or of a
            file and of what its numbers are.
        normalization: what its images go through first; None where it takes pixels, or looks at none.
        signal: what it says; of a network as it came, in fp32.
    """

    path: Path
    kind: Kind
    fingerprint: str
    normalization: Normalization | None
    signal: Teacher


def kind_of(path: Path) -> Kind:
    """What a teacher is, by its name. A folder is a network's, whatever it is called.

    Raises:
        InputError: a file of another kind.
    """
    if path.is_dir() or (not path.exists() and path.suffix not in _KINDS):
        return "network"
    if path.suffix == ".npz":
        raise InputError(f"teacher {path}: an .npz archive cannot teach: save its one array of outputs with numpy.save")
    if path.suffix not in _KINDS:
        raise InputError(f"teacher {path}: a file of a kind that cannot teach: give {_KNOWN}")
    return _KINDS[path.suffix]


def load_members(config: RunConfig, dataset: Dataset, device: torch.device) -> tuple[Member, ...]:
    """The teachers of a configuration, each checked against the data set as far as it tells before it speaks.

    Raises:
        InputError: one cannot be read or does not fit; or what the numbers of a file are is not said, or is said
            where there is no such file.
        MachineError: a package that a kind of file needs is not installed.
    """
    kinds = [kind_of(path) for path in config.teachers]
    _check_stated(config, kinds)
    return tuple(
        _member(kind, path, config, dataset, device) for kind, path in zip(kinds, config.teachers, strict=True)
    )


def load_network(folder: Path, dataset: Dataset, device: torch.device) -> tuple[NetworkTeacher, str]:
    """The network in a run folder as teacher, and the fingerprint of its weights.

    Raises:
        InputError: no whole network in the folder, or one that does not fit the data set.
    """
    if (folder / "cache.json").is_file():
        raise InputError(f"teacher {folder}: holds a cache: give it as --cache, with or without the teacher it is of")
    network, card = load_student(folder)
    check_card(f"teacher {folder}", card, dataset)
    return NetworkTeacher(network, card.normalization(), device, card.classes), fingerprint(network.state_dict())


def _check_stated(config: RunConfig, kinds: list[Kind]) -> None:
    files = [path for path, kind in zip(config.teachers, kinds, strict=True) if kind != "network"]
    if files and config.teacher_output is None:
        raise InputError(
            f"{files[0]}: say what its numbers are: --teacher-output logits or --teacher-output probabilities"
        )
    if not files and config.teacher_output is not None:
        raise InputError(
            f"teacher_output = {config.teacher_output}: is for .onnx, .npy and .parquet files; the outputs of a run folder "
            "are logits: leave it away"
        )
    if config.teacher_normalization is not None and "ONNX file" not in kinds:
        raise InputError(
            "teacher_normalization: is for .onnx files, others bring their own or need none: leave it away"
        )


def _member(kind: Kind, path: Path, config: RunConfig, dataset: Dataset, device: torch.device) -> Member:
    if kind == "network":
        network, weights = load_network(path, dataset, device)
        return Member(path, kind, weights, network.normalize, network)
    assert config.teacher_output is not None, "checked beforehand"
    if kind == "ONNX file":
        return _onnx(path, config, config.teacher_output, dataset)
    rows = FileTeacher(path, says=config.teacher_output, images=len(dataset.train), class_names=dataset.class_names)
    return Member(path, kind, _of_file(path, config.teacher_output, []), None, rows)


def _onnx(path: Path, config: RunConfig, says: OutputKind, dataset: Dataset) -> Member:
    stated = config.teacher_normalization
    teacher = OnnxTeacher(
        path,
        says=says,
        image_shape=(dataset.channels, *dataset.size),
        normalize=None if stated is None else stated.normalization(),
        otherwise=dataset.normalization,
    )
    if teacher.classes != dataset.classes:
        raise InputError(
            f"teacher {path} has {teacher.classes} classes, {dataset.name} has {dataset.classes}: "
            "the classes must be the same, in the same order"
        )
    return Member(path, "ONNX file", _of_file(path, says, weights_beside(path)), teacher.normalize, teacher)


def _of_file(path: Path, says: OutputKind, beside: list[Path]) -> str:
    digest = hashlib.sha256(says.encode())
    for part in (path, *beside):
        with part.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
