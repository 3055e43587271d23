"""Accuracy, likelihood and selective metrics of a classifier's logits. The label -1 means unlabeled."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor
from torch.nn import functional as F

from preceptor.chunking import chosen_rows, chunked
from preceptor.context import UNLABELED, is_class
from preceptor.metrics.checks import check_finite, check_inputs, per_sample
from preceptor.metrics.scores import answered_class, reservation_confidence, softmax_response
from preceptor.metrics.selective import SelectiveMetrics, selective_metrics


@dataclass(frozen=True)
class Metrics:
    """How good a classifier is on the labeled samples of a set.

    Args:
        n: number of labeled samples, which all else is computed on.
        accuracy: share whose largest logit, the first of equals, is the label's.
        top5_accuracy: None with five classes or fewer.
        nll: mean negative log-likelihood of the label, in nats.
        mean_confidence: mean probability of the predicted class.
        per_class_accuracy: None for an absent class.
        selective: by its softmax response and, of a student with a reservation, by that.
    """

    n: int
    accuracy: float
    top5_accuracy: float | None
    nll: float
    mean_confidence: float
    per_class_accuracy: list[float | None]
    selective: list[SelectiveMetrics]


@per_sample
def topk_correct(
    logits: Float[Tensor, "batch classes"], label: Integer[Tensor, " batch"], k: int
) -> Bool[Tensor, " batch"]:
    """Whether the label is among the k largest logits, the smaller index first among equals.

    False for the unlabeled, and for a label whose logit is NaN.

    Raises:
        InputError: logits or labels that do not fit, or a label out of range.
    """
    position = label.long().clamp(min=0)[:, None]
    own = logits.gather(1, position)
    index = torch.arange(logits.shape[1], device=logits.device)
    behind = (logits < own) | ((logits == own) & (index >= position))
    return ((~behind).sum(dim=1) < k) & (label != UNLABELED)


@per_sample
def negative_log_likelihood(
    logits: Float[Tensor, "batch classes"], label: Integer[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """``-ln softmax(z)[label]`` per sample, in nats; 0 for the unlabeled. At least float32.

    Raises:
        InputError: as `topk_correct`.
    """
    return F.cross_entropy(_at_least_float32(logits), label.long(), ignore_index=UNLABELED, reduction="none")


@per_sample
def brier_score(logits: Float[Tensor, "batch classes"], label: Integer[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """``sum_i (p_i - [i = label])^2`` per sample, in [0, 2]; NaN for the unlabeled. float64.

    Half of it, with two classes, is what scikit-learn shows by default.
    Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.

    Raises:
        InputError: as `topk_correct`.
    """
    label = label.long()
    probabilities = logits.double().softmax(dim=1)
    score = (probabilities - is_class(probabilities, label).double()).square().sum(dim=1)
    return torch.where(label == UNLABELED, float("nan"), score)


def per_class_accuracy(
    prediction: Integer[Tensor, " batch"], label: Integer[Tensor, " batch"], classes: int
) -> Float[Tensor, " classes"]:
    """The share predicted right among the samples of each class (its recall); NaN for an absent class."""
    labeled = label != UNLABELED
    right = label[labeled & (prediction == label)].long().bincount(minlength=classes)
    return right.double() / label[labeled].long().bincount(minlength=classes).double()


def evaluate(outputs: Float[Tensor, "n outputs"], labels: Integer[Tensor, " n"], abstains: bool = False) -> Metrics:
    """Metrics of a classifier from its outputs; samples labeled -1 are left out.

    Args:
        outputs: logits of the classes, and last the reservation of one that may abstain, which is never predicted.
        labels: class numbers.
        abstains: whether there is a reservation.

    Raises:
        InputError: outputs that are no dense [n, outputs] tensor of real numbers, or of no class; labels that are not
            one-dimensional, whole and as many; a label out of range; a logit that is not finite, or beyond 1e30; or no
            labeled sample. The message names the first sample at fault, counted from 0.
    """
    labels = check_inputs(outputs, labels, abstains=abstains, known="some")
    check_finite(outputs)
    classes = outputs.shape[1] - abstains
    labeled = labels != UNLABELED
    outputs, labels = chosen_rows(outputs, labeled), labels[labeled]
    logits = outputs[:, :classes]
    prediction = answered_class(logits)
    wrong = prediction != labels
    by_class = per_class_accuracy(prediction, labels, classes).tolist()
    selective = [selective_metrics(softmax_response(logits), wrong, "softmax response")]
    if abstains:
        selective.append(selective_metrics(reservation_confidence(outputs), wrong, "reservation"))
    return Metrics(
        n=len(labels),
        accuracy=_mean(~wrong),
        top5_accuracy=_mean(topk_correct(logits, labels, 5)) if classes > 5 else None,
        nll=_mean(negative_log_likelihood(logits, labels)),
        mean_confidence=_mean(_confidence(logits)),
        per_class_accuracy=[None if share != share else share for share in by_class],
        selective=selective,
    )


@chunked
def _confidence(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    return _at_least_float32(logits).softmax(dim=1).amax(dim=1)


def _at_least_float32(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
