"""The loop: one pass over the data and one teacher signal for a class of pupils."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn

from preceptor.chain import Chain
from preceptor.data import ImageSet, Normalisation, ViewRule
from preceptor.errors import InputError
from preceptor.models.layout import in_fast_layout
from preceptor.teachers import LiveTeacher
from preceptor.training.batches import Batch, epoch_batches, steps_in_epoch
from preceptor.training.protocol import Protocol
from preceptor.training.tally import EpochRecord, Tally
from preceptor.training.watcher import Silent, Watcher

Precision = Literal["fp32", "bf16"]

READINGS_PER_EPOCH = 8
"""How often an epoch the tallies are read for the watcher; each reading waits for the device."""


MOST_RESERVED = 0.99
"""A student that reserves more than this, on the mean of an epoch, has collapsed: everything is declined."""


@dataclass
class Pupil:
    """One student and the chain that teaches it."""

    name: str
    student: nn.Module
    chain: Chain


class _Seat:
    """A pupil in class: its optimiser, its schedule and its tally."""

    def __init__(self, pupil: Pupil, protocol: Protocol, device: torch.device) -> None:
        self.pupil = pupil
        pupil.student.to(device)
        pupil.chain.to(device)
        self.optimiser = protocol.optimiser([pupil.student, pupil.chain])
        self.scheduler = protocol.scheduler(self.optimiser)
        self.tally = Tally(pupil.chain.abstains)

    def begin_epoch(self) -> None:
        self.pupil.student.train()
        self.tally = Tally(self.pupil.chain.abstains)

    def learn(self, logits: Tensor, teacher_logits: Tensor | None, batch: Batch, progress: float) -> None:
        terms = self.pupil.chain(logits, teacher_logits, batch.label, index=batch.index, progress=progress)
        self.optimiser.zero_grad(set_to_none=True)
        terms.total.backward()
        self.optimiser.step()
        self.tally.add(terms, logits, batch.label, gambling=self.pupil.chain.gambles_at(progress))

    def end_epoch(self, epoch: int, images_per_second: float, seconds: float) -> EpochRecord:
        losses = self.tally.mean_losses()
        reservation = self.tally.mean_reservation()
        _check_finite(self.pupil.name, epoch, losses)
        _check_not_collapsed(self.pupil.name, epoch, reservation)
        rate = float(self.optimiser.param_groups[0]["lr"])
        self.scheduler.step()
        return EpochRecord(
            pupil=self.pupil.name,
            epoch=epoch,
            learning_rate=rate,
            total=losses.pop("total"),
            losses=losses,
            train_accuracy=self.tally.accuracy(),
            corrected=self.tally.share("corrected"),
            clamped=self.tally.share("clamped"),
            temperature=self.tally.mean_temperature(),
            reservation=reservation,
            images_per_second=images_per_second,
            seconds=seconds,
        )


class _Lectern:
    """The teacher, where there is one, and the samples it is asked about."""

    def __init__(self, teacher: LiveTeacher | None, chains: Sequence[Chain], train: ImageSet) -> None:
        self._teacher = teacher
        listeners = [chain for chain in chains if chain.needs_teacher]
        self.asked = _asked(listeners, len(train)) if listeners else None
        if teacher is not None and self.asked is not None:
            self._silence = torch.zeros_like(teacher(train.images[:1]))

    def signal(self, batch: Batch) -> Tensor | None:
        """The teacher's logits: zeros where nobody listens, for which it is not asked."""
        if self._teacher is None or batch.asked is None:
            return None if self._teacher is None else self._teacher(batch.images)
        signal = self._silence.repeat(len(batch.images), 1)
        return signal if len(batch.asked) == 0 else signal.index_copy(0, batch.asked, self._said(batch))

    def _said(self, batch: Batch) -> Tensor:
        assert self._teacher is not None, "asked for by signal alone"
        return self._teacher(batch.images[batch.asked])


