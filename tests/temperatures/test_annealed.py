"""The annealed temperature: its course over training, uncompiled and compiled, and its options."""

import pytest
import torch

from preceptor import KL, DistillationLoss, Fixed, InputError
from preceptor.temperatures import Annealed
from tests.losses.numeric import random_logits

STUDENT, TEACHER = random_logits(8, 5)
LABEL = torch.arange(8) % 5


@pytest.mark.parametrize(
    ("options", "course"),
    [
        ({}, {0.0: 10.0, 0.5: 5.5, 1.0: 1.0}),
        ({"start": 2.0, "end": 6.0, "until": 0.5}, {0.0: 2.0, 0.25: 4.0, 0.5: 6.0, 0.9: 6.0}),
    ],
)
def test_its_loss_is_that_of_the_temperature_at_the_time(options: dict[str, float], course: dict[float, float]) -> None:
    torch._dynamo.reset()
    loss, compiled = (DistillationLoss(temperature=Annealed(**options), loss=KL()) for _ in range(2))
    compiled.compile(fullgraph=True, backend="eager")
    for progress, temperature in course.items():
        expected = DistillationLoss(temperature=Fixed(temperature), loss=KL())(STUDENT, TEACHER, LABEL).total
        for one in (loss, compiled):
            torch.testing.assert_close(one(STUDENT, TEACHER, LABEL, progress=progress).total, expected)


@pytest.mark.parametrize("options", [{"start": 0.0}, {"end": float("nan")}, {"until": 0.0}, {"until": 1.1}])
def test_options_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"annealed: {next(iter(options))} ="):
        Annealed(**options)
