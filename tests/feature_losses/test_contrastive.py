"""Contrastive distillation: both forms of the loss, the memories, the constant of the first batch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import InputError
from preceptor.context import UNLABELED, BatchContext
from preceptor.feature_losses.contrastive import UNSEEN, Contrastive, contrast, drawn

SAMPLES, BATCH, CLASSES = 12, 4, 3


def context(index: list[int], label: list[int] | None = None) -> BatchContext:
    """Of samples whose class is their position modulo 3."""
    at = torch.tensor(index)
    given = at % CLASSES if label is None else torch.tensor(label)
    logits = torch.eye(CLASSES)[at % CLASSES]
    return BatchContext(logits, logits, given, at % CLASSES, at)


def features(seed: int, width: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(BATCH, width, 2, 2, generator=generator)]


def built(**options: Any) -> Contrastive:
    torch.manual_seed(0)
    loss = Contrastive(**{"dimensions": 8, "layers": {"a": "a"}, **options})
    loss.build_adapters([torch.Size((2, 5, 2, 2))], [torch.Size((2, 7, 2, 2))])
    loss.expect_samples(SAMPLES)
    return loss


def step(loss: Contrastive, index: list[int], seed: int = 0, weight: Tensor | None = None) -> Tensor:
    ones = torch.ones(BATCH) if weight is None else weight
    result: Tensor = loss(features(seed), features(seed + 50, 7), context(index), ones)
    return result


def test_all_negatives_are_the_sampled_form_of_the_whole_other_class_set() -> None:
    """By hand for one sample: its negatives listed one by one, against a mask over everything."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, SAMPLES, dtype=torch.float64, generator=generator) - 2
    classes, label = torch.arange(SAMPLES) % CLASSES, torch.tensor([0, 1])
    positive = scores[:, :2].diagonal()
    whole = contrast(positive, scores, classes != label.unsqueeze(1), SAMPLES)
    listed = torch.stack([scores[row, classes != label[row]] for row in range(2)])
    sampled = contrast(positive, listed, torch.ones_like(listed, dtype=torch.bool), SAMPLES)
    torch.testing.assert_close(whole, sampled)
    noise, s, own = 8 / 12, listed.exp().numpy(), positive.exp().numpy()
    expected = -np.log(own / (own + noise + 1e-7)) - np.log(noise / (s + noise + 1e-7)).sum(axis=1)
    np.testing.assert_allclose(sampled, expected, rtol=1e-9)


@pytest.mark.parametrize("negatives", [8, 100])
def test_drawing_as_many_as_there_are_takes_all(negatives: int) -> None:
    whole, sampled = built(), built(negatives=negatives)
    for loss in (whole, sampled):
        loss.memory_class = torch.arange(SAMPLES) % CLASSES  # all have been met
    torch.testing.assert_close(step(whole, [0, 1, 2, 3]), step(sampled, [0, 1, 2, 3]))


def test_the_gradient_is_right_after_the_first_step() -> None:
    loss = built().double()
    with torch.no_grad():
        loss([features(0)[0].double()], [features(1, 7)[0].double()], context([0, 1, 2, 3]), torch.ones(4).double())
    loss.eval()
    own = features(2)[0].double().requires_grad_()

    def value(student: Tensor, *_: Tensor) -> Tensor:
        weight = torch.tensor([1.0, 0.0, 2.0, 1.0]).double()
        result: Tensor = loss([student], [features(3, 7)[0].double()], context([3, 4, 5, 6]), weight)
        return result

    torch.autograd.gradcheck(value, (own, *loss.parameters()))


def test_draws_are_candidates_each_once_and_reach_all_of_them() -> None:
    candidates = torch.tensor([[True, False, True, True, False], [False, True, False, False, False]])
    torch.manual_seed(0)
    draws = torch.stack([drawn(candidates, 2) for _ in range(200)])
    assert (draws.sum(dim=2) == torch.tensor([2, 1])).all()
    assert torch.equal(draws.any(dim=0), candidates)


def test_the_constant_is_that_of_the_first_batch_and_stays() -> None:
    """``m N``, N all samples: a positive's score is its similarity less that, whoever has been met."""
    loss = built()
    own = torch.nn.functional.normalize(loss.embeddings[0](features(0)[0].mean(dim=(2, 3))), dim=1)
    expected = (own @ loss.teacher_memory.T / 0.07).exp().mean().detach()
    step(loss, [0, 1, 2, 3])
    first = loss.mean_exponential.clone()
    torch.testing.assert_close(first[0], expected)
    for number, index in enumerate(([4, 5, 6, 7], [8, 9, 10, 11], [0, 1, 2, 3])):
        step(loss, index, seed=number)
        assert torch.equal(loss.mean_exponential, first)


def test_a_second_batch_has_the_loss_of_the_equation() -> None:
    """In NumPy, one sum a sample: eight samples have been met of twelve, and N is twelve."""
    loss = built()
    step(loss, [0, 1, 2, 3])
    memories = [loss.teacher_memory.numpy().copy(), loss.student_memory.numpy().copy()]
    index, met, expected = [4, 5, 6, 7], list(range(8)), 0.0
    for embed, rows, memory, m in zip(
        loss.embeddings, (features(1), features(51, 7)), memories, loss.mean_exponential.tolist(), strict=True
    ):
        vectors = embed(rows[0].mean(dim=(2, 3))).detach().numpy()
        for v, i in zip(vectors, index, strict=True):
            s = np.exp(memory @ v / np.linalg.norm(v) / 0.07) / (m * SAMPLES)
            others = [j for j in met if j % CLASSES != i % CLASSES]
            noise = len(others) / SAMPLES
            expected -= np.log(s[i] / (s[i] + noise + 1e-7)) / BATCH
            expected -= sum(np.log(noise / (s[j] + noise + 1e-7)) for j in others) / BATCH
    np.testing.assert_allclose(step(loss, index, seed=1).item(), expected, rtol=1e-4)