def fit(
    pupils: Sequence[Pupil],
    train: ImageSet,
    positions: Int[Tensor, " given"],
    rule: ViewRule,
    normalise: Normalisation,
    protocol: Protocol,
    *,
    teacher: LiveTeacher | None = None,
    seed: int = 0,
    precision: Precision = "fp32",
    watcher: Watcher | None = None,
) -> Iterator[list[EpochRecord]]:
    """Train a class of pupils; yields one record a pupil after each epoch.

    Every pupil meets the same batches, the same views and the same teacher signal, so that recipes are
    compared pairwise; what one pupil learns or draws does not touch another. The pupils end as they are after
    the last epoch: none is picked.

    Args:
        pupils: students with their chains; trained in place, on the device of ``train``.
        train: all training images and labels.
        positions: which of them to use, on the CPU.
        rule: the augmentation; the teacher sees the same views as the students.
        normalise: of the students; the teacher brings its own.
        protocol: epochs, batch size, optimiser.
        teacher: needed when a chain needs teacher logits.
        seed: of order, views and whatever the students draw (dropout).
        precision: "fp32", or "bf16" for autocast; losses are computed in fp32 either way.
        watcher: told about progress.

    Raises:
        InputError: no samples, a chain without its teacher or with a selection that is not fitted, a term in whose
            time no step begins, a loss that stops being finite, or a student that declines nearly everything.
    """
    if len(positions) < 2:
        raise InputError(f"{len(positions)} training samples: at least 2 are needed")
    if teacher is None and any(pupil.chain.needs_teacher for pupil in pupils):
        raise InputError("a chain needs teacher logits: give a teacher")
    lectern = _Lectern(teacher, [pupil.chain for pupil in pupils], train)
    _check_times(pupils, protocol.epochs * steps_in_epoch(len(positions), protocol.batch_size))
    watcher = watcher or Silent()
    device = train.images.device
    seats = [_Seat(pupil, protocol, device) for pupil in pupils]
    steps = steps_in_epoch(len(positions), protocol.batch_size)
    read_every = max(1, steps // READINGS_PER_EPOCH)
    watcher.begin(protocol.epochs, steps, len(positions))
    for epoch in range(protocol.epochs):
        started = time.perf_counter()
        for seat in seats:
            seat.begin_epoch()
        batches = epoch_batches(
            train, positions, rule, batch_size=protocol.batch_size, seed=seed, epoch=epoch, asked=lectern.asked
        )
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            for number, batch in enumerate(batches):
                progress = (epoch + number / steps) / protocol.epochs
                draws = _draw_seed(seed, epoch, number)
                _teach(seats, batch, lectern, normalise, precision, progress, draws)
                watcher.step(epoch + 1, len(batch.label))
                if number % read_every == read_every - 1:
                    _tell(watcher, seats)
        _wait_for(device)
        seconds = time.perf_counter() - started
        yield [seat.end_epoch(epoch + 1, len(positions) / seconds, seconds) for seat in seats]


def _teach(
    seats: Sequence[_Seat],
    batch: Batch,
    lectern: _Lectern,
    normalise: Normalisation,
    precision: Precision,
    progress: float,
    draws: int,
) -> None:
    """One step of every pupil, from one batch, one teacher signal and one seed of what it draws (dropout)."""
    autocast = torch.autocast(batch.images.device.type, torch.bfloat16, enabled=precision == "bf16")
    with autocast:
        heard = any(seat.pupil.chain.needs_teacher_at(progress) for seat in seats)
        signal = lectern.signal(batch) if heard else None
        images = in_fast_layout(normalise(batch.images))
    for seat in seats:
        _reseed(draws, batch.images.device)
        with autocast:
            logits = seat.pupil.student(images)
        asks = seat.pupil.chain.needs_teacher_at(progress)
        seat.learn(logits, signal if asks else None, batch, progress)


def _asked(chains: Sequence[Chain], size: int) -> Tensor | None:
    """By position in the training set, whether any chain listens to the teacher; None when some listens everywhere."""
    everything = torch.arange(size)
    wanted = [chain.cpu().asks_at(everything) for chain in chains]
    return None if any(bool(asks.all()) for asks in wanted) else torch.stack(wanted).any(dim=0)


def _tell(watcher: Watcher, seats: Sequence[_Seat]) -> None:
    for seat in seats:
        watcher.losses(seat.pupil.name, seat.tally.mean_losses())


def _wait_for(device: torch.device) -> None:
    """Let issued work finish, so that the clock is right."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _draw_seed(seed: int, epoch: int, step: int) -> int:
    return ((seed * 1_000_003 + epoch) * 1_000_003 + step) % 2**63


def _reseed(seed: int, device: torch.device) -> None:
    """Like ``torch.manual_seed``, which takes a hundred times as long: too long for every pupil in every step."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)


def _check_times(pupils: Sequence[Pupil], steps: int) -> None:
    """Refuse a term in whose time no step begins: it would teach nothing, and nobody would notice."""
    for pupil in pupils:
        for name, term in pupil.chain.terms.items():
            first = math.ceil(term.since * steps)
            if not any(term.counts_at(step / steps) for step in (first - 1, first, first + 1) if 0 <= step < steps):
                raise InputError(
                    f"pupil {pupil.name!r}: term {name!r} counts from {term.since:g} to {term.until:g} of training, "
                    f"but none of the {steps} steps begins then: train longer, or give the term more time"
                )


def _check_not_collapsed(pupil: str, epoch: int, reservation: float | None) -> None:
    if reservation is not None and reservation > MOST_RESERVED:
        raise InputError(
            f"pupil {pupil!r}: in epoch {epoch} it reserves {reservation:.1%} of its bets, so it declines to answer "
            "nearly everything: give a larger payoff (above 1 / the teacher's usual confidence, below the number of "
            "classes), a lower temperature, or a longer warm-up on the labels"
        )


def _check_finite(pupil: str, epoch: int, losses: dict[str, float]) -> None:
    for name, value in losses.items():
        if not abs(value) < float("inf"):
            raise InputError(
                f"pupil {pupil!r}: loss term {name!r} is {value} in epoch {epoch}: "
                "lower the learning rate or the term's weight"
            )
