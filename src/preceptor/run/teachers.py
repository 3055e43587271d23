"""The teacher of a run, of whatever kind: what it says, what can be told of it, and the cache it speaks through."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from preceptor.data import CropFlip, Dataset
from preceptor.errors import InputError
from preceptor.run.caches import card_there, check_bank, layout_of, setting_of
from preceptor.run.config import RunConfig
from preceptor.run.members import Member, load_members
from preceptor.teachers import NetworkTeacher, check_teacher
from preceptor.teachers.base import Teacher
from preceptor.teachers.cache import CacheKey, LogitCache, PooledTeacher, open_cache
from preceptor.teachers.cache.metadata import DatasetKey, check_fingerprint, check_layout
from preceptor.teachers.ensemble import Ensemble
from preceptor.training.precision import resolve_precision

Computes = Literal["fp32", "bf16"]

Stated = dict[str, tuple[float, ...]]
"""Mean and std by name, of each of several teachers; nothing where they take pixels, or look at none."""


@dataclass(frozen=True)
class LoadedTeacher:
    """What teaches in a run.

    Attributes:
        members: the teachers as they came, several of an ensemble; none where a cache speaks alone.
        kind: what it is, in words.
        fingerprint: a SHA-256 that tells it from others.
        precision: what its networks compute in, and a cache's did; "fp32" too where they are none, since every signal
            hands over fp32.
        optimize_for_inference: what was done to its networks, a line each.
        signal: what it says, through its cache where it has one.
        cache: that cache.
        held: how many cells it held when it was opened.
        compiled: whether its networks are.
    """

    members: tuple[Member, ...]
    kind: str
    fingerprint: str
    precision: Computes
    optimize_for_inference: tuple[str, ...]
    signal: Teacher
    cache: LogitCache | None = None
    held: int = 0
    compiled: bool = False

    @property
    def network(self) -> NetworkTeacher | None:
        """The one network it is, as it came and in fp32, for what looks inside; None for every other kind."""
        first = self.members[0].signal if len(self.members) == 1 else None
        return first if isinstance(first, NetworkTeacher) else None

    @property
    def networks(self) -> tuple[NetworkTeacher, ...]:
        """All networks among its members, as they came."""
        return tuple(member.signal for member in self.members if isinstance(member.signal, NetworkTeacher))

    @property
    def normalization(self) -> Stated:
        """What its images go through first; of a cache that speaks alone, what they went through."""
        if self.members or self.cache is None:
            return _stated(self.members)
        return self.cache.card.fingerprint.normalization

    @property
    def keeps_features(self) -> bool:
        """Whether its cache asks it for pooled features, which a compiled network does not show."""
        return self.cache is not None and self.cache.layout.features > 0

    def record(self) -> dict[str, Any]:
        """What ``run.yaml`` says of it."""
        return {
            "kind": self.kind,
            "precision": self.precision,
            "optimize_for_inference": list(self.optimize_for_inference),
            "compiled": self.compiled,
            "cache": None if self.cache is None else {**_bank_record(self.cache), "held": self.held},
        }

    def cached(self) -> int | None:
        """How many cells its cache was given since it was opened; None without one."""
        return None if self.cache is None else self.cache.store.count() - self.held

    def close(self) -> None:
        """Let go of the cache, everything written."""
        if self.cache is not None:
            self.cache.close()


def _bank_record(cache: LogitCache) -> dict[str, Any]:
    """What tells it from others; the class names, perhaps a thousand, stand on the student's card."""
    of = cache.card.fingerprint.model_dump(mode="json", exclude={"class_names"})
    return {"path": str(cache.folder), "top_k": cache.layout.top_k, "fingerprint": of}


