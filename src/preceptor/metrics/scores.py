"""Confidence scores: one number a sample, higher when surer, in float64.

Every score is a pure batched function. All but the reservation look at the real classes alone, so that they serve a
head that may abstain as well. In float32 every probability above 1 - 6e-8 would be 1 and the surest samples would tie.
Rows are converted to float64 in chunks, whatever the number of samples. Each raises InputError for logits that are no
dense table of real numbers or of other shapes than each other. :mod:`preceptor.metrics.score_registry` names them.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from preceptor.context import at_class, predicted_class
from preceptor.losses.kl import kl_divergence
from preceptor.metrics.checks import check_number, per_sample

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 1e-6, 1e6
"""Of an energy: with far lower or higher ones it would not be finite."""

answered_class = per_sample(predicted_class)
"""The class of the largest logit, the first of equals, of any number of samples."""


@per_sample
def softmax_response(class_logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """The largest softmax probability over the real classes, in (0, 1]; without an abstaining head's extra output.

    Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", 2017, arXiv:1705.08500.
    """
    return class_logits.double().softmax(dim=1).amax(dim=1)


@per_sample
def max_logit(class_logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """The largest logit, as it is.

    Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", 2022, arXiv:1911.11132.
    """
    return class_logits.double().amax(dim=1)


@per_sample
def max_logit_p_norm(class_logits: Float[Tensor, "batch classes"], p: float) -> Float[Tensor, " batch"]:
    """MaxLogit-pNorm: ``max_k (z_k - mean z) / |z - mean z|_p``; 0 for a row of equal logits.

    With p = 0 the centered logits are not normalized (the convention of the authors' code). Choose p on validation
    data, by :func:`preceptor.metrics.held_out.choose_p_norm`.

    Raises:
        InputError: p is not a number from 0 on.

    Cattelan and Silva, "How to Fix a Broken Confidence Estimator", 2024, arXiv:2305.15508.
    """
    if p != float("inf"):
        check_number("max_logit_p_norm: p", p, at_least=0, example=4)
    logits = class_logits.double()
    centered = logits - logits.mean(dim=1, keepdim=True)
    largest = centered.amax(dim=1)
    if p == 0:
        return largest
    length = torch.linalg.vector_norm(centered, ord=p, dim=1)
    return largest / torch.where(length > 0, length, 1)


@per_sample
def margin(class_logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """The largest softmax probability minus the second, in [0, 1]; 1 where there is one class only.

    Scheffer, Decomain and Wrobel, "Active Hidden Markov Models for Information Extraction", 2001.
    """
    probabilities = class_logits.double().softmax(dim=1)
    if probabilities.shape[1] == 1:
        return probabilities[:, 0]
    best, second = probabilities.topk(2, dim=1).values.unbind(dim=1)
    return best - second


@per_sample
def negative_entropy(class_logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """``sum_i p_i ln p_i`` of the softmax, in nats, in [-ln C, 0]."""
    return -entropy(class_logits.double().log_softmax(dim=1))


@per_sample
def energy(class_logits: Float[Tensor, "batch classes"], temperature: float = 1.0) -> Float[Tensor, " batch"]:
    """The negative free energy, ``T ln sum_i exp(z_i / T)``.

    Args:
        class_logits: of the real classes.
        temperature: T, from 1e-6 to 1e6. Default 1 (Liu et al., who find that more does worse).

    Raises:
        InputError: a temperature that is not.

    Liu et al., "Energy-based Out-of-distribution Detection", 2020, arXiv:2010.03759.
    """
    check_number(
        "energy: temperature", temperature, at_least=LOWEST_TEMPERATURE, at_most=HIGHEST_TEMPERATURE, example=1
    )
    return temperature * (class_logits.double() / temperature).logsumexp(dim=1)


@per_sample
def reservation_confidence(logits: Float[Tensor, "batch outputs"]) -> Float[Tensor, " batch"]:
    """Minus the probability of the extra output, the last of classes + 1: ``-q_{m+1}``, in [-1, 0].

    The own score of a gambler (Liu et al., "Deep Gamblers: Learning to Abstain with Portfolio Theory", 2019,
    arXiv:1907.00208) and of self-adaptive training (Huang, Zhang and Zhang, "Self-Adaptive Training: beyond Empirical
    Risk Minimization", 2020, arXiv:2002.10319).
    """
    return -logits.double().softmax(dim=1)[:, -1]


@per_sample
def teacher_probability(
    class_logits: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"]
) -> Float[Tensor, " batch"]:
    """The teacher's probability of the student's prediction, in (0, 1].

    Our definition. It needs the teacher on every sample.
    """
    return at_class(teacher.double().softmax(dim=1), predicted_class(class_logits))


@per_sample
def negative_teacher_kl(
    class_logits: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"]
) -> Float[Tensor, " batch"]:
    """``-KL(p, q)`` of the teacher's p from the student's q at temperature 1, in nats, at most 0.

    Our definition, of the loss that distillation lowers. It needs the teacher on every sample.
    """
    return -kl_divergence(class_logits.double(), teacher.double().log_softmax(dim=1))


def entropy(log_probabilities: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch"]:
    """``-sum_i p_i ln p_i`` in nats, of logarithms that may be -inf."""
    terms: Tensor = torch.special.entr(log_probabilities.exp())
    return terms.sum(dim=-1)
