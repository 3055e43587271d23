"""Optimizers with several momenta: their steps again in NumPy, plain SGD as their limit, and whole runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from preceptor import KL, CrossEntropy, DistillationLoss, InputError, LossTerm
from preceptor.component_types import GradientSource
from preceptor.errors import Interrupted
from preceptor.run import resolve, resume, run
from preceptor.run import train as single_module
from preceptor.training import Student, TrainingConfig
from preceptor.training.optimizers import DOT, DeepKD, SeparateMomentum
from tests.run.test_resume import StopsAfter, epochs
from tests.training_helpers import SMALL_RUN, StateAfter, network, same_bits, train, weights

RATE, DECAY = 0.1, 0.03
TARGETS: dict[GradientSource, Tensor] = {
    "task": torch.tensor([1.0, -2.0, 0.5]),
    "target": torch.tensor([-1.0, 0.3, 2.0]),
    "non_target": torch.tensor([0.2, 0.7, -0.4]),
    "distillation": torch.tensor([3.0, 0.1, -0.6]),
}
MATRIX = torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]])
BRIEF: dict[str, Any] = {"epochs": 2, "batch_size": 8, "learning_rate": 0.02}


def losses(parameter: Tensor, sources: list[GradientSource]) -> dict[GradientSource, list[Tensor]]:
    """Quadratic ones with gradients ``M (w - target)``."""
    return {
        s: [
            0.5 * (parameter - TARGETS[s].to(parameter)) @ MATRIX.to(parameter) @ (parameter - TARGETS[s].to(parameter))
        ]
        for s in sources
    }


def stepped(optimizer: SeparateMomentum, parameter: Tensor, steps: list[list[GradientSource]]) -> None:
    for sources in steps:
        optimizer.collect(losses(parameter, sources))
        optimizer.step()


def by_hand(
    momenta: dict[GradientSource, float], steps: list[list[GradientSource]], plain: float = 0.9, decayed: str = "task"
) -> np.ndarray:
    """The same steps from the equations; a step that lacks a source has the plain momentum."""
    w, matrix = np.array([0.5, 0.5, 0.5]), MATRIX.double().numpy()
    buffers: dict[str, np.ndarray] = {}
    for sources in steps:
        moved = np.zeros(3)
        first = decayed if decayed in sources else sources[0]
        for source in sources:
            gradient = matrix @ (w - TARGETS[source].double().numpy()) + (DECAY * w if source == first else 0)
            momentum = momenta[source] if set(sources) == set(momenta) else plain
            buffers[source] = momentum * buffers.get(source, np.zeros(3)) + gradient
            moved = moved + buffers[source]
        w = w - RATE * moved
    return w


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.full((3,), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("delta", [0.0, 0.075, 0.09])
def test_dots_steps_are_those_of_its_equations(delta: float) -> None:
    steps: list[list[GradientSource]] = [["task", "distillation"]] * 7
    one = parameter()
    stepped(DOT([one], lr=RATE, delta=delta, weight_decay=DECAY), one, steps)
    expected = by_hand({"task": 0.9 - delta, "distillation": 0.9 + delta}, steps)
    np.testing.assert_allclose(one.detach().numpy(), expected, rtol=1e-12)


def test_of_one_source_alone_a_parameter_has_the_plain_momentum() -> None:
    """Labels alone for a while, then the teacher alone, whose gradient the weight decay goes to then."""
    steps: list[list[GradientSource]] = [
        ["task"],
        ["task"],
        ["task", "distillation"],
        ["distillation"],
        ["distillation"],
    ]
    one = parameter()
    stepped(DOT([one], lr=RATE, weight_decay=DECAY), one, steps)
    expected = by_hand({"task": 0.825, "distillation": 0.975}, steps)
    np.testing.assert_allclose(one.detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("faithful", [False, True])
def test_deepkds_steps_are_those_of_its_equations(faithful: bool) -> None:
    steps: list[list[GradientSource]] = [["task", "target", "non_target"]] * 6
    one = parameter()
    stepped(DeepKD([one], lr=RATE, non_target=0.05, weight_decay=DECAY, faithful=faithful), one, steps)
    momenta: dict[GradientSource, float] = {"task": 0.825 if faithful else 0.975, "target": 0.825, "non_target": 0.95}
    expected = by_hand(momenta, steps, decayed="target" if faithful else "task")
    np.testing.assert_allclose(one.detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("cls", [DOT, DeepKD])
def test_without_differences_it_is_sgd_with_momentum(cls: type[SeparateMomentum]) -> None:
    """Up to rounding, as the sum of two momenta is rounded elsewhere than the momentum of a sum."""
    own, reference = nn.Linear(3, 4).double(), nn.Linear(3, 4).double()
    reference.load_state_dict(own.state_dict())
    none: dict[str, float] = {"delta": 0.0} if cls is DOT else {"task": 0.0, "target": 0.0, "non_target": 0.0}
    optimizer = cls(own.parameters(), lr=RATE, weight_decay=DECAY, **none)
    sgd = torch.optim.SGD(reference.parameters(), lr=RATE, momentum=0.9, weight_decay=DECAY)
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for _ in range(20):
        parts = (
            [one(inputs).square().mean() for one in (own, reference)],
            [one(inputs).sin().mean() for one in (own, reference)],
        )
        optimizer.collect({"task": [parts[0][0]], "target": [parts[1][0]], "non_target": []})
        optimizer.step()
        sgd.zero_grad()
        (parts[0][1] + parts[1][1]).backward()
        sgd.step()
    for one, other in zip(own.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["dot", "deepkd"])
def test_on_labels_alone_it_is_sgd_bit_for_bit(name: str) -> None:
    def trained(optimizer: str) -> nn.Module:
        module = network()
        student = Student("student", module, DistillationLoss(label_loss=CrossEntropy()))
        train([student], 40, TrainingConfig(**BRIEF, optimizer=optimizer), teacher=None, precision="fp32")
        return module

    assert same_bits(weights(trained(name)), weights(trained("sgd")))


def test_a_run_with_no_difference_is_that_of_sgd() -> None:
    def trained(**options: Any) -> nn.Module:
        student = Student("kd", network(), DistillationLoss.from_recipe("kd"))
        train([student], 40, TrainingConfig(**BRIEF, **options), precision="fp32")
        return student.network

    sgd = trained()
    for one, other in zip(
        trained(optimizer="dot", optimizer_options={"delta": 0.0}).parameters(), sgd.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert not same_bits(weights(trained(optimizer="dot")), weights(sgd))


@pytest.mark.parametrize(
    ("recipe", "optimizer"), [("kd", "dot"), ("fitnet", "dot"), ("ctkd", "dot"), ("deepkd", "deepkd")]
)
@pytest.mark.parametrize("steps", [1, 4, 6])
def test_it_resumes_in_the_same_bits(recipe: str, optimizer: str, steps: int) -> None:
    config = TrainingConfig(**BRIEF, optimizer=optimizer)
    first, late = (Student("one", network(seed), DistillationLoss.from_recipe(recipe)) for seed in (0, 3))
    kept = StateAfter(steps)
    train([first], 40, config, callbacks=[kept])
    train([late], 40, config, state=kept.state())
    assert same_bits(weights(first.network), weights(late.network))
    assert same_bits(weights(first.loss), weights(late.loss))


def test_from_the_command_lines_settings_and_a_folder(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {"epochs": 2, "batch_size": 32, "optimizer": "dot", "optimizer_options": {"delta": 0.05}, "ema": 0.9}
    config = resolve({**SMALL_RUN, "recipe": "kd", "teacher": str(teacher), "training": training})
    with monkeypatch.context() as patch:
        patch.setattr(single_module, "CheckpointCallback", StopsAfter)
        with pytest.raises(Interrupted):
            run(config, tmp_path / "stopped")
    resume(tmp_path / "stopped")
    run(config, tmp_path / "whole")
    assert epochs(tmp_path / "stopped") == epochs(tmp_path / "whole")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    training = {"epochs": 10, "batch_size": 16}
    folder = tmp_path_factory.mktemp("separate") / "teacher"
    return run(resolve({**SMALL_RUN, "student": "convnet4", "seed": 1, "training": training}), folder).folder


def test_a_term_without_a_momentum_is_refused_before_the_first_step() -> None:
    loss = DistillationLoss(terms={"ce": LossTerm(CrossEntropy()), "kl": LossTerm(KL())})
    with pytest.raises(
        InputError, match="optimizer deepkd: keeps gradients apart by task, target, non_target, and term 'kl'"
    ):
        train([Student("one", network(), loss)], 40, TrainingConfig(**BRIEF, optimizer="deepkd"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 2}, "optimizer dot: keeps several gradients a step, and accumulate is of one"),
        ({"clip_norm": 1.0}, "optimizer dot: keeps several gradients a step, and clip_norm is of one"),
        ({"optimizer_options": {"detla": 0.1}}, "option of optimizer dot 'detla': did you mean 'delta'"),
    ],
)
def test_settings_that_do_not_go_with_it(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingConfig(optimizer="dot", **options)


def test_a_difference_that_is_too_large_is_refused() -> None:
    with pytest.raises(InputError, match=r"optimizer dot: a momentum of 1\.05 \(momentum 0\.9\)"):
        TrainingConfig(optimizer="dot", optimizer_options={"delta": 0.15}).build_optimizer([network()])


def test_compiling_is_refused_and_left_out_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainingConfig(**BRIEF, optimizer="dot")
    student = Student("kd", network(), DistillationLoss.from_recipe("kd"))
    with pytest.raises(InputError, match="compile = always: optimizer dot takes several backward passes"):
        train([student], 40, config, compile="always")
    monkeypatch.setattr("preceptor.training.trainer.compiling_pays", lambda *_, **__: True)
    train([student], 40, config, compile="auto")


def test_a_closure_is_refused() -> None:
    one = parameter()
    with pytest.raises(InputError, match="takes no closure"):
        DOT([one]).step(lambda: 0.0)
