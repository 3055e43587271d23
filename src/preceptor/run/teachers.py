"""The teacher of a run: loaded, checked against the data, optimized for inference, and put behind its cache."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.config import validated
from preceptor.data import Augmentation, Dataset, ImageSet
from preceptor.data.items import MANY_VIEWS
from preceptor.errors import InputError
from preceptor.models.sized import SizedNormalization
from preceptor.run.config import RunConfig
from preceptor.run.folder import fingerprint
from preceptor.run.members import Member, load_members
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher
from preceptor.teachers.cache import CacheKey, CacheMetadata, Layout, LogitCache, open_cache, open_readonly
from preceptor.teachers.cache.metadata import METADATA_FILE, check_key, check_layout, data_parts, read_metadata
from preceptor.teachers.check import TeacherPredictions, predict_training_images
from preceptor.teachers.ensemble import Ensemble
from preceptor.training.precision import resolve_precision

ComputePrecision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class LoadedTeacher:
    """What teaches in a run.

    Attributes:
        members: the teachers as they came, several of an ensemble; none where a cache teaches alone.
        kind: for messages and ``run.yaml``.
        fingerprint: a SHA-256 that tells it from others.
        normalization: mean and std of its images; of a cache that teaches alone, of the images it was filled with.
        precision: what its networks compute in, or its cache was filled in; "fp32" where there are no networks.
        optimizations: what was done to its networks, a line each.
        teacher: to be queried; its cache, where it has one.
        cache: that cache.
        held: how many entries the cache held when it was opened.
        compiled: whether its networks are.
    """

    members: tuple[Member, ...]
    kind: str
    fingerprint: str
    normalization: dict[str, tuple[float, ...]]
    precision: ComputePrecision
    optimizations: tuple[str, ...]
    teacher: Teacher
    cache: LogitCache | None = None
    held: int = 0
    compiled: bool = False

    @property
    def network(self) -> NetworkTeacher | None:
        """The one network it consists of, as it came and in fp32, to look inside; None for every other kind."""
        first = self.members[0].teacher if len(self.members) == 1 else None
        return first if isinstance(first, NetworkTeacher) else None

    @property
    def networks(self) -> tuple[NetworkTeacher, ...]:
        """All networks among its members, as they came."""
        return tuple(member.teacher for member in self.members if isinstance(member.teacher, NetworkTeacher))

    def record(self) -> dict[str, Any]:
        """Its part of ``run.yaml``."""
        cache = None
        if self.cache is not None:
            # Without the class names, perhaps a thousand: they stand on the student's card.
            key = self.cache.metadata.key.model_dump(mode="json", exclude={"class_names"})
            cache = {"path": str(self.cache.folder), "top_k": self.cache.layout.top_k, "key": key, "held": self.held}
        return {
            "kind": self.kind,
            "precision": self.precision,
            "optimizations": list(self.optimizations),
            "compiled": self.compiled,
            "normalization": [
                None if one is None else {"mean": list(one.mean), "std": list(one.std)}
                for one in (member.normalization for member in self.members)
            ],
            "cache": cache,
        }

    def cached(self) -> int | None:
        """How many entries were added to its cache since it was opened; None without one."""
        return None if self.cache is None else self.cache.count - self.held

    def close(self) -> None:
        """Close the cache, everything written."""
        if self.cache is not None:
            self.cache.close()


def load_teacher(
    config: RunConfig,
    dataset: Dataset,
    augmentation: Augmentation,
    device: torch.device,
    *,
    batch_size: int | None = None,
    members: Sequence[Member] = (),
) -> LoadedTeacher:
    """The teacher of a configuration: loaded, checked, optimized but not compiled, its cache opened or made.

    Args:
        config: names at least one teacher or a cache.
        dataset: what it is to teach on.
        augmentation: whose views it is shown.
        device: where its networks run.
        batch_size: in which the teacher behind a cache is queried. Default that of the training.
        members: the teachers, where the configuration names none.

    Raises:
        InputError: no teacher and no cache; a teacher that cannot be read or does not fit the data; a cache of
            something else, of another precision than the one insisted on, or in front of files alone.
        MachineError: a package is missing, or the cache cannot be written.
    """
    members = tuple(members) or load_members(config, dataset, device)
    _check_settings(config, members)
    kind, parts, folder = _kind(config, members), _teacher_parts(config, members), config.cache
    if folder is None:
        precision = _precision(config, members, device)
        teacher, optimizations = _optimize(config, members, dataset, precision)
        return LoadedTeacher(members, kind, parts["teacher"], parts["normalization"], precision, optimizations, teacher)

    if augmentation.count >= MANY_VIEWS:
        raise InputError(
            f"cache {folder}: {dataset.name} may draw random numbers, and nearly every input would be new to a cache: "
            "give views=1 where its items are always the same, or a few views"
        )
    # An existing cache first: it must be of these things, and its precision decides that of the networks.
    parts |= dataset_parts(dataset, augmentation)
    existing, layout = fitting_cache(config, dataset, augmentation, parts)
    precision = _precision(config, members, device, existing)
    if not members:
        cache = open_readonly(folder)
        key = cache.metadata.key
        return LoadedTeacher((), kind, key.teacher, key.normalization, precision, (), cache, cache, cache.count)

    teacher, optimizations = _optimize(config, members, dataset, precision)
    if existing is None:  # a teacher that cannot teach leaves no folder behind
        images, labels = dataset.train.images[:2].to(device), dataset.train.labels[:2].to(device)
        predict_training_images(teacher, images, labels, dataset.classes, view=augmentation.identity)
    key = CacheKey(**parts, precision=precision)
    cache = open_cache(folder, key, layout, teacher, batch_size or config.training.batch_size)
    return LoadedTeacher(
        members, kind, key.teacher, key.normalization, precision, optimizations, cache, cache, cache.count
    )


def check_teacher(
    loaded: LoadedTeacher, train: ImageSet, index: Int[Tensor, " n"], classes: int, augmentation: Augmentation
) -> TeacherPredictions | None:
    """Query the teacher once about training images as they are, before the first step of training.

    Args:
        loaded: the teacher. A cache that teaches alone is queried only about what it holds in this view.
        train: all training images, on the teacher's device.
        index: positions of the images to look at, on the CPU.
        classes: how many the data set has.
        augmentation: whose identity view is shown.

    Returns:
        its answers; None where a cache alone holds none of the images as they are.

    Raises:
        InputError: as by ``teachers.check.predict_training_images``.
    """
    if loaded.cache is not None and loaded.cache.teacher is None:
        index = index[loaded.cache.is_filled(index, torch.full_like(index, augmentation.identity))]
        if len(index) == 0:
            return None
    shown = train.take(index.to(train.images.device))
    return predict_training_images(
        loaded.teacher, shown.images, shown.labels, classes, index=index, view=augmentation.identity
    )


def compile_teacher(loaded: LoadedTeacher, config: RunConfig, dataset: Dataset, batch_size: int) -> LoadedTeacher:
    """The same teacher with its networks compiled for batches of this size."""
    teacher, optimizations = _optimize(config, loaded.members, dataset, loaded.precision, compile_for=batch_size)
    if loaded.cache is None:
        return replace(loaded, teacher=teacher, optimizations=optimizations, compiled=True)
    loaded.cache.teacher = teacher
    return replace(loaded, optimizations=optimizations, compiled=True)


def _check_settings(config: RunConfig, members: Sequence[Member]) -> None:
    """Refuse settings of ensemble and cache that do not fit each other."""
    if len(members) == 1 and config.ensemble_weights is not None:
        raise InputError("ensemble_weights: are for several teachers, and there is one: leave them out")
    if config.teacher_weights is not None and not members:
        raise InputError("teacher_weights: there is no teacher: name its architecture with --teacher")
    if config.cache is None and not members:
        raise InputError("no teacher: give --teacher RUN_FOLDER, or --cache DIR of a cache that is filled")
    if config.cache is not None and any(member.kind == "function" for member in members):
        raise InputError(
            f"cache {config.cache}: what a function's outputs follow from cannot be known, so that a cache of another "
            "would not be noticed: leave out the cache, or give the teacher as a network"
        )
    if config.cache is None and config.cache_top_k is not None:
        raise InputError(f"cache_top_k = {config.cache_top_k}: there is no cache: give --cache DIR with it")
    if config.cache is not None and members and all(member.kind == "file" for member in members):
        raise InputError(
            f"cache {config.cache}: {members[0].path} already holds all outputs: a cache in front of it would only "
            "keep them twice: leave out --cache"
        )


def _kind(config: RunConfig, members: Sequence[Member]) -> str:
    if not members:
        return "cache alone"
    if len(members) == 1:
        return members[0].kind
    kinds = ", ".join(member.kind for member in members)
    return f"ensemble of {len(members)} ({kinds}), mean of {config.ensemble_mean}"


def _precision(
    config: RunConfig, members: Sequence[Member], device: torch.device, existing: CacheMetadata | None = None
) -> ComputePrecision:
    """What networks compute in: what the existing cache was filled in, or else what the configuration says."""
    if existing is None:
        networks = [one.teacher.network for one in members if isinstance(one.teacher, NetworkTeacher)]
        each = [resolve_precision(config.precision, device, network) for network in networks]
        return "bf16" if each and "fp32" not in each else "fp32"
    if existing.key.precision != "bf16":
        return "fp32"
    if config.precision == "fp32":
        raise InputError(
            f"cache {config.cache}: was filled in bf16, and precision is fp32: give --precision auto or bf16 to use "
            "it, or a cache in another folder"
        )
    return "bf16"


def _optimize(
    config: RunConfig,
    members: Sequence[Member],
    dataset: Dataset,
    precision: ComputePrecision,
    compile_for: int | None = None,
) -> tuple[Teacher, tuple[str, ...]]:
    """The members as one teacher, its networks optimized and, for a batch size, compiled; and what was done to them."""
    teachers = [
        member.teacher.optimize_for_inference(
            bf16=precision == "bf16",
            compile=compile_for is not None,
            batch_size=compile_for or 1,
            image_size=_seen_size(member, dataset),
        )
        if isinstance(member.teacher, NetworkTeacher)
        else member.teacher
        for member in members
    ]
    optimizations = tuple(str(teacher.report) for teacher in teachers if isinstance(teacher, NetworkTeacher))
    if len(teachers) == 1:
        return teachers[0], optimizations
    return Ensemble(teachers, config.ensemble_weights, config.ensemble_mean), optimizations


def _seen_size(member: Member, dataset: Dataset) -> tuple[int, int]:
    """Height and width that decide the memory layout of a network's weights."""
    if isinstance(member.normalization, SizedNormalization):
        return member.normalization.size
    return dataset.size if dataset.of_images else (1, 1)


