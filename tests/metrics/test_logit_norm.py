import pytest
import torch

from preceptor.errors import InputError
from preceptor.metrics import Predictions, aurc, choose_p_norm, confidence
from preceptor.metrics.scores import max_logit_p_norm, softmax_response
from tests.metrics.samples import answered


def of_odd_scale(seed=0):
    """Samples whose logits are stretched at random: softmax response is misled, a direction is not."""
    logits, labels = answered(600, 6, seed=seed)
    stretch = torch.rand(600, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(3).exp()
    return logits * stretch, logits.argmax(dim=1) != labels


def test_the_best_p_is_found_and_beats_softmax_response_on_new_samples():
    logits, wrong = of_odd_scale()
    choice = choose_p_norm(logits, wrong)
    areas = {p: aurc(max_logit_p_norm(logits, p), wrong) for p in range(9)}
    assert choice.score == "max_logit_p_norm"
    assert choice.aurc == min(areas.values()) == areas[choice.options["p"]]
    assert choice.aurc_of_softmax_response == aurc(softmax_response(logits), wrong) > choice.aurc
    assert choice.samples == 600
    others, wrong_there = of_odd_scale(seed=1)
    found = confidence(choice.score, Predictions(others), **choice.options)
    assert aurc(found, wrong_there) < aurc(softmax_response(others), wrong_there)


def test_where_no_p_helps_it_is_softmax_response():
    """With two classes the centerd logits are (a, -a), whose normalized maximum is the same for all samples."""
    logits, labels = answered(300, 2)
    choice = choose_p_norm(logits, logits.argmax(dim=1) != labels, norms=[1, 2, 4])
    assert (choice.score, choice.options) == ("softmax_response", {})
    assert choice.aurc == choice.aurc_of_softmax_response


def test_without_an_error_nothing_can_be_better():
    logits, _ = answered(50, 6)
    assert choose_p_norm(logits, torch.zeros(50, dtype=torch.bool)).score == "softmax_response"


def test_the_smallest_p_of_equals():
    """With two classes every p-norm ties all samples, which is better than to be surest where it is wrong."""
    logits = torch.tensor([[1.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    choice = choose_p_norm(logits, torch.tensor([False, False, True]), norms=[4, 1, 2])
    assert choice.options == {"p": 1}
    assert choice.aurc == pytest.approx(1 / 3)


def test_without_a_p_there_is_nothing_to_try():
    with pytest.raises(InputError, match="norms is empty; expected at least one"):
        choose_p_norm(*of_odd_scale(), norms=[])