def load_teacher(
    config: RunConfig, dataset: Dataset, rule: CropFlip, device: torch.device, *, features: bool = False
) -> LoadedTeacher:
    """The teacher of a configuration, made fast but not compiled, and its cache, opened or made.

    Args:
        config: names at least one teacher or a cache.
        dataset: what it is to teach on.
        rule: of the views.
        device: where its networks run.
        features: whether a cache to be made keeps pooled features. One that is there keeps what it keeps.

    Raises:
        InputError: no teacher and no cache; a teacher that cannot be read or does not fit the data; a cache of something
            else, of a precision below the one insisted on, or in front of files alone.
        MachineError: a package is missing, or the cache cannot be written.
    """
    members = load_members(config, dataset, device)
    _check_several(config, members)
    if config.cache is None:
        precision = _precision(config, members, device, None)
        signal, optimize_for_inference = _voice(config, members, dataset, precision)
        return LoadedTeacher(
            members, _in_words(config, members), _digest(config, members), precision, optimize_for_inference, signal
        )
    if not members:
        return _bank_alone(config, config.cache, dataset, rule)
    return _behind_bank(config, config.cache, members, dataset, rule, device, features)


def _bank_alone(config: RunConfig, folder: Path, dataset: Dataset, rule: CropFlip) -> LoadedTeacher:
    card = check_bank(folder, setting_of(dataset, rule))
    wanted = layout_of(dataset, rule, card, top_k=config.cache_top_k)
    check_layout(folder, card.layout, wanted)
    cache = LogitCache(folder, card, None)
    precision = _precision(config, (), torch.device("cpu"), card.fingerprint.precision)
    return LoadedTeacher((), "cache alone", card.fingerprint.teacher, precision, (), cache, cache, cache.store.count())


def _behind_bank(
    config: RunConfig,
    folder: Path,
    members: tuple[Member, ...],
    dataset: Dataset,
    rule: CropFlip,
    device: torch.device,
    features: bool,
) -> LoadedTeacher:
    setting, card = setting_of(dataset, rule), card_there(folder)
    if card is not None:
        check_fingerprint(
            folder, card.fingerprint, fingerprint_of(config, members, setting, card.fingerprint.precision)
        )
    precision = _precision(config, members, device, None if card is None else card.fingerprint.precision)
    live, optimize_for_inference = _voice(config, members, dataset, precision)
    if features or (card is not None and card.layout.features):
        live = _pooled(config, members, live, dataset)
    dims = live.features if isinstance(live, PooledTeacher) else None
    layout = layout_of(dataset, rule, card, top_k=config.cache_top_k, features=dims)
    if card is None:
        check_teacher(live, *_two(dataset, device), dataset.classes, view=rule.identity)  # before anything is made
    given = fingerprint_of(config, members, setting, precision)
    cache = open_cache(folder, given, layout, live)
    kind, held = _in_words(config, members), cache.store.count()
    return LoadedTeacher(members, kind, given.teacher, precision, optimize_for_inference, cache, cache, held)


def compiled(teacher: LoadedTeacher, config: RunConfig, dataset: Dataset, batch_size: int) -> LoadedTeacher:
    """The same teacher with its networks compiled for questions of so many images at a time."""
    live, optimize_for_inference = _voice(config, teacher.members, dataset, teacher.precision, batch_size)
    if teacher.cache is None:
        return dataclasses.replace(teacher, signal=live, optimize_for_inference=optimize_for_inference, compiled=True)
    teacher.cache.live = live
    return dataclasses.replace(teacher, optimize_for_inference=optimize_for_inference, compiled=True)


def fingerprint_of(config: RunConfig, members: Sequence[Member], setting: DatasetKey, precision: str) -> CacheKey:
    """What the word of these teachers follows from."""
    return CacheKey(
        **setting.model_dump(),
        teacher=_digest(config, members),
        normalization=_stated(members),
        precision=precision,
    )


def _stated(members: Sequence[Member]) -> Stated:
    stated = [{} if one.normalization is None else asdict(one.normalization) for one in members]
    several = {f"{part} of member {n}": values for n, parts in enumerate(stated) for part, values in parts.items()}
    return stated[0] if len(members) == 1 else several


