import math

import pytest
import torch
from scipy.stats import entropy as scipy_entropy

from preceptor.label_losses import Entropy
from preceptor.label_losses.entropy import entropy, raw_logit_entropy

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0], [9.0, -9.0, 1.0]], dtype=torch.float64)
LABEL = torch.tensor([0, 1, 2])


def test_it_is_the_entropy():
    expected = scipy_entropy(LOGITS.softmax(dim=1).numpy(), axis=1)
    assert entropy(LOGITS).tolist() == pytest.approx(expected.tolist())
    assert float(entropy(LOGITS)[1]) == pytest.approx(math.log(3))


def test_what_the_public_code_minimizes_is_not_since_a_constant_changes_it():
    shifted = LOGITS + 5
    torch.testing.assert_close(entropy(shifted), entropy(LOGITS))
    torch.testing.assert_close(raw_logit_entropy(shifted), raw_logit_entropy(LOGITS) - 5)
    torch.testing.assert_close(raw_logit_entropy(LOGITS), entropy(LOGITS) - LOGITS.logsumexp(dim=1))


def test_the_component_offers_both():
    torch.testing.assert_close(Entropy()(LOGITS, LABEL), entropy(LOGITS))
    torch.testing.assert_close(Entropy(paper_faithful=True)(LOGITS, LABEL), raw_logit_entropy(LOGITS))
