"""One teacher as it lies on the disk: a run folder, an ONNX file, or a file of logits or probabilities."""

import hashlib
from collections.abc import Sequence
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
from preceptor.teachers.cache.metadata import METADATA_FILE
from preceptor.teachers.file import FileTeacher
from preceptor.teachers.onnx import OnnxTeacher, weights_beside

Kind = Literal["network", "ONNX file", "file"]

_KINDS: dict[str, Kind] = {".onnx": "ONNX file", ".npy": "file", ".parquet": "file", ".pq": "file"}


@dataclass(frozen=True)
class Member:
    """One teacher, alone or in an ensemble, as it lies on the disk.

    Attributes:
        path: a run folder or a file.
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
    """The kind of a teacher, by its name. A folder is a network's, whatever it is called.

    Raises:
        InputError: a file of another kind.
    """
    if path.is_dir() or (not path.exists() and path.suffix not in _KINDS):
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
    if config.teacher_normalization is not None and "ONNX file" not in kinds.values():
        raise InputError("teacher_normalization: is for .onnx files alone: leave it out")
    return tuple(_load_member(path, kinds[path], config, dataset, device) for path in config.teachers)


def load_network(folder: Path, dataset: Dataset, device: torch.device) -> tuple[NetworkTeacher, str]:
    """The network in a run folder as teacher, and the fingerprint of its weights.

    Raises:
        InputError: no whole network in the folder, or one that does not fit the data set.
    """
    if (folder / METADATA_FILE).is_file():
        raise InputError(f"teacher {folder}: holds a cache: give it as --cache, with or without the teacher it is of")
    network, card = load_student(folder)
    check_card(f"teacher {folder}", card, dataset)
    return NetworkTeacher(network, card.normalization(), device, card.classes), fingerprint(network.state_dict())


def _load_member(path: Path, kind: Kind, config: RunConfig, dataset: Dataset, device: torch.device) -> Member:
    if kind == "network":
        network, weights = load_network(path, dataset, device)
        return Member(path, kind, weights, network.normalize, network)
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
        normalize=None if normalization is None else normalization.normalization(dataset.channels),
        default_normalize=dataset.normalization,
    )
    if teacher.classes != dataset.classes:
        raise InputError(
            f"teacher {path} has {teacher.classes} classes, {dataset.name} has {dataset.classes}: "
            "the classes must be the same, in the same order"
        )
    return Member(path, kind, _file_fingerprint(output, [path, *weights_beside(path)]), teacher.normalize, teacher)


def _file_fingerprint(output: str, paths: Sequence[Path]) -> str:
    digest = hashlib.sha256(output.encode())
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
