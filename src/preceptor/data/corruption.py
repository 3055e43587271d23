"""Synthetic label noise, to train a teacher that is wrong where real teachers are."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from preceptor.data.randomness import RandomStream, shuffled
from preceptor.data.split import subset
from preceptor.errors import InputError

_FOLDS = 5
_MOST_IMAGES = 6000
_MOST_PIXELS_A_SIDE = 12
_NEAREST = 10


def uniform_noise(labels: Int[Tensor, " n"], classes: int, rate: float, seed: int) -> Int[Tensor, " n"]:
    """Labels of which exactly ``round(rate * labeled images)``, drawn at random, are another class's, each alike.

    Unlabeled images (-1) stay so. A new tensor is returned; the same seed of one version of NumPy makes the same wrong.

    Args:
        labels: 0 to ``classes - 1``, or -1.
        classes: at least 2.
        rate: share of the labels that are wrong.
        seed: of the draw.

    Raises:
        InputError: a rate outside [0, 1], or fewer than 2 classes.
    """
    _check_rate(rate)
    if classes < 2:
        raise InputError(f"label noise of {classes} class; expected 2 or more")
    random, labeled = np.random.default_rng(seed), np.flatnonzero(labels.cpu().numpy() >= 0)
    wrong = labeled[random.permutation(len(labeled))[: round(rate * len(labeled))]]
    after = labels.clone()
    steps = torch.from_numpy(random.integers(1, classes, len(wrong))).to(labels.device)
    after[wrong] = (labels[wrong] + steps) % classes
    return after


def swap_pairs(
    labels: Int[Tensor, " n"], pairs: Sequence[tuple[int, int]], rate: float, seed: int
) -> Int[Tensor, " n"]:
    """Labels in which the classes of each pair are partly taken for each other.

    In every class of a pair exactly ``round(rate * images of the class)``, drawn at random, take the partner's label:
    the pair flip of Han et al. 2018 ("Co-teaching", arXiv 1804.06872), here within pairs. A new tensor is returned;
    the same seed changes the same labels.

    Raises:
        InputError: for a rate outside [0, 1], or pairs that aren't disjoint.
    """
    _check_rate(rate)
    named = [label for pair in pairs for label in pair]
    if len(set(named)) != len(named):
        raise InputError(f"pairs {list(pairs)}: name every class at most once")
    before = labels.cpu().numpy()
    order = shuffled(len(before), seed, RandomStream.SWAP)
    after = before.copy()
    for old, new in [*pairs, *((second, first) for first, second in pairs)]:
        members = order[before[order] == old]
        after[members[: round(rate * len(members))]] = new
    return torch.from_numpy(after).to(labels.device)


def _check_rate(rate: float) -> None:
    if not 0 <= rate <= 1:
        raise InputError(f"label noise rate is {rate}; expected 0 to 1")


def confusable_pairs(
    images: UInt8[Tensor, "n channels height width"], labels: Int[Tensor, " n"], classes: int, *, seed: int = 0
) -> list[tuple[int, int]]:
    """Disjoint pairs of classes that look alike, the most confusable first; an odd class is left over.

    How much two classes are confused is the mean probability that a linear discriminant analysis (shrunk covariance,
    5-fold cross-validation) gives the one on images of the other, summed over both directions. The pairs are those of
    largest total confusion, each class being offered the 10 it is most confused with: taken greedily, the last pairs
    would be of classes that have nothing in common. At most 6,000 labeled images are used, averaged down to at most
    12 x 12 pixels; the seed is that of the choice of images and folds.

    Raises:
        InputError: if a class has fewer than 2 of the images.
    """
    labeled = (labels >= 0).nonzero().flatten()
    chosen = labeled[subset(labels[labeled], min(_MOST_IMAGES, len(labeled)), seed).to(labels.device)]
    targets = labels[chosen].cpu().numpy()
    counts = np.bincount(targets, minlength=classes)
    if counts.min() < 2:
        raise InputError(f"confusable pairs: class {counts.argmin()} has {counts.min()} images; expected 2 or more")
    confusion = _confusion(_small_vectors(images[chosen]), targets, classes, seed)
    return _best_pairs(confusion + confusion.T)


def _small_vectors(images: UInt8[Tensor, "n channels height width"]) -> NDArray[np.float32]:
    height, width = (min(side, _MOST_PIXELS_A_SIDE) for side in images.shape[2:])
    small = [adaptive_avg_pool2d(chunk.float(), (height, width)).flatten(1).cpu() for chunk in torch.split(images, 512)]
    return (torch.cat(small) / 255).numpy()


def _confusion(
    vectors: NDArray[np.float32], targets: NDArray[np.int64], classes: int, seed: int
) -> NDArray[np.float64]:
    """Mean cross-validated probability of each class (columns) on the images of each class (rows)."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = min(_FOLDS, int(np.bincount(targets, minlength=classes).min()))
    probabilities = cross_val_predict(
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        vectors.astype(np.float64),
        targets,
        cv=StratifiedKFold(folds, shuffle=True, random_state=seed % 2**32),
        method="predict_proba",
    )
    return np.stack([probabilities[targets == label].mean(axis=0) for label in range(classes)])


def _best_pairs(confused: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The matching of largest total that leaves at most one class over, sorted by its summands."""
    from scipy.optimize import LinearConstraint, milp

    classes = len(confused)
    first, second = _candidate_pairs(confused)
    gains = confused[first, second]
    takes_part = (np.arange(classes)[:, None] == first) | (np.arange(classes)[:, None] == second)
    at_most_once = LinearConstraint(takes_part.astype(float), ub=1)
    all_but_one = LinearConstraint(np.ones_like(gains), lb=classes // 2)
    solution = milp(-gains, integrality=np.ones_like(gains), bounds=(0, 1), constraints=[at_most_once, all_but_one])
    chosen = np.flatnonzero(np.round(solution.x))
    chosen = chosen[np.argsort(-gains[chosen], kind="stable")]
    return [(int(first[pair]), int(second[pair])) for pair in chosen]


def _candidate_pairs(confused: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each class with the few it is most confused with, and the greedy pairs, so that a matching always exists."""
    others = np.where(np.eye(len(confused), dtype=bool), -np.inf, confused)
    nearest = np.argsort(-others, axis=1, kind="stable")[:, : min(_NEAREST, len(confused) - 1)]
    offered = np.zeros_like(confused, dtype=bool)
    np.put_along_axis(offered, nearest, True, axis=1)
    for pair in _greedy_pairs(others):
        offered[pair] = True
    first, second = np.nonzero(np.triu(offered | offered.T, k=1))
    return first, second


def _greedy_pairs(others: NDArray[np.float64]) -> list[tuple[int, int]]:
    left, pairs = others.copy(), []
    for _ in range(len(others) // 2):
        row, column = divmod(int(left.argmax()), len(left))
        pairs.append((row, column))
        left[[row, column]] = left[:, [row, column]] = -np.inf
    return pairs
