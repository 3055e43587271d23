"""What one epoch does to one pupil: sums kept on the device, and the record made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from preceptor.audit import LossOutput
from preceptor.context import UNLABELED, predicted_class


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch did to one pupil.

    Attributes:
        pupil: its name.
        epoch: counted from 1.
        learning_rate: during the epoch.
        losses: mean over the steps' samples of each term, as weighted in the total.
        total: mean total loss.
        train_accuracy: on the augmented images as they were met, share of the labeled samples.
        corrected: share of the samples met that the correction affected.
        clamped: share of the samples met whose temperature was raised to the component's minimum.
        temperature: mean over the samples met on which the teacher was listened to; None without a teacher.
        reservation: mean probability of the extra output, over the steps that taught it; None when none did, as in
            warm-up, and for a student that cannot abstain.
        images_per_second: through the whole class of pupils; evaluation is not counted.
        seconds: of the epoch.
        skipped: steps that were left out because they were not finite; they count in nothing above.
        lowered: how often the learning rate has been lowered because a step was not finite, since training began.
    """

    pupil: str
    epoch: int
    learning_rate: float
    losses: dict[str, float]
    total: float
    train_accuracy: float
    corrected: float
    clamped: float
    temperature: float | None
    reservation: float | None
    images_per_second: float
    seconds: float
    skipped: int = 0
    lowered: int = 0


@dataclass
class EpochMetrics:
    """Sums over an epoch. Adding never waits for the device; reading does, so it is done a few times an epoch.

    Args:
        abstains: whether the student's last output is no class.
        skipped: steps left out.
    """

    abstains: bool = False
    samples: int = 0
    gambled: int = 0
    skipped: int = 0
    losses: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, Tensor] = field(default_factory=dict)

    def add(self, terms: LossOutput, student_logits: Tensor, label: Tensor, gambling: bool = False) -> None:
        """Add one batch; ``gambling`` says whether its loss taught the extra output."""
        self.samples += len(label)
        for name, loss in {**terms.losses, "total": terms.total}.items():
            _sum(self.losses, name, loss.detach() * len(label))
        logits = student_logits.detach().float()
        classes = logits.shape[1] - self.abstains if terms.audit is None else terms.audit.teacher_log_probs.shape[1]
        _sum(self.counts, "right", (predicted_class(logits[:, :classes]) == label).sum())
        _sum(self.counts, "labeled", (label != UNLABELED).sum())
        if gambling:
            self.gambled += len(label)
            _sum(self.counts, "reservation", logits.softmax(dim=1)[:, -1].double().sum())
        if terms.audit is not None:
            asked = terms.audit.queried.sum()
            _sum(self.counts, "corrected", terms.audit.corrected.sum())
            _sum(self.counts, "clamped", terms.audit.clamped.sum())
            _sum(self.counts, "asked", asked)
            _sum(self.counts, "temperature", terms.audit.mean_temperature.double() * asked)

    def state(self) -> dict[str, Any]:
        """What it holds, for a training that is to go on in the middle of an epoch."""
        return {
            "samples": self.samples,
            "gambled": self.gambled,
            "skipped": self.skipped,
            "losses": self.losses,
            "counts": self.counts,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        self.samples, self.gambled, self.skipped = state["samples"], state["gambled"], state["skipped"]
        self.losses, self.counts = dict(state["losses"]), dict(state["counts"])

    def mean_losses(self) -> dict[str, float]:
        """Mean of every term, and of the total under that name; one transfer from the device."""
        values = torch.stack(list(self.losses.values())).tolist()
        return {name: value / self.samples for name, value in zip(self.losses, values, strict=True)}

    def accuracy(self) -> float:
        """Share of the labeled samples predicted rightly; 0 when none was labeled."""
        return int(self.counts["right"]) / max(1, int(self.counts["labeled"]))

    def share(self, of: Literal["corrected", "clamped"]) -> float:
        """Share of the samples that the correction affected, or whose temperature was clamped."""
        return int(self.counts.get(of, 0)) / self.samples

    def mean_temperature(self) -> float | None:
        """Over the samples on which the teacher was listened to; None when there were none."""
        asked = int(self.counts.get("asked", 0))
        return float(self.counts["temperature"]) / asked if asked else None

    def mean_reservation(self) -> float | None:
        """Mean probability of the extra output over the steps that taught it; None when none did."""
        return float(self.counts["reservation"]) / self.gambled if self.gambled else None


def _sum(sums: dict[str, Tensor], name: str, value: Tensor) -> None:
    sums[name] = sums[name] + value if name in sums else value