def _teacher_parts(config: RunConfig, members: Sequence[Member]) -> dict[str, Any]:
    """The parts of a cache's key that follow from the teacher; none without one."""
    if not members:
        return {}
    digest = members[0].fingerprint
    if len(members) > 1:
        ensemble = Ensemble([member.teacher for member in members], config.ensemble_weights, config.ensemble_mean)
        content = [ensemble.mean, ensemble.weights, [member.fingerprint for member in members]]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    # Mean and std by name, of several teachers of each; nothing where they take pixels, or no images.
    stated = [{} if one.normalization is None else asdict(one.normalization) for one in members]
    normalization = {f"{name} of member {n}": values for n, part in enumerate(stated) for name, values in part.items()}
    return {"teacher": digest, "normalization": normalization if len(members) > 1 else stated[0]}


def dataset_parts(dataset: Dataset, augmentation: Augmentation) -> dict[str, Any]:
    """The parts of a cache's key that follow from the data; reads every training image."""
    return data_parts(fingerprint({"images": dataset.train.images}), augmentation, dataset.class_names)


def fitting_cache(
    config: RunConfig, dataset: Dataset, augmentation: Augmentation, parts: dict[str, Any]
) -> tuple[CacheMetadata | None, Layout]:
    """The existing cache of a configuration, None where there is none yet, and the layout that it has or is to get.

    Args:
        config: its ``cache_top_k`` is how many logits to keep; None is what the existing cache keeps, or else all.
        dataset: whose training images are cached.
        augmentation: whose views are.
        parts: of the key that it must have.

    Raises:
        InputError: the existing cache is damaged, of something else, or of another layout; as many classes are to be
            kept as there are, or more.
    """
    folder = config.cache
    assert folder is not None, "the configuration names one"
    existing = read_metadata(folder) if isinstance(folder, str) or (folder / METADATA_FILE).exists() else None
    if existing is not None:
        check_key(folder, existing.key, parts)
    top_k = existing.layout.top_k if existing is not None and config.cache_top_k is None else config.cache_top_k
    sides = {"samples": len(dataset.train), "views": augmentation.count, "classes": dataset.classes, "top_k": top_k}
    layout = validated(Layout, sides, "the cache")
    if existing is not None:
        check_layout(folder, existing.layout, layout)
    return existing, layout
