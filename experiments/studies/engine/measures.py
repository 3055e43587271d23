"""What is measured of a student and its teacher: on the test set, in training, and on the training images."""

from collections.abc import Sequence
from statistics import fmean

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from experiments.studies.engine.columns import COVERAGES, RESERVATION
from preceptor.context import predicted_class
from preceptor.loss import DistillationLoss
from preceptor.loss_output import Audit
from preceptor.metrics import calibration_error, evaluate, selective_metrics
from preceptor.metrics.scores import reservation_confidence, softmax_response
from preceptor.training import EpochRecord


def on_test_set(logits: Float[Tensor, "n outputs"], labels: Int[Tensor, " n"], abstains: bool) -> dict[str, float]:
    """Accuracy, calibration, and how well the student, whose last output may be a reservation, ranks its own errors."""
    class_logits = logits[:, : logits.shape[1] - abstains]
    wrong = predicted_class(class_logits) != labels
    confidence = softmax_response(class_logits)
    measures = {
        "accuracy": evaluate(class_logits, labels).accuracy,
        "ece": calibration_error(confidence, ~wrong),
        **_selective(confidence, wrong),
    }
    if abstains:
        confidence = reservation_confidence(logits)
        measures |= {name + RESERVATION: value for name, value in _selective(confidence, wrong).items()}
        measures["reservation"] = -float(confidence.mean())
    return measures


def _selective(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> dict[str, float]:
    metrics = selective_metrics(confidence, wrong, "")
    errors = {f"error_at_{coverage}": metrics.error_at_coverage[str(coverage)] for coverage in COVERAGES}
    return {**errors, "aurc": metrics.aurc, "augrc": metrics.augrc}


def in_training(loss: DistillationLoss, records: Sequence[EpochRecord]) -> dict[str, float]:
    """Shares and temperatures over all epochs, those that apply to this loss."""
    measures = {}
    if loss.correction is not None:
        measures["corrected"] = fmean(record.corrected for record in records)
    temperatures = [record.temperature for record in records if record.temperature is not None]
    if temperatures:
        measures["temperature"] = fmean(temperatures)
    if temperatures and hasattr(loss.temperature, "minimum"):
        measures["clamped"] = fmean(record.clamped for record in records)
    return measures


def audit_of(
    loss: DistillationLoss,
    teacher_logits: Float[Tensor, "n classes"],
    label: Int[Tensor, " n"],
    index: Int[Tensor, " n"],
) -> Audit | None:
    """What a loss, on the CPU, does to the teacher on the training images of these indices; None without a teacher."""
    student_logits = torch.zeros(len(teacher_logits), teacher_logits.shape[1] + loss.abstains)
    return loss(student_logits, teacher_logits, label, index=index).audit  # type: ignore[no-any-return]


def affected(audit: Audit | None) -> int:
    """On how many training images the teacher is corrected or has no weight; 0 without a teacher."""
    return 0 if audit is None else int((audit.corrected | (audit.weight == 0)).sum())
