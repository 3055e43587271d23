"""Training configuration: presets, and what is refused. What optimizers and schedules compute: test_optimizers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from preceptor import InputError
from preceptor.training import PRESETS, TrainingConfig


class Weights(nn.Module):
    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values, dtype=torch.float64))


def rates(config: TrainingConfig) -> list[float]:
    """The learning rate during each epoch."""
    optimizer = config.build_optimizer([Weights(1.0)])
    schedule, rates = config.build_schedule(optimizer, 1), []
    for _ in range(config.epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_the_standard_preset_is_the_protocol_of_the_literature():
    """RepDistiller and mdistiller on CIFAR-100: 240 epochs, 0.05, a tenth of it after 150, 180 and 210."""
    expected = [0.05 * 0.1 ** sum(epoch >= milestone for milestone in (150, 180, 210)) for epoch in range(240)]
    standard = PRESETS["standard"]
    assert rates(standard) == pytest.approx(expected)
    assert (standard.optimizer, standard.batch_size, standard.momentum, standard.weight_decay) == ("sgd", 64, 0.9, 5e-4)


@pytest.mark.parametrize("epochs", [1, 2, 7, 20])
def test_the_short_preset_anneals_along_a_cosine(epochs):
    config = PRESETS["short"].model_copy(update={"epochs": epochs})
    expected = [0.05 * (1 + math.cos(math.pi * epoch / epochs)) / 2 for epoch in range(epochs)]
    assert rates(config) == pytest.approx(expected)


def test_the_finetune_preset_warms_adamw_up_at_a_small_rate():
    finetune = PRESETS["finetune"]
    assert (finetune.optimizer, finetune.warmup > 0, finetune.learning_rate) == ("adamw", True, 1e-4)


def test_steps_follow_the_shares_when_training_is_shortened():
    shortened = PRESETS["standard"].model_copy(update={"epochs": 8, "decay_factor": 0.5})
    assert rates(shortened) == pytest.approx([0.05] * 5 + [0.025] + [0.0125] + [0.00625])


gradients = st.lists(st.tuples(*[st.floats(-2, 2)] * 3), min_size=1, max_size=6)


@given(gradients=gradients, momentum=st.sampled_from([0.0, 0.5, 0.9]), decay=st.sampled_from([0.0, 5e-4, 0.1]))
def test_a_step_is_sgd_with_momentum_and_weight_decay_and_without_nesterov(gradients, momentum, decay):
    module = Weights(1.0, -0.5, 0.25)
    optimizer = TrainingConfig(learning_rate=0.1, momentum=momentum, weight_decay=decay).build_optimizer([module])
    expected, velocity = np.array([1.0, -0.5, 0.25]), np.zeros(3)
    for gradient in gradients:
        module.values.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        velocity = momentum * velocity + (np.array(gradient) + decay * expected)
        expected = expected - 0.1 * velocity
    np.testing.assert_allclose(module.values.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_the_parameters_of_every_module_are_optimized():
    first, second = Weights(1.0, 2.0), Weights(3.0)
    parameters = PRESETS["short"].build_optimizer([first, second]).param_groups[0]["params"]
    assert [id(parameter) for parameter in parameters] == [id(first.values), id(second.values)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 1},
        {"learning_rate": 0},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"momentum": 1},
        {"momentum": math.nan},
        {"weight_decay": -0.1},
        {"weight_decay": math.inf},
        {"schedule": "exponential"},
        {"schedule_per": "batch"},
        {"decay_factor": 0},
        {"decay_factor": math.nan},
        {"decay_at": (0.5, math.nan)},
        {"decay_at": (0.5, math.inf)},
        {"decay_at": (-0.5,)},
        {"warmup": 1.0},
        {"clip_norm": 0},
        {"clip_norm": math.inf},
        {"accumulate": 0},
        {"ema": 1},
        {"ema": math.nan},
        {"nesterov": True},
    ],
    ids=str,
)
def test_values_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrainingConfig(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": "adamvw"}, "adamvw.*did you mean 'adamw'"),
        ({"optimizer": "lbfgs"}, "unknown optimizer"),
        ({"optimizer_options": {"nestrov": True}}, "nestrov.*did you mean 'nesterov'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(wrong, message):
    with pytest.raises(ValidationError, match=message):
        TrainingConfig(**wrong)


def test_what_torch_refuses_is_an_input_error():
    with pytest.raises(InputError, match=r"optimizer adamw with .*betas.*: Invalid beta"):
        TrainingConfig(optimizer="adamw", optimizer_options={"betas": (2.0, 0.9)}).build_optimizer([nn.Linear(1, 1)])
    both = TrainingConfig(optimizer="adamw", optimizer_options={"fused": True, "foreach": True})
    with pytest.raises(InputError, match=r"optimizer adamw with .*: `fused` and `foreach` cannot be `True` together"):
        both.build_optimizer([nn.Linear(1, 1)])


@pytest.mark.parametrize(("options", "foreach"), [({"fused": True}, None), ({"fused": False}, True), ({}, True)])
def test_parameters_are_updated_together_unless_the_optimizer_is_to_be_fused(options, foreach):
    config = TrainingConfig(optimizer="adamw", optimizer_options=options)
    assert config.build_optimizer([nn.Linear(1, 1)]).defaults["foreach"] is foreach
