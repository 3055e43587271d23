"""Python objects in place of what a configuration names: data, networks, teachers."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from preceptor.data import Dataset
from preceptor.data.dataset import Normalization, Normalizer
from preceptor.errors import InputError
from preceptor.run.class_names import match_classes
from preceptor.run.config import RunConfig
from preceptor.run.folder import fingerprint
from preceptor.run.members import Kind, Member
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher, TeacherOutput
from preceptor.teachers.file import FileTeacher
from preceptor.teachers.rows import OutputKind


@dataclass(frozen=True)
class OwnTeacher:
    """A Python object that teaches.

    Attributes:
        teacher: a module, a callable, an array of outputs, or :class:`~preceptor.teachers.base.Teacher`.
        normalization: of the images that a module or callable takes; None is that of the data.
        class_names: of a module's outputs; none are those of the data, in order.
    """

    teacher: Any
    normalization: Normalizer | None = None
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class OwnParts:
    """What a run takes from Python.

    Attributes:
        dataset: the data; None is what the configuration names.
        student: the network to train, in place; None is an architecture that the configuration names.
        teachers: none where the configuration names them.
    """

    dataset: Dataset | None = None
    student: nn.Module | None = None
    teachers: Sequence[OwnTeacher] = ()


FROM_PYTHON = "python:"
"""How names of what only Python has begin, in a run's settings."""

NO_PARTS = OwnParts()
"""Everything is what the configuration names."""


def check_from_python(config: RunConfig, own: OwnParts) -> None:
    """Refuse a configuration of a run that was started with Python objects, without these.

    Raises:
        InputError: data or student are missing.
    """
    for what, name, part in (("data", config.data, own.dataset), ("student", config.student, own.student)):
        if name.startswith(FROM_PYTHON) and part is None:
            raise InputError(
                f"{what} {name!r}: the run was started in Python: call preceptor.distill or preceptor.train again with "
                "the same arguments and its folder as out"
            )


class FunctionTeacher:
    """Any callable as teacher.

    Args:
        function: inputs as a batch, normalized, to logits [batch, classes].
        normalize: of its images.
    """

    classes = None

    def __init__(self, function: Callable[[Any], Tensor], normalize: Normalizer) -> None:
        self._function, self._normalize = function, normalize

    @torch.no_grad()
    def outputs(self, inputs: Any, index: Int[Tensor, " batch"], view: Int[Tensor, " batch"]) -> TeacherOutput:
        """What the function returns, in float32; see ``Teacher``."""
        logits = self._function(self._normalize(inputs))
        if not isinstance(logits, Tensor):
            raise InputError(f"the teacher returned a {type(logits).__name__}; expected a tensor of logits")
        return TeacherOutput(logits.detach().float())


def own_members(
    own: OwnParts, dataset: Dataset, output_kind: OutputKind | None, device: torch.device
) -> tuple[Member, ...]:
    """The teachers among Python objects as members.

    Raises:
        InputError: an object that cannot teach, or an array whose meaning is not stated.
    """
    members = []
    for number, teacher in enumerate(own.teachers, start=1):
        name = f"teacher {number}" if len(own.teachers) > 1 else "the teacher"
        members.append(Member(Path(name), *_taught_by(teacher, name, dataset, output_kind, device)))
    return tuple(members)


def _taught_by(
    own: OwnTeacher, name: str, dataset: Dataset, output_kind: OutputKind | None, device: torch.device
) -> tuple[Kind, str, Normalization | None, Teacher]:
    """Kind, fingerprint, normalization and the teacher itself of an object."""
    teacher, normalize = own.teacher, own.normalization or dataset.normalization
    stated = normalize if isinstance(normalize, Normalization) else None
    if isinstance(teacher, nn.Module):
        classes, columns = None, None
        if own.class_names:
            classes, columns = len(own.class_names), match_classes(name, own.class_names, dataset)
        network = NetworkTeacher(teacher, normalize, device, classes, columns)
        return "network", fingerprint(network.network.state_dict()), stated, network
    if isinstance(teacher, Tensor | np.ndarray):
        rows = _rows(teacher, name, dataset, output_kind)
        return "file", fingerprint({"rows": torch.as_tensor(teacher)}), None, rows
    if isinstance(teacher, Teacher):
        return "function", _named(teacher), None, teacher
    if callable(teacher):
        return "function", _named(teacher), stated, FunctionTeacher(teacher, normalize)
    raise InputError(
        f"{name}: a {type(teacher).__name__} cannot teach; expected an nn.Module, a callable, an array of outputs, a "
        "run folder or a file"
    )


def _rows(teacher: Any, name: str, dataset: Dataset, output_kind: OutputKind | None) -> FileTeacher:
    if output_kind is None:
        raise InputError(f'{name}: give teacher_output="logits" or "probabilities": its numbers do not tell')
    rows = teacher.detach().cpu().numpy() if isinstance(teacher, Tensor) else teacher
    with TemporaryDirectory(prefix="preceptor-") as folder:
        path = Path(folder) / "outputs.npy"
        np.save(path, rows)
        return FileTeacher(path, output_kind=output_kind, images=len(dataset.train), class_names=dataset.class_names)


def _named(teacher: Any) -> str:
    """In place of a digest of its content, which nobody can see."""
    name = getattr(teacher, "__qualname__", type(teacher).__qualname__)
    return hashlib.sha256(f"function {name}".encode()).hexdigest()
