"""The public surface is listed once, and every name on it exists."""

import ast
from copy import deepcopy
from pathlib import Path

import pytest
import torch

import preceptor


@pytest.mark.parametrize("name", preceptor.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(preceptor, name) is not None
    assert name in dir(preceptor)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(preceptor.__file__).read_text())
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname for block in blocks for node in block.body for alias in getattr(node, "names", [])}
    assert seen | {"__version__"} == set(preceptor.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Chian'"):
        preceptor.Chian  # noqa: B018


def test_someone_elses_loop() -> None:
    from preceptor import KL, DistillationLoss, Fixed, LabelRevision, recipe

    with torch.random.fork_rng():
        torch.manual_seed(0)
        images, label = torch.randn(16, 20), torch.arange(16) % 4
        teacher, fresh = torch.nn.Linear(20, 4), torch.nn.Linear(20, 4)
    for loss in (
        DistillationLoss(**recipe("kd")),
        DistillationLoss(correction=LabelRevision(eta=0.8), temperature=Fixed(4), loss=KL()),
    ):
        student = deepcopy(fresh)
        optimizer = torch.optim.SGD(student.parameters(), lr=0.5)
        losses = []
        for _ in range(20):
            terms = loss(student(images), teacher(images), label, index=torch.arange(16))
            optimizer.zero_grad()
            terms.total.backward()
            optimizer.step()
            losses.append(float(terms.total.detach()))
        assert losses[-1] < 0.7 * losses[0]
    assert all(parameter.grad is None for parameter in teacher.parameters())
