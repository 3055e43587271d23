"""The teacher of a run, of whatever kind: what it says, what can be told of it, and the bank it speaks through."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from preceptor.data import Dataset, ViewRule
from preceptor.errors import InputError
from preceptor.runs.banks import card_there, check_bank, layout_of, setting_of
from preceptor.runs.config import RunConfig
from preceptor.runs.members import Member, load_members
from preceptor.teachers import LiveTeacher, check_teacher
from preceptor.teachers.bank import Bank, Fingerprint, PooledTeacher, open_bank
from preceptor.teachers.bank.card import Setting, check_fingerprint, check_layout
from preceptor.teachers.ensemble import Ensemble
from preceptor.teachers.signal import Signal
from preceptor.training.means import settled_precision

Computes = Literal["fp32", "bf16"]

Stated = dict[str, tuple[float, ...]]
"""Mean and std by name, of each of several teachers; nothing where they take pixels, or look at none."""


@dataclass(frozen=True)
class Teacher:
    """What teaches in a run.

    Attributes:
        members: the teachers as they came, several of an ensemble; none where a bank speaks alone.
        kind: what it is, in words.
        fingerprint: a SHA-256 that tells it from others.
        precision: what its networks compute in, and a bank's did; "fp32" too where they are none, since every signal
            hands over fp32.
        made_fast: what was done to its networks, a line each.
        signal: what it says, through its bank where it has one.
        bank: that bank.
        held: how many cells it held when it was opened.
        compiled: whether its networks are.
    """

    members: tuple[Member, ...]
    kind: str
    fingerprint: str
    precision: Computes
    made_fast: tuple[str, ...]
    signal: Signal
    bank: Bank | None = None
    held: int = 0
    compiled: bool = False

    @property
    def network(self) -> LiveTeacher | None:
        """The one network it is, as it came and in fp32, for what looks inside; None for every other kind."""
        first = self.members[0].signal if len(self.members) == 1 else None
        return first if isinstance(first, LiveTeacher) else None

    @property
    def networks(self) -> tuple[LiveTeacher, ...]:
        """All networks among its members, as they came."""
        return tuple(member.signal for member in self.members if isinstance(member.signal, LiveTeacher))

    @property
    def normalisation(self) -> Stated:
        """What its images go through first; of a bank that speaks alone, what they went through."""
        if self.members or self.bank is None:
            return _stated(self.members)
        return self.bank.card.fingerprint.normalisation

    @property
    def keeps_features(self) -> bool:
        """Whether its bank asks it for pooled features, which a compiled network does not show."""
        return self.bank is not None and self.bank.layout.features > 0

    def record(self) -> dict[str, Any]:
        """What ``run.yaml`` says of it."""
        return {
            "kind": self.kind,
            "precision": self.precision,
            "made_fast": list(self.made_fast),
            "compiled": self.compiled,
            "bank": None if self.bank is None else {**_bank_record(self.bank), "held": self.held},
        }

    def banked(self) -> int | None:
        """How many cells its bank was given since it was opened; None without one."""
        return None if self.bank is None else self.bank.store.count() - self.held

    def close(self) -> None:
        """Let go of the bank, everything written."""
        if self.bank is not None:
            self.bank.close()


def _bank_record(bank: Bank) -> dict[str, Any]:
    """What tells it from others; the class names, perhaps a thousand, stand on the student's card."""
    of = bank.card.fingerprint.model_dump(mode="json", exclude={"class_names"})
    return {"path": str(bank.folder), "top_k": bank.layout.top_k, "fingerprint": of}


def load_teacher(
    config: RunConfig, dataset: Dataset, rule: ViewRule, device: torch.device, *, features: bool = False
) -> Teacher:
    """The teacher of a configuration, made fast but not compiled, and its bank, opened or made.

    Args:
        config: names at least one teacher or a bank.
        dataset: what it is to teach on.
        rule: of the views.
        device: where its networks run.
        features: whether a bank to be made keeps pooled features. One that is there keeps what it keeps.

    Raises:
        InputError: no teacher and no bank; a teacher that cannot be read or does not fit the data; a bank of something
            else, of a precision below the one insisted on, or in front of files alone.
        EnvironmentProblem: a package is missing, or the bank cannot be written.
    """
    members = load_members(config, dataset, device)
    _check_several(config, members)
    if config.bank is None:
        precision = _precision(config, members, device, None)
        signal, made_fast = _voice(config, members, dataset, precision)
        return Teacher(members, _in_words(config, members), _digest(config, members), precision, made_fast, signal)
    if not members:
        return _bank_alone(config, config.bank, dataset, rule)
    return _behind_bank(config, config.bank, members, dataset, rule, device, features)


def _bank_alone(config: RunConfig, folder: Path, dataset: Dataset, rule: ViewRule) -> Teacher:
    card = check_bank(folder, setting_of(dataset, rule))
    wanted = layout_of(dataset, rule, card, top_k=config.bank_top_k)
    check_layout(folder, card.layout, wanted)
    bank = Bank(folder, card, None)
    precision = _precision(config, (), torch.device("cpu"), card.fingerprint.precision)
    return Teacher((), "bank alone", card.fingerprint.teacher, precision, (), bank, bank, bank.store.count())