def _digest(config: RunConfig, members: Sequence[Member]) -> str:
    if len(members) == 1:
        return members[0].fingerprint
    together = Ensemble([member.signal for member in members], config.ensemble_weights, config.ensemble_mean)
    content = [together.mean, together.weights, [member.fingerprint for member in members]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _check_several(config: RunConfig, members: Sequence[Member]) -> None:
    if len(members) == 1 and config.ensemble_weights is not None:
        raise InputError("ensemble_weights: are for several teachers, and one is given: leave them away")
    if config.cache is None and not members:
        raise InputError("no teacher: give --teacher RUN_FOLDER, or --cache DIR of a cache that is filled")
    if config.cache is None and config.cache_top_k is not None:
        raise InputError(f"cache_top_k = {config.cache_top_k}: there is no cache: give --cache DIR with it")
    if config.cache is not None and members and all(member.kind == "file" for member in members):
        raise InputError(
            f"cache {config.cache}: {members[0].path} already holds all that is said: a cache in front of it would only "
            "keep it twice: leave --cache away"
        )


def _precision(config: RunConfig, members: Sequence[Member], device: torch.device, kept: str | None) -> Computes:
    """What networks compute in: what the cache that is there was filled in, or else what is asked for."""
    if kept == "bf16" and config.precision == "fp32":
        raise InputError(
            f"cache {config.cache}: was filled in bf16, and precision is fp32: give --precision auto or bf16 to use it, "
            "or a cache in another folder"
        )
    if kept is not None:
        return "bf16" if kept == "bf16" else "fp32"
    computing = any(isinstance(member.signal, NetworkTeacher) for member in members)
    return resolve_precision(config.precision, device) if computing else "fp32"


def _voice(
    config: RunConfig,
    members: Sequence[Member],
    dataset: Dataset,
    precision: Computes,
    compile_for: int | None = None,
) -> tuple[Teacher, tuple[str, ...]]:
    """What members say together, their networks made fast and perhaps compiled; and what was done to these."""
    signals = [
        member.signal.optimize_for_inference(
            bf16=precision == "bf16",
            compile=compile_for is not None,
            batch_size=compile_for or 1,
            image_size=dataset.size,
        )
        if isinstance(member.signal, NetworkTeacher)
        else member.signal
        for member in members
    ]
    optimize_for_inference = tuple(str(signal.report) for signal in signals if isinstance(signal, NetworkTeacher))
    if len(signals) == 1:
        return signals[0], optimize_for_inference
    return Ensemble(signals, config.ensemble_weights, config.ensemble_mean), optimize_for_inference


def pooled_features(config: RunConfig, dataset: Dataset, device: torch.device) -> int:
    """How many pooled features the teacher of a configuration gives.

    Raises:
        InputError: it is no single network, or does not end in a linear layer.
    """
    members = load_members(config, dataset, device)
    if not members:
        raise InputError("features: only a network tells how many it has: give --teacher RUN_FOLDER")
    return _pooled(config, members, members[0].signal, dataset).features


def _pooled(config: RunConfig, members: Sequence[Member], live: Teacher, dataset: Dataset) -> PooledTeacher:
    if len(members) > 1 or not isinstance(live, NetworkTeacher):
        raise InputError(
            f"cache {config.cache}: a cache of features takes a single network, and this teacher is "
            f"{_in_words(config, members)}: give a run folder, or keep the logits alone, in another folder"
        )
    return PooledTeacher(live, dataset.train.images[:2].to(live.device))


def _two(dataset: Dataset, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return dataset.train.images[:2].to(device), dataset.train.labels[:2].to(device)


def _in_words(config: RunConfig, members: Sequence[Member]) -> str:
    if len(members) == 1:
        return members[0].kind
    kinds = ", ".join(member.kind for member in members)
    return f"ensemble of {len(members)} ({kinds}), mean of {config.ensemble_mean}"
