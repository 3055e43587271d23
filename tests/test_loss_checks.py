"""Refusals before anything is trained; more of them are in test_loss_edges.py and test_loss_abstain.py."""

import pytest
import torch

from preceptor import CMKD, KL, DistillationLoss, Gambler, InputError, LossTerm, Pearson, SoftGambler, Spearman
from tests.examples import LABEL, STUDENT, TEACHER


@pytest.mark.parametrize("loss", [CMKD(), Pearson(), Pearson(on="plain_prob"), Spearman()], ids=repr)
def test_two_values_always_correlate(loss: Pearson) -> None:
    """With two classes the loss is 0 or 2 and its gradient zero: nothing would be learned, and nobody would notice."""
    whole = DistillationLoss(loss=loss)
    whole.check_classes(3)
    with pytest.raises(InputError, match="2 classes: two values always correlate"):
        whole.check_classes(2)


@pytest.mark.parametrize("loss", [Gambler(payoff=4.0), SoftGambler(payoff=4.0)], ids=repr)
def test_a_payoff_that_never_pays_is_found_before_warm_up_ends(loss: Gambler) -> None:
    distillation_loss = DistillationLoss(loss=KL(), terms={"gamble": LossTerm(loss, since=0.9)})
    distillation_loss.check_classes(5)
    with pytest.raises(InputError, match=r"payoff = 4.0 with 4 classes"):
        distillation_loss.check_classes(4)


@pytest.mark.parametrize(
    "index",
    [torch.zeros(3, dtype=torch.long), torch.zeros(4), torch.zeros(4, 1, dtype=torch.long), torch.ones(4) > 0],
    ids=["short", "float", "column", "bool"],
)
def test_an_index_of_wrong_shape_or_type_is_refused(index: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"expected \(4,\) positions in the training set"):
        DistillationLoss(loss=KL())(STUDENT, TEACHER, LABEL, index=index)
