"""Self-adaptive training: what the student itself has come to believe of a label decides how much it keeps back.

Huang, Zhang, Zhang, "Self-Adaptive Training: beyond Empirical Risk Minimization", 2020, arXiv:2002.10319, section 4
(selective classification). With ``p = softmax(z)`` over m classes and the extra output, and a belief ``t`` of each
sample in its label, a running mean of what softmax over the m classes alone gave it,

    loss = -t ln p_y - (1 - t) ln p_{m+1} .
"""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from preceptor.context import at_class
from preceptor.errors import InputError
from preceptor.registry import register


def self_adaptive_loss(
    logits: Float[Tensor, "batch outputs"], label: Int[Tensor, " batch"], belief: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """``-t ln p_y - (1 - t) ln p_{m+1}`` per sample, with ``p = softmax(z)`` over all m + 1 outputs.

    Args:
        logits: m + 1 outputs, the extra one last.
        label: class numbers, 0 to m - 1.
        belief: ``t``, 0 to 1: how far each label is believed. With 1 it is cross-entropy over m + 1 outputs.

    Huang et al., arXiv:2002.10319, section 4.
    """
    log_probs = logits.log_softmax(dim=1)
    return -belief * at_class(log_probs, label) - (1 - belief) * log_probs[:, -1]


def updated_belief(
    belief: Float[Tensor, " batch"],
    logits: Float[Tensor, "batch outputs"],
    label: Int[Tensor, " batch"],
    momentum: float,
) -> Float[Tensor, " batch"]:
    """``momentum t + (1 - momentum) softmax(z_1 .. z_m)_y``: the extra output has no part in what is believed.

    Of the published vector of soft labels only the entry of the label is ever looked at, and it moves on its own, so
    that one number a sample is kept.
    """
    return momentum * belief + (1 - momentum) * at_class(logits[:, :-1].softmax(dim=1), label)


@register(
    "label_loss", "self_adaptive", paper="Huang et al., 2020, arXiv:2002.10319 (Self-Adaptive Training, section 4)"
)
class SelfAdaptive(nn.Module):
    """Self-adaptive loss with the label: the student keeps back what it has come to uncertainty of it.

    It wants a student with one output more than there are classes, and keeps a number a sample: tell it with
    ``DistillationLoss.expect_samples`` how many there are (the training loop does), and give the chain ``index``. Beliefs begin
    at 1 and move at every call while the module is in training mode. The publication trains on cross-entropy first
    (60 of 300 epochs on CIFAR): limit it with ``since``.

    Args:
        momentum: of the beliefs, 0 to 1. Default 0.9 (Huang et al. on CIFAR; 0.99 on ImageNet).

    Raises:
        InputError: a momentum outside 0 to 1, or, in the call, a number of samples that was never told.
    """

    wants_reservation: ClassVar[bool] = True
    wants_index: ClassVar[bool] = True
    belief: Tensor

    def __init__(self, momentum: float = 0.9) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise InputError(f"self_adaptive: momentum = {momentum}: must be between 0 and 1")
        self.momentum = momentum
        self.register_buffer("belief", torch.ones(0))

    def expect_samples(self, samples: int) -> None:
        """Begin anew, for a training set of so many samples: every label is believed."""
        self.belief = torch.ones(samples, dtype=self.belief.dtype, device=self.belief.device)

    def forward(
        self,
        student_logits: Float[Tensor, "batch outputs"],
        label: Int[Tensor, " batch"],
        index: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Move the beliefs of these samples, then apply :func:`self_adaptive_loss`."""
        if not len(self.belief):
            raise InputError(
                "self_adaptive keeps a number for every sample: call chain.expect_samples(len(training set)) first"
            )
        with torch.no_grad():
            belief = self.belief[index]
            if self.training:
                belief = updated_belief(belief, student_logits.detach(), label, self.momentum).to(belief.dtype)
                self.belief.index_copy_(0, index, belief)
        return self_adaptive_loss(student_logits, label, belief.to(student_logits.dtype))

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"momentum={self.momentum}"