def _behind_bank(
    config: RunConfig,
    folder: Path,
    members: tuple[Member, ...],
    dataset: Dataset,
    rule: ViewRule,
    device: torch.device,
    features: bool,
) -> Teacher:
    setting, card = setting_of(dataset, rule), card_there(folder)
    if card is not None:
        check_fingerprint(
            folder, card.fingerprint, fingerprint_of(config, members, setting, card.fingerprint.precision)
        )
    precision = _precision(config, members, device, None if card is None else card.fingerprint.precision)
    live, made_fast = _voice(config, members, dataset, precision)
    if features or (card is not None and card.layout.features):
        live = _pooled(config, members, live, dataset)
    dims = live.features if isinstance(live, PooledTeacher) else None
    layout = layout_of(dataset, rule, card, top_k=config.bank_top_k, features=dims)
    if card is None:
        check_teacher(live, *_two(dataset, device), dataset.classes, view=rule.identity)  # before anything is made
    given = fingerprint_of(config, members, setting, precision)
    bank = open_bank(folder, given, layout, live)
    kind, held = _in_words(config, members), bank.store.count()
    return Teacher(members, kind, given.teacher, precision, made_fast, bank, bank, held)


def compiled(teacher: Teacher, config: RunConfig, dataset: Dataset, batch_size: int) -> Teacher:
    """The same teacher with its networks compiled for questions of so many images at a time."""
    live, made_fast = _voice(config, teacher.members, dataset, teacher.precision, batch_size)
    if teacher.bank is None:
        return dataclasses.replace(teacher, signal=live, made_fast=made_fast, compiled=True)
    teacher.bank.live = live
    return dataclasses.replace(teacher, made_fast=made_fast, compiled=True)


def fingerprint_of(config: RunConfig, members: Sequence[Member], setting: Setting, precision: str) -> Fingerprint:
    """What the word of these teachers follows from."""
    return Fingerprint(
        **setting.model_dump(),
        teacher=_digest(config, members),
        normalisation=_stated(members),
        precision=precision,
    )


def _stated(members: Sequence[Member]) -> Stated:
    stated = [{} if one.normalisation is None else asdict(one.normalisation) for one in members]
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
    if config.bank is None and not members:
        raise InputError("no teacher: give --teacher RUN_FOLDER, or --bank DIR of a bank that is filled")
    if config.bank is None and config.bank_top_k is not None:
        raise InputError(f"bank_top_k = {config.bank_top_k}: there is no bank: give --bank DIR with it")
    if config.bank is not None and members and all(member.kind == "file" for member in members):
        raise InputError(
            f"bank {config.bank}: {members[0].path} already holds all that is said: a bank in front of it would only "
            "keep it twice: leave --bank away"
        )


def _precision(config: RunConfig, members: Sequence[Member], device: torch.device, kept: str | None) -> Computes:
    """What networks compute in: what the bank that is there was filled in, or else what is asked for."""
    if kept == "bf16" and config.precision == "fp32":
        raise InputError(
            f"bank {config.bank}: was filled in bf16, and precision is fp32: give --precision auto or bf16 to use it, "
            "or a bank in another folder"
        )
    if kept is not None:
        return "bf16" if kept == "bf16" else "fp32"
    computing = any(isinstance(member.signal, LiveTeacher) for member in members)
    return settled_precision(config.precision, device) if computing else "fp32"


def _voice(
    config: RunConfig,
    members: Sequence[Member],
    dataset: Dataset,
    precision: Computes,
    compile_for: int | None = None,
) -> tuple[Signal, tuple[str, ...]]:
    """What members say together, their networks made fast and perhaps compiled; and what was done to these."""
    signals = [
        member.signal.fast(
            bf16=precision == "bf16",
            compile=compile_for is not None,
            batch_size=compile_for or 1,
            image_size=dataset.size,
        )
        if isinstance(member.signal, LiveTeacher)
        else member.signal
        for member in members
    ]
    made_fast = tuple(str(signal.report) for signal in signals if isinstance(signal, LiveTeacher))
    if len(signals) == 1:
        return signals[0], made_fast
    return Ensemble(signals, config.ensemble_weights, config.ensemble_mean), made_fast


def pooled_features(config: RunConfig, dataset: Dataset, device: torch.device) -> int:
    """How many pooled features the teacher of a configuration gives.

    Raises:
        InputError: it is no single network, or does not end in a linear layer.
    """
    members = load_members(config, dataset, device)
    if not members:
        raise InputError("features: only a network tells how many it has: give --teacher RUN_FOLDER")
    return _pooled(config, members, members[0].signal, dataset).features


def _pooled(config: RunConfig, members: Sequence[Member], live: Signal, dataset: Dataset) -> PooledTeacher:
    if len(members) > 1 or not isinstance(live, LiveTeacher):
        raise InputError(
            f"bank {config.bank}: a bank of features takes a single network, and this teacher is "
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
