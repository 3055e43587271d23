"""What is measured of one student: on the test set, in training, and on its training_images."""

from collections.abc import Sequence
from statistics import fmean

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.audit import Audit
from preceptor.context import predicted_class
from preceptor.loss import DistillationLoss
from preceptor.metrics import calibration_error, evaluate, selective_metrics
from preceptor.metrics.scores import reservation_confidence, softmax_response
from preceptor.studies.columns import COVERAGES, RESERVATION
from preceptor.training import EpochRecord


def on_test_set(logits: Float[Tensor, "n outputs"], labels: Int[Tensor, " n"], abstains: bool) -> dict[str, float]:
    """Accuracy, and how well the student knows on which images it is wrong.

    Args:
        logits: of the test set; the last output is no class when the student abstains.
        labels: all known.
        abstains: whether there is that extra output.
    """
    classes = logits[:, : logits.shape[1] - abstains]
    wrong = predicted_class(classes) != labels
    confidence = softmax_response(classes)
    found = {
        "accuracy": evaluate(classes, labels).accuracy,
        "ece": calibration_error(confidence, ~wrong),
        **_selective(confidence, wrong),
    }
    if abstains:
        confidence = reservation_confidence(logits)
        found |= {name + RESERVATION: value for name, value in _selective(confidence, wrong).items()}
        found["reservation"] = -float(confidence.mean())
    return found


def in_training(loss: DistillationLoss, records: Sequence[EpochRecord]) -> dict[str, float]:
    """Shares and temperatures over all epochs, those that say something about this chain."""
    found = {}
    if loss.correction is not None:
        found["corrected"] = fmean(record.corrected for record in records)
    temperatures = [record.temperature for record in records if record.temperature is not None]
    if temperatures:
        found["temperature"] = fmean(temperatures)
    if temperatures and hasattr(loss.temperature, "minimum"):
        found["clamped"] = fmean(record.clamped for record in records)
    return found


def audit_of(
    loss: DistillationLoss, said: Float[Tensor, "n classes"], truth: Int[Tensor, " n"], positions: Int[Tensor, " n"]
) -> Audit | None:
    """What a chain does to the teacher's word on the training_images; None when it does not listen to the teacher.

    Args:
        chain: on the CPU.
        said: the teacher's logits.
        truth: the right labels.
        positions: of the training_images in the training set.
    """
    silent = torch.zeros(len(said), said.shape[1] + loss.abstains)
    return loss(silent, said, truth, index=positions).audit  # type: ignore[no-any-return]


def affected(audit: Audit | None) -> int:
    """On how many training_images the teacher is corrected or not listened to; 0 without a teacher."""
    return 0 if audit is None else int((audit.corrected | (audit.weight == 0)).sum())


def taught(audit: Audit | None) -> dict[str, float]:
    """On which share of the training_images the teacher is listened to."""
    return {} if audit is None else {"taught": float((audit.weight > 0).double().mean())}


def _selective(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> dict[str, float]:
    found = selective_metrics(confidence, wrong, "")
    errors = {f"error_at_{coverage}": found.error_at_coverage[str(coverage)] for coverage in COVERAGES}
    return {**errors, "aurc": found.aurc, "augrc": found.augrc}
