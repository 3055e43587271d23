import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from preceptor.errors import InputError
from preceptor.metrics.selective import Ranking
from tests.metrics.samples import ranked_pair

METRICS = {
    "aurc": lambda ranking: ranking.aurc(),
    "excess_aurc": lambda ranking: ranking.excess_aurc(),
    "asymptotic": lambda ranking: ranking.excess_aurc("asymptotic"),
    "augrc": lambda ranking: ranking.augrc(),
    "auroc": lambda ranking: ranking.auroc(),
    "error_among": lambda ranking: ranking.error_among([1, 7, 20, ranking.n]),
    "coverage_at_risk": lambda ranking: ranking.coverage_at_risk([0.0, 0.1, 0.3, 1.0]),
}


@st.composite
def drawn_samples(draw):
    """Few levels of confidence, errors, and the indices of some draws."""
    n = draw(st.integers(20, 30))
    confidence = draw(st.lists(st.integers(0, draw(st.sampled_from([2, 8, 1000]))), min_size=n, max_size=n))
    wrong = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    draws = st.lists(st.integers(0, n - 1), min_size=n, max_size=n)
    index = draw(st.lists(draws, min_size=2, max_size=3))
    return torch.tensor(confidence).double(), torch.tensor(wrong), torch.tensor(index)


@pytest.mark.parametrize("name", METRICS)
@given(samples=drawn_samples())
def test_a_draw_is_the_ranking_of_its_samples(name, samples):
    confidence, wrong, index = samples
    drawn = METRICS[name](Ranking.of(confidence, wrong).drawn(index))
    alone = torch.stack([METRICS[name](Ranking.of(confidence[one], wrong[one])) for one in index])
    torch.testing.assert_close(drawn, alone, rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("levels", [None, 3, 20])
@pytest.mark.parametrize("seed", range(3))
def test_auroc_is_scikit_learns(levels, seed):
    confidence, wrong = ranked_pair(levels=levels, seed=seed)
    expected = roc_auc_score(~wrong.numpy(), confidence.numpy())
    assert float(Ranking.of(confidence, wrong).auroc()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("wrong", [True, False])
def test_auroc_is_not_defined_without_both_kinds(wrong):
    assert Ranking.of(torch.rand(5), torch.full((5,), wrong)).auroc().isnan()


@given(
    samples=st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=25),
    limits=st.lists(st.floats(0, 1), min_size=1, max_size=3),
)
def test_the_coverage_at_a_risk_is_the_best_of_all_thresholds(samples, limits):
    confidence, wrong = (np.array(column) for column in zip(*samples, strict=True))
    answered = [confidence >= threshold for threshold in np.unique(confidence)]
    expected = [max((each.mean() for each in answered if wrong[each].mean() <= limit), default=0.0) for limit in limits]
    found = Ranking.of(torch.tensor(confidence).double(), torch.tensor(wrong)).coverage_at_risk(limits)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_ten_thousand_tied_and_untied_samples_agree_with_a_shuffle():
    confidence, wrong = ranked_pair(10_000, levels=50)
    shuffle = torch.randperm(10_000, generator=torch.Generator().manual_seed(1))
    for metric in METRICS.values():
        assert torch.equal(
            metric(Ranking.of(confidence, wrong)), metric(Ranking.of(confidence[shuffle], wrong[shuffle]))
        )


def test_a_ranking_of_scores_with_gradient_carries_none():
    confidence, wrong = ranked_pair(20)
    assert not Ranking.of(confidence.requires_grad_(), wrong).aurc().requires_grad


def test_an_unknown_form_names_the_known():
    with pytest.raises(InputError, match=r"'exact'.*'finite' or 'asymptotic'"):
        Ranking.of(*ranked_pair(20)).excess_aurc("exact")
