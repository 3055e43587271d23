"""Self-adaptive training: a student that abstains where its own predictions have not come to agree with the label.

Huang, Zhang, Zhang, "Self-Adaptive Training: beyond Empirical Risk Minimization", 2020, arXiv:2002.10319, section 4
(selective classification). With ``p = softmax(z)`` over m classes and the extra output, and a belief ``t`` in the
label of each sample, the running mean of its probability in the softmax over the m classes alone,

    loss = -t ln p_y - (1 - t) ln p_{m+1} .
"""

from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from preceptor.context import BatchOutputs, Classes, PerSample, at_class
from preceptor.errors import InputError
from preceptor.registry import register


def self_adaptive_loss(logits: BatchOutputs, label: Classes, belief: PerSample) -> PerSample:
    """``-t ln p_y - (1 - t) ln p_{m+1}`` per sample, with ``p = softmax(z)`` over m + 1 outputs, the extra one last.

    With a belief t, 0 to 1, of 1 it is cross-entropy over m + 1 outputs.
    """
    log_probs = logits.log_softmax(dim=1)
    return -belief * at_class(log_probs, label) - (1 - belief) * log_probs[:, -1]


def updated_belief(belief: PerSample, logits: BatchOutputs, label: Classes, momentum: float) -> PerSample:
    """``momentum t + (1 - momentum) softmax(z_1 .. z_m)_y``: without the extra output.

    The paper keeps a vector of soft labels per sample. The loss reads only the entry of the label, and its update does
    not depend on the others, so one number per sample is enough.
    """
    return momentum * belief + (1 - momentum) * at_class(logits[:, :-1].softmax(dim=1), label)


@register(
    "label_loss", "self_adaptive", paper="Huang et al., 2020, arXiv:2002.10319 (Self-Adaptive Training, section 4)"
)
class SelfAdaptive(nn.Module):
    """Self-adaptive loss with the label: the student abstains where it has come to disbelieve the label.

    It needs a student with one output more than there are classes, the ``index`` of each sample, and the number of
    samples, by ``DistillationLoss.expect_samples`` (the training loop calls it). Beliefs start at 1 and are updated at
    every call in training mode. The paper trains on cross-entropy first (60 of 300 epochs on CIFAR): limit it with
    ``since``.

    Args:
        momentum: of the running mean, 0 to 1. Default 0.9 (Huang et al. on CIFAR; 0.99 on ImageNet).

    Raises:
        InputError: a momentum outside 0 to 1, or, in the call, no call of ``expect_samples`` before.
    """

    wants_reservation: ClassVar[bool] = True
    wants_index: ClassVar[bool] = True
    belief: Tensor

    def __init__(self, momentum: float = 0.9) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise InputError(f"self_adaptive: momentum = {momentum}: expected 0 to 1")
        self.momentum = momentum
        self.register_buffer("belief", torch.ones(0))

    def expect_samples(self, samples: int) -> None:
        """Reset the beliefs to 1, for a training set of this many samples."""
        self.belief = torch.ones(samples, dtype=self.belief.dtype, device=self.belief.device)

    def forward(self, student_logits: BatchOutputs, label: Classes, index: Int[Tensor, " batch"]) -> PerSample:
        if not len(self.belief):
            raise InputError(
                "self_adaptive keeps a number for every sample: call loss.expect_samples(len(training_set)) first"
            )
        with torch.no_grad():
            belief = self.belief[index]
            if self.training:
                belief = updated_belief(belief, student_logits.detach(), label, self.momentum).to(belief.dtype)
                self.belief.index_copy_(0, index, belief)
        return self_adaptive_loss(student_logits, label, belief.to(student_logits.dtype))

    def extra_repr(self) -> str:
        return f"momentum={self.momentum}"
