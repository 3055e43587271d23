"""Our fall-back against cleanlab, the reference implementation, and what both are used for."""

import builtins
from typing import Any

import numpy as np
import pytest
import torch
from cleanlab.filter import find_label_issues as reference

from preceptor.metrics.label_errors import IssueDepth, confident_learning, find_label_issues

FILTER = {"sure": "both", "worth_a_look": "prune_by_class"}


def noisy(samples: int, classes: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, samples)
    logits = random.normal(size=(samples, classes))
    logits[np.arange(samples), truth] += 3
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.where(random.random(samples) < noise, random.integers(0, classes, samples), truth)
    return labels, probabilities, labels != truth


@pytest.mark.parametrize("depth", FILTER)
@pytest.mark.parametrize(("samples", "classes"), [(500, 3), (3000, 10), (5000, 50)])
@pytest.mark.parametrize("noise", [0.0, 0.15])
def test_it_finds_nearly_what_cleanlab_finds(depth: IssueDepth, samples: int, classes: int, noise: float) -> None:
    labels, probabilities, _ = noisy(samples, classes, noise, seed=classes)
    ours = confident_learning(labels, probabilities, depth)
    theirs = reference(labels, probabilities, filter_by=FILTER[depth], n_jobs=1)
    assert (ours != theirs).sum() <= max(3, 0.02 * theirs.sum() + classes / 5)  # counts are rounded class by class


def test_the_deeper_search_is_the_more_precise_one() -> None:
    labels, probabilities, wrong = noisy(4000, 10, 0.15, seed=0)
    sure, look = (confident_learning(labels, probabilities, depth) for depth in ("sure", "worth_a_look"))
    assert wrong[sure].mean() >= wrong[look].mean() > 0.8
    assert sure.sum() <= look.sum()


@pytest.mark.parametrize("installed", [True, False])
def test_unlabeled_samples_have_no_issue(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_cleanlab(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("cleanlab") and not installed:
            raise ImportError(name)
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_cleanlab)
    labels, probabilities, wrong = noisy(1000, 5, 0.2, seed=1)
    given = torch.from_numpy(labels)
    given[::10] = -1
    issues = find_label_issues(given, torch.from_numpy(probabilities))
    assert not bool(issues[::10].any())
    assert wrong[issues.numpy()].mean() > 0.8


def test_a_class_without_a_sample_is_no_obstacle() -> None:
    labels, probabilities, _ = noisy(300, 4, 0.1, seed=2)
    padded = np.concatenate([probabilities * 0.99, np.full((300, 1), 0.01)], axis=1)
    assert confident_learning(labels, padded, "worth_a_look").sum() > 0
