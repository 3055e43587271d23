"""How good a classifier's logits are: accuracy, likelihood and confidence. The label -1 means unlabelled."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor
from torch.nn import functional as F

from preceptor.errors import InputError
from preceptor.lesson import UNLABELLED, predicted_class


@dataclass(frozen=True)
class Metrics:
    """How good a classifier is on the labelled samples of a set.

    Args:
        n: number of labelled samples, which all else is computed on.
        accuracy: share whose largest logit, the first of equals, is the label's.
        top5_accuracy: share whose label is among the five largest logits; None with five classes or fewer.
        nll: mean negative log-likelihood of the label, in nats.
        mean_confidence: mean probability of the predicted class.
        per_class_accuracy: share predicted right among the samples of each class; None for an absent class.
    """

    n: int
    accuracy: float
    top5_accuracy: float | None
    nll: float
    mean_confidence: float
    per_class_accuracy: list[float | None]


def topk_correct(
    logits: Float[Tensor, "batch classes"], label: Integer[Tensor, " batch"], k: int
) -> Bool[Tensor, " batch"]:
    """Whether the label is among the k largest logits, the smaller index first among equals.

    False for the unlabelled, and for a label whose logit is NaN.
    """
    label = label.long()
    position = label.clamp(min=0)[:, None]
    own = logits.gather(1, position)
    index = torch.arange(logits.shape[1], device=logits.device)
    behind = (logits < own) | ((logits == own) & (index >= position))
    ahead = (~behind).sum(dim=1)
    return (ahead < k) & (label != UNLABELLED)


def negative_log_likelihood(
    logits: Float[Tensor, "batch classes"], label: Integer[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """``-ln softmax(z)[label]`` per sample, in nats; 0 for the unlabelled. At least float32."""
    return F.cross_entropy(_at_least_float32(logits), label.long(), ignore_index=UNLABELLED, reduction="none")


def per_class_accuracy(
    prediction: Integer[Tensor, " batch"], label: Integer[Tensor, " batch"], classes: int
) -> Float[Tensor, " classes"]:
    """The share predicted right among the samples of each class (its recall); NaN for an absent class."""
    label = label.long()
    labelled = label != UNLABELLED
    present = torch.bincount(label[labelled], minlength=classes)
    right = torch.bincount(label[labelled & (prediction == label)], minlength=classes)
    return right.double() / present.double()


def evaluate(logits: Float[Tensor, "n classes"], labels: Integer[Tensor, " n"]) -> Metrics:
    """Every metric of a classifier from its logits; samples labelled -1 are left out.

    Raises:
        InputError: logits and labels differ in number, a label is out of range, a logit is not finite, or there is
            no labelled sample. The message names the first sample at fault, counted from 0.
    """
    labels = labels.long()
    _check(logits, labels)
    labelled = labels != UNLABELLED
    logits, labels = _at_least_float32(logits[labelled]), labels[labelled]
    classes = logits.shape[1]
    prediction = predicted_class(logits)
    confidence = logits.softmax(dim=1).amax(dim=1)
    by_class = per_class_accuracy(prediction, labels, classes).tolist()
    return Metrics(
        n=len(labels),
        accuracy=_mean(prediction == labels),
        top5_accuracy=_mean(topk_correct(logits, labels, 5)) if classes > 5 else None,
        nll=_mean(negative_log_likelihood(logits, labels)),
        mean_confidence=_mean(confidence),
        per_class_accuracy=[None if share != share else share for share in by_class],
    )


def _at_least_float32(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _mean(values: Tensor) -> float:
    return float(values.double().mean())


def _check(logits: Tensor, labels: Tensor) -> None:
    count, classes = logits.shape
    if len(labels) != count:
        raise InputError(f"{count} rows of logits but {len(labels)} labels: give one label for each row")
    astray = (labels < UNLABELLED) | (labels >= classes)
    if astray.any():
        first = int(astray.nonzero()[0])
        raise InputError(
            f"sample {first}: label {int(labels[first])} is out of range: "
            f"0 to {classes - 1}, or -1 for unlabelled, with {classes} classes"
        )
    broken = ~logits.isfinite().all(dim=1)
    if broken.any():
        raise InputError(
            f"sample {int(broken.nonzero()[0])}: its logits are not all finite, the model has diverged: "
            "train it again at a lower learning rate"
        )
    if not (labels != UNLABELLED).any():
        raise InputError(f"no labelled sample among {count}: there is nothing to measure accuracy on")
