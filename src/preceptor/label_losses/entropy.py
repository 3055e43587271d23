"""Entropy of the student's own probabilities, to be minimized."""

from dataclasses import dataclass

from preceptor.context import BatchClasses, Classes, PerSample
from preceptor.registry import register


def entropy(logits: BatchClasses) -> PerSample:
    """``-sum_c p_c ln p_c`` per sample, in nats, with ``p = softmax(z)``; 0 to ln C."""
    log_probs = logits.log_softmax(dim=1)
    return -(log_probs.exp() * log_probs).sum(dim=1)


def raw_logit_entropy(logits: BatchClasses) -> PerSample:
    """``-sum_c p_c z_c`` per sample: what the public code of Feng et al. minimizes as the entropy.

    It is the entropy minus ``ln sum exp z``, so a constant added to all logits changes it.
    """
    return -(logits.softmax(dim=1) * logits).sum(dim=1)


@register(
    "label_loss", "entropy", paper="Feng et al., 2022, arXiv:2206.09034 (Towards Better Selective Classification)"
)
@dataclass(frozen=True)
class Entropy:
    """Entropy of the student's own probabilities of the classes, whatever the label: a regularizer for abstention.

    Meant to be added to a gambler's or self-adaptive loss with a weight of 0.001 (CIFAR-10) or 0.01 (ImageNet-100).

    Args:
        paper_faithful: minimize what the public code does, :func:`raw_logit_entropy`, which is not an entropy and is
            unbounded below. Default False.
    """

    paper_faithful: bool = False

    def __call__(self, student_logits: BatchClasses, label: Classes) -> PerSample:
        return raw_logit_entropy(student_logits) if self.paper_faithful else entropy(student_logits)
