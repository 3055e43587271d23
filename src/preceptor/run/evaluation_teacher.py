"""The teacher beside an evaluated student: which one can be queried, and what it costs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from preceptor.config import validated
from preceptor.data import Dataset, ImageSet
from preceptor.errors import InputError
from preceptor.models.costs import NetworkCost, network_cost
from preceptor.models.custom import is_allowed
from preceptor.run.config import NormalizationConfig, resolve
from preceptor.run.folder import RUN_FILE
from preceptor.run.history import SavedRun
from preceptor.run.members import Member, kind_of, load_members, names_network
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher
from preceptor.teachers.ensemble import Ensemble

BATCH = 512


@dataclass(frozen=True)
class QueriedTeacher:
    """A teacher that can be queried about any image.

    Attributes:
        name: its paths.
        teacher: all of its members as one.
        members: one, or those of an ensemble.
    """

    name: str
    teacher: Teacher
    members: tuple[Member, ...]

    def logits(self, images: ImageSet, dataset: Dataset, device: torch.device) -> Float[Tensor, "n classes"]:
        """Of images as they are, on the CPU."""
        view, parts = dataset.augmentation.identity, []
        for part, index in zip(images.images.split(BATCH), torch.arange(len(images)).split(BATCH), strict=True):
            parts.append(self.teacher.outputs(part.to(device), index, torch.full_like(index, view)).logits.cpu())
        return torch.cat(parts)

    def costs(self, dataset: Dataset) -> dict[str, NetworkCost]:
        """By member; none where one of them is no network."""
        return dict(self._costs(dataset)) if all(one.kind == "network" for one in self.members) else {}

    def _costs(self, dataset: Dataset) -> Iterator[tuple[str, NetworkCost]]:
        for member in self.members:
            assert isinstance(member.teacher, NetworkTeacher)
            assert member.normalization is not None, "a network on disk has one"
            yield (
                str(member.path),
                network_cost(member.teacher.network, member.normalization, (dataset.channels, *dataset.size)),
            )


def find_teacher(
    run: SavedRun | None, dataset: Dataset, path: Path | None, device: torch.device
) -> QueriedTeacher | str:
    """The teacher that can be queried about any images; or, in words, why none can.

    Args:
        run: the student's; None where that is not known.
        dataset: that it has to fit.
        path: of another teacher than the run's: a run folder or an ONNX file of logits.
        device: where it runs.

    Raises:
        InputError: a teacher that cannot be read or does not fit.
    """
    config = None if run is None else run.config
    if run is not None and (path is None or run.config.teachers == (path,)):
        dataset = _normalized_as_in(run, dataset)
    elif path is not None:
        output = "logits" if kind_of(path) == "ONNX file" else None
        config = resolve({"data": dataset.name, "teacher": path, "teacher_output": output})
    if config is None or not config.teachers:
        return "the run names no teacher"
    files = [each for each in config.teachers if kind_of(each) == "file"]
    if files and path is not None:
        raise InputError(
            f"--teacher {path}: a file has outputs of the training images alone; expected a run folder or FILE.onnx"
        )
    if files:
        return f"{files[0]} has outputs of the training images alone"
    missing = [each for each in config.teachers if not each.exists() and not names_network(each)]
    if missing and path is None:
        return f"{missing[0]} does not exist any more"
    forbidden = [each for each in config.teachers if not is_allowed(str(each))]
    if forbidden and path is None:  # the run's folder names it, not the user
        return f"{forbidden[0]} is code that was not allowed (--allow-code)"
    members = load_members(config, dataset, device)
    networks = [member.teacher for member in members]
    several = len(networks) > 1
    teacher = Ensemble(networks, config.ensemble_weights, config.ensemble_mean) if several else networks[0]
    return QueriedTeacher(", ".join(str(each) for each in config.teachers), teacher, members)


def _normalized_as_in(run: SavedRun, dataset: Dataset) -> Dataset:
    """The data with the normalization that the run's ONNX teachers took: without one of their own it is that of the
    run's data, of which these may not be. As they are where the run has no record of it."""
    teacher = run.record.get("teacher")
    stated = teacher.get("normalization") if isinstance(teacher, dict) else None
    for path, one in zip(run.config.teachers, stated if isinstance(stated, list) else (), strict=False):
        if one is not None and kind_of(path) == "ONNX file":
            known = validated(NormalizationConfig, one, f"{run.folder / RUN_FILE}: record.teacher.normalization")
            return replace(dataset, normalization=known.normalization(dataset.channels))
    return dataset
