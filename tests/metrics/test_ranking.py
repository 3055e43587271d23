import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from preceptor.errors import InputError
from preceptor.metrics.ranking import best_aurc, in_order, ranked
from tests.metrics.samples import ranked_pair

METRICS = {
    "aurc": lambda ranking: ranking.aurc,
    "excess_aurc": lambda ranking: ranking.excess_aurc(),
    "asymptotic": lambda ranking: ranking.excess_aurc("asymptotic"),
    "augrc": lambda ranking: ranking.augrc(),
    "auroc": lambda ranking: ranking.auroc(),
    "error_among": lambda ranking: ranking.error_among([1, 7, 20, ranking.n]),
    "coverage_at_risk": lambda ranking: ranking.coverage_at_risk([0.0, 0.1, 0.3, 1.0]),
}


@st.composite
def draws_of_samples(draw):
    """Few levels of confidence, errors, and how often each sample was drawn in three draws."""
    n = draw(st.integers(20, 30))
    confidence = draw(st.lists(st.integers(0, draw(st.sampled_from([2, 8, 1000]))), min_size=n, max_size=n))
    wrong = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    drawn = draw(st.lists(st.lists(st.integers(0, n - 1), min_size=n, max_size=n), min_size=3, max_size=3))
    return torch.tensor(confidence).double(), torch.tensor(wrong), torch.tensor(drawn)


@pytest.mark.parametrize("name", METRICS)
@given(samples=draws_of_samples())
def test_a_draw_is_as_if_its_samples_had_been_given(name, samples):
    confidence, wrong, drawn = samples
    counts = torch.stack([row.bincount(minlength=len(wrong)) for row in drawn])
    together = METRICS[name](in_order(confidence, wrong).drawn(counts))
    alone = torch.cat([METRICS[name](ranked(confidence[row], wrong[row])) for row in drawn])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("levels", [None, 3, 20])
@pytest.mark.parametrize("seed", range(3))
def test_auroc_is_scikit_learns(levels, seed):
    confidence, wrong = ranked_pair(levels=levels, seed=seed)
    expected = roc_auc_score(~wrong.numpy(), confidence.numpy())
    assert float(ranked(confidence, wrong).auroc()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("wrong", [True, False])
def test_auroc_is_not_defined_without_both_kinds(wrong):
    assert ranked(torch.rand(5), torch.full((5,), wrong)).auroc().isnan().all()


@given(
    samples=st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=25),
    limits=st.lists(st.floats(0, 1), min_size=1, max_size=3),
)
def test_the_coverage_at_a_risk_is_the_best_of_all_thresholds(samples, limits):
    confidence, wrong = (np.array(column) for column in zip(*samples, strict=True))
    answered = [confidence >= threshold for threshold in np.unique(confidence)]
    expected = [max((each.mean() for each in answered if wrong[each].mean() <= limit), default=0.0) for limit in limits]
    found = ranked(torch.tensor(confidence).double(), torch.tensor(wrong)).coverage_at_risk(limits)
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


@pytest.mark.parametrize(("errors", "n"), [(0, 9), (4, 9), (9, 9), (1, 1)])
def test_the_best_areas_of_several_draws(errors, n):
    several = best_aurc(torch.tensor([float(errors), 0.0, float(n)]), n)
    right = n - errors
    assert several.tolist() == pytest.approx([sum((k - right) / k for k in range(right + 1, n + 1)) / n, 0, 1])


def test_ten_thousand_tied_and_untied_samples_agree_with_a_shuffle():
    confidence, wrong = ranked_pair(10_000, levels=50)
    shuffle = torch.randperm(10_000, generator=torch.Generator().manual_seed(1))
    for metric in METRICS.values():
        assert torch.equal(metric(ranked(confidence, wrong)), metric(ranked(confidence[shuffle], wrong[shuffle])))


def test_a_ranking_of_scores_with_gradient_carries_none():
    confidence, wrong = ranked_pair(20)
    assert not ranked(confidence.requires_grad_(), wrong).aurc.requires_grad


def test_an_unknown_form_names_the_known():
    with pytest.raises(InputError, match=r"'exact'.*'finite' or 'asymptotic'"):
        ranked(*ranked_pair(20)).excess_aurc("exact")