def test_memories_hold_a_running_mean_of_length_one() -> None:
    loss = built(momentum=0.25)
    old = loss.student_memory[[3, 7, 1, 9]].clone()
    untouched = loss.teacher_memory[0].clone()
    step(loss, [3, 7, 1, 9])
    own = torch.nn.functional.normalize(loss.embeddings[0](features(0)[0].mean(dim=(2, 3))), dim=1).detach()
    expected = torch.nn.functional.normalize(0.25 * old + 0.75 * own, dim=1)
    torch.testing.assert_close(loss.student_memory[[3, 7, 1, 9]], expected)
    assert torch.equal(loss.teacher_memory[0], untouched)
    assert loss.memory_class.tolist() == [UNSEEN, 1, UNSEEN, 0, UNSEEN, UNSEEN, UNSEEN, 1, UNSEEN, 0, UNSEEN, UNSEEN]


def test_nothing_changes_in_evaluation() -> None:
    loss = built()
    step(loss, [0, 1, 2, 3])
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    step(loss.eval(), [4, 5, 6, 7])
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


def test_a_sample_of_weight_zero_enters_no_memory_and_no_constant() -> None:
    weight = torch.tensor([1.0, 0.0, 1.0, 1.0])
    loss, other = built(), built()
    expected = step(loss, [0, 1, 2, 3], weight=weight)
    student, teacher = features(0)[0], features(50, 7)[0]
    student[1], teacher[1] = torch.nan, torch.inf
    actual = other([student], [teacher], context([0, 1, 2, 3], [0, 2, 2, 0]), weight)
    torch.testing.assert_close(actual, expected)
    assert int(loss.memory_class[1]) == UNSEEN
    for name, value in loss.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_a_sample_without_a_label_has_the_teachers_class() -> None:
    loss = built()
    loss(features(0), features(1, 7), context([0, 1, 2, 3], [UNLABELED] * 4), torch.ones(4))
    assert loss.memory_class[:4].tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("negatives", [None, 6])
def test_training_brings_an_image_nearer_to_the_teachers_of_it_than_of_other_classes(negatives: int | None) -> None:
    """Free student vectors, and a teacher whose vectors are those of the class and some noise."""
    loss, everything = built(negatives=negatives), list(range(SAMPLES))
    teacher = 3 * torch.eye(7)[torch.arange(SAMPLES) % CLASSES] + 0.3 * torch.randn(SAMPLES, 7)
    student = torch.randn(SAMPLES, 5, requires_grad=True)
    optimizer = torch.optim.Adam([student, *loss.parameters()], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss([student], [teacher], context(everything), torch.ones(SAMPLES)).backward()
        optimizer.step()
    cosines = loss.student_memory @ loss.teacher_memory.T
    other = loss.memory_class.unsqueeze(1) != loss.memory_class
    assert float(cosines.diagonal().min()) > float(cosines[other].max()) + 0.5


@pytest.mark.parametrize("negatives", [None, 5])
def test_one_class_or_no_weight_is_finite(negatives: int | None) -> None:
    loss, student = built(negatives=negatives), features(0)[0].requires_grad_()
    one_class = context([0, 3, 6, 9])
    total = loss([student], features(1, 7), one_class, torch.ones(4))
    total = total + loss([torch.zeros(4, 5, 2, 2)], features(1, 7), one_class, torch.ones(4))
    total = total + loss([student], features(1, 7), one_class, torch.zeros(4))
    total.backward()
    assert bool(total.isfinite())
    assert bool(student.grad.isfinite().all())


def test_without_weight_it_is_zero_with_gradient_zero_and_waits_for_its_first_batch() -> None:
    loss, student = built(), features(0)[0].requires_grad_()
    total = loss([student], features(1, 7), context([0, 1, 2, 3]), torch.zeros(4))
    total.backward()
    assert float(total.detach()) == 0
    assert torch.equal(student.grad, torch.zeros_like(student))
    assert torch.equal(loss.mean_exponential, torch.zeros(2))


def test_what_it_needs_is_said() -> None:
    with pytest.raises(InputError, match="contrastive looks samples up: give index="):
        built()(features(0), features(1, 7), replace(context([0, 1, 2, 3]), index=None), torch.ones(4))
    with pytest.raises(InputError, match=r"call loss.build_adapters\(...\) and loss.expect_samples"):
        Contrastive(layers={"a": "a"})(features(0), features(1, 7), context([0, 1, 2, 3]), torch.ones(4))
    with pytest.raises(InputError, match="contrastive: 2 pairs of layers: expected one"):
        Contrastive().build_adapters([torch.Size((2, 5))] * 2, [torch.Size((2, 5))] * 2)


@pytest.mark.parametrize("options", [{"dimensions": 0}, {"negatives": 0}, {"temperature": 0.0}, {"momentum": 1.5}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        Contrastive(**options)
