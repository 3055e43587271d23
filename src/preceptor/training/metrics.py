"""Metrics of an epoch: sums kept on the device, and the record made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from preceptor.context import UNLABELED, predicted_class
from preceptor.loss_output import LossOutput


@dataclass(frozen=True)
class EpochRecord:
    """Metrics of one student in one epoch.

    Attributes:
        student: its name.
        epoch: counted from 1.
        learning_rate: at the end of the epoch.
        losses: mean of each term, as weighted in the total.
        total: mean total loss.
        train_accuracy: on the augmented samples as they were met, share of the labeled ones; of mixed ones against the
            label of the larger share.
        corrected: share of the samples in the scope of the correction.
        clamped: share of the samples whose temperature is at its minimum.
        temperature: mean over the samples on which the teacher was queried; None without a teacher.
        reservation: mean probability of the extra output over the steps that trained it; None when none did.
        images_per_second: through all students together; evaluation is not counted.
        seconds: of the epoch.
        queried: samples on which the teacher was queried for this student; those of a cache count too.
        student_seconds: that its own steps took, without the teacher and the other students; on a GPU, which works
            behind, the time to give it that work.
        skipped: non-finite steps that were left out; they count in nothing above.
    """

    student: str
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
    queried: int = 0
    student_seconds: float = 0.0
    skipped: int = 0


@dataclass
class EpochMetrics:
    """Sums over an epoch. Adding never waits for the device; reading does, so it is done a few times an epoch.

    Args:
        abstains: whether the student's last output is no class.
    """

    abstains: bool = False
    samples: int = 0
    seconds: float = 0.0
    reservation_samples: int = 0
    skipped: int = 0
    losses: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, Tensor] = field(default_factory=dict)

    def add(self, output: LossOutput, student_logits: Tensor, label: Tensor, trains_reservation: bool = False) -> None:
        """Add one batch; ``trains_reservation`` says whether a term trained the extra output."""
        self.samples += len(label)
        for name, loss in {**output.losses, "total": output.total}.items():
            _sum(self.losses, name, loss.detach() * len(label))
        logits, audit = student_logits.detach().float(), output.audit
        classes = logits.shape[1] - self.abstains if audit is None else audit.teacher_log_probs.shape[1]
        _sum(self.counts, "right", (predicted_class(logits[:, :classes]) == label).sum())
        _sum(self.counts, "labeled", (label != UNLABELED).sum())
        if trains_reservation:
            self.reservation_samples += len(label)
            _sum(self.counts, "reservation", logits.softmax(dim=1)[:, -1].double().sum())
        if audit is not None:
            queried = audit.queried.sum()
            _sum(self.counts, "corrected", audit.corrected.sum())
            _sum(self.counts, "clamped", audit.clamped.sum())
            _sum(self.counts, "queried", queried)
            _sum(self.counts, "temperature", audit.mean_temperature.double() * queried)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("samples", "reservation_samples", "skipped", "losses", "counts")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.samples, self.reservation_samples = state["samples"], state["reservation_samples"]
        self.skipped, self.losses, self.counts = state["skipped"], dict(state["losses"]), dict(state["counts"])

    def mean_losses(self) -> dict[str, float]:
        """Mean of every term, and of the total under that name; one transfer from the device. Empty before any step."""
        if not self.losses:  # the only steps so far were left out
            return {}
        values = torch.stack(list(self.losses.values())).tolist()
        return {name: value / self.samples for name, value in zip(self.losses, values, strict=True)}

    def accuracy(self) -> float:
        """Share of the labeled samples predicted rightly; 0 when none was labeled."""
        return int(self.counts["right"]) / max(1, int(self.counts["labeled"]))

    def share(self, of: Literal["corrected", "clamped"]) -> float:
        return int(self.counts.get(of, 0)) / self.samples

    def mean_temperature(self) -> float | None:
        """Over the samples on which the teacher was queried; None when there were none."""
        return float(self.counts["temperature"]) / self.queried if self.queried else None

    @property
    def queried(self) -> int:
        """Samples on which the teacher was queried."""
        return int(self.counts.get("queried", 0))

    def mean_reservation(self) -> float | None:
        """Mean probability of the extra output over the steps that trained it; None when none did."""
        return float(self.counts["reservation"]) / self.reservation_samples if self.reservation_samples else None


def _sum(sums: dict[str, Tensor], name: str, value: Tensor) -> None:
    sums[name] = sums[name] + value if name in sums else value
