"""Confident learning: which labels the probabilities of another classifier contradict."""

import warnings
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from preceptor.context import UNLABELED

IssueDepth = Literal["sure", "worth_a_look"]
"""``worth_a_look`` prunes by class; ``sure`` are those that pruning by noise rate finds too (cleanlab's ``both``)."""


def find_label_issues(
    labels: Int[Tensor, " n"], probabilities: Float[Tensor, "n classes"], depth: IssueDepth = "worth_a_look"
) -> Bool[Tensor, " n"]:
    """Samples whose label is probably wrong, going by the probabilities alone: whoever gives them is believed.

    cleanlab does it where it is installed (extra ``audit``), else :func:`confident_learning`.

    Args:
        labels: given class numbers; -1 marks an unlabeled sample, which has no issue.
        probabilities: of a classifier that has not seen these samples' labels.
        depth: "worth_a_look" (default) or "sure".

    Northcutt et al., "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021, arXiv:1911.00068.
    """
    labeled = labels != UNLABELED
    issues = torch.zeros_like(labeled)
    known, rows = labels[labeled].numpy(), probabilities[labeled].double().numpy()
    if len(np.unique(known)) < 2:  # there is no other class whose label a sample could have had
        return issues
    try:
        from cleanlab.filter import find_label_issues as find
    except ImportError:
        flags = confident_learning(known, rows, depth)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of each class with a single sample
            flags = find(known, rows, filter_by="both" if depth == "sure" else "prune_by_class", n_jobs=1)
    issues[labeled] = torch.from_numpy(np.asarray(flags))
    return issues


def confident_learning(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], depth: IssueDepth
) -> NDArray[np.bool_]:
    """Prune by class, or both by class and by noise rate, after the confident joint.

    A sample counts for the likeliest of the classes whose probability reaches the mean one of that class among the
    samples labeled so. The counts by label and that class, scaled to the labels' own numbers, estimate how many samples
    of each label are of each class. By class, as many as are estimated to be of another are pruned, the least probable
    first; by noise rate, for each other class those that it leads by the widest margin.
    """
    classes, rows = probabilities.shape[1], np.arange(len(labels))
    present = np.bincount(labels, minlength=classes)
    own = probabilities[rows, labels]
    sums = np.bincount(labels, weights=own, minlength=classes)
    thresholds = np.divide(sums, present, out=np.full(classes, np.inf), where=present > 0)
    reached = np.where(probabilities >= thresholds - 1e-6, probabilities, -1.0)
    confident = reached.max(axis=1) > -1
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[confident], reached.argmax(axis=1)[confident]), 1)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    estimated = joint / joint.sum(axis=1, keepdims=True) * present[:, None]
    by_class, by_rate = np.zeros(len(labels), dtype=bool), np.zeros(len(labels), dtype=bool)
    for label in range(classes):
        members = rows[labels == label]
        others = present[label] - estimated[label, label]
        by_class[members[np.argsort(own[members], kind="stable")[: round(others)]]] = True
        for other in range(classes):
            count = round(estimated[label, other])
            if other != label and count:
                margin = probabilities[members, other] - own[members]
                by_rate[members[np.argsort(-margin, kind="stable")[:count]]] = True
    pruned = by_class & by_rate if depth == "sure" else by_class
    issues: NDArray[np.bool_] = pruned & (probabilities.argmax(axis=1) != labels)
    return issues
