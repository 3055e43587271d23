"""Arbitration, and the published corrections in its corners."""

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import KL, DistillationLoss, InputError
from preceptor.context import AGREE, VERDICTS, BatchContext
from preceptor.corrections import (
    Arbitrate,
    arbitrate,
    class_label_trust,
    label_reliability,
    label_revision,
    smoothed_one_hot,
)
from preceptor.corrections.label_revision import revision_beta
from tests.recalibrations.test_recalibrations import CLASSES, calibrated, data

LOGITS, _ = calibrated(40, seed=3)
LOG_PROBS = LOGITS.log_softmax(dim=1)
TEACHER = LOGITS.argmax(dim=1)
LABEL = (TEACHER + 1 + torch.arange(40) % 3) % CLASSES
"""Always another class than the teacher's."""
NONE, FULL = torch.zeros(40), torch.ones(40)


def test_label_revision_is_a_corner() -> None:
    beta = revision_beta(LOG_PROBS, LABEL, TEACHER, eta=0.8)
    torch.testing.assert_close(
        arbitrate(LOG_PROBS, LABEL, beta, 1 - beta), label_revision(LOG_PROBS, LABEL, TEACHER, eta=0.8)
    )
    torch.testing.assert_close(
        arbitrate(LOG_PROBS, LABEL, 3 * beta, 3 * (1 - beta)), arbitrate(LOG_PROBS, LABEL, beta, 1 - beta)
    )


def test_knowledge_adjustment_is_a_corner() -> None:
    """A smoothed label is arbitration between the label and a teacher that knows nothing."""
    uniform = torch.full_like(LOG_PROBS, 1 / CLASSES).log()
    mixed = arbitrate(uniform, LABEL, 0.1 * FULL, 0.9 * FULL)
    smoothed = smoothed_one_hot(LOG_PROBS, LABEL, 0.9 + 0.1 / CLASSES)
    torch.testing.assert_close(mixed, smoothed)


def test_drop_wrong_and_the_teacher_itself_are_corners() -> None:
    label_alone = arbitrate(LOG_PROBS, LABEL, NONE, FULL).exp()
    torch.testing.assert_close(label_alone, torch.nn.functional.one_hot(LABEL, CLASSES).float())
    torch.testing.assert_close(arbitrate(LOG_PROBS, LABEL, FULL, NONE), LOG_PROBS)


def context(label_wrong: Tensor | None = None) -> BatchContext:
    return BatchContext(LOGITS, LOGITS, LABEL, TEACHER, torch.arange(40), label_wrong=label_wrong)


def fitted(**options: float) -> Arbitrate:
    component = Arbitrate(**options)  # type: ignore[arg-type]
    logits, label = calibrated()
    component.fit(data(logits * 3, label))
    return component


def test_the_teachers_trust_is_its_calibrated_confidence() -> None:
    trust, _ = fitted(label_trust=1.0).trusts(LABEL, context())
    torch.testing.assert_close(trust, (LOGITS / 3).softmax(dim=1).amax(dim=1), atol=0.02, rtol=0)


def test_where_the_label_is_the_likelier_error_the_teacher_teaches() -> None:
    doubted, believed = (
        fitted()(LOG_PROBS, LABEL, TEACHER, context(torch.full((40,), wrong))) for wrong in (0.98, 0.0)
    )
    assert torch.equal(doubted.argmax(dim=1), TEACHER)
    assert torch.equal(believed.argmax(dim=1), LABEL)
    assert float((doubted.exp() - LOG_PROBS.exp()).abs().amax()) < 0.08


def test_an_audit_goes_before_the_estimate() -> None:
    _, audited = fitted(label_trust=0.3).trusts(LABEL, context(torch.full((40,), 0.9)))
    torch.testing.assert_close(audited, torch.full((40,), 0.1))


@pytest.mark.parametrize("stated", [0.0, 1.0])
def test_labels_that_are_all_wrong_or_all_right(stated: float) -> None:
    _, trust = fitted(label_trust=stated).trusts(LABEL, context())
    torch.testing.assert_close(trust, torch.full((40,), stated))


def test_the_labels_reliability_is_its_share_among_noisy_labels() -> None:
    """By simulation: the truth drawn from the teacher's calibrated prediction, then the noise."""
    generator = torch.Generator().manual_seed(2)
    logits, truth = calibrated(40_000)
    noisy = torch.rand(len(truth), generator=generator) < 0.2
    label = torch.where(noisy, (truth + torch.randint(1, CLASSES, truth.shape, generator=generator)) % CLASSES, truth)
    own = logits.softmax(dim=1).gather(1, label.unsqueeze(1)).squeeze(1)
    trust = label_reliability(own, torch.full_like(own, 0.8), CLASSES)
    for low in (0.0, 0.25, 0.5, 0.75):
        some = (trust >= low) & (trust < low + 0.25)
        assert float((~noisy)[some].float().mean()) == pytest.approx(float(trust[some].mean()), abs=0.03)
    component = Arbitrate(label_trust=0.8)
    component.fit(data(3 * logits, label))
    assert float(component.scale) == pytest.approx(1 / 3, rel=0.05)


def test_wrong_labels_of_one_class_are_found_in_that_class() -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(4000) % 4
    logits = 6 * torch.eye(4)[label] + torch.randn(4000, 4, generator=generator)
    moved = (label == 1) & (torch.rand(4000, generator=generator) < 0.3)
    label = torch.where(moved, 2, label)
    share = 1 - int(moved.sum()) / int((label == 2).sum())
    # Samples that reach no class's mean do not count, more of the wrong ones than of the others.
    np.testing.assert_allclose(class_label_trust(logits, label), [1, 1, share, 1], atol=0.08)
    assert class_label_trust(logits[label != 3], label[label != 3])[3] == 1


def test_an_audit_reaches_it_through_the_loss() -> None:
    loss = DistillationLoss(correction=fitted(), correction_where="wrong_teacher | wrong_label | ambiguous", loss=KL())
    wrong = torch.linspace(0, 1, 40)
    verdicts = torch.full((40,), VERDICTS.index("ambiguous"))
    verdicts[0] = AGREE
    loss.use_verdicts(verdicts, wrong)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    audit = loss(torch.zeros(40, CLASSES), LOGITS[order], LABEL[order], index=order).audit
    assert audit is not None
    assert audit.corrected.all()
    expected = fitted()(LOG_PROBS, LABEL, TEACHER, context(wrong))
    torch.testing.assert_close(audit.target, expected[order])


def test_a_trust_is_a_probability() -> None:
    with pytest.raises(InputError, match=r"arbitrate: label_trust = 1.5: expected a probability"):
        Arbitrate(label_trust=1.5)
