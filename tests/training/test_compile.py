import warnings

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from preceptor.errors import MachineError
from preceptor.training import TrainingConfig, resolve_precision
from preceptor.training import compile as compile_module
from preceptor.training.compile import (
    CompiledForBatches,
    compiling_pays,
    forward_flops,
)
from tests.training_helpers import BRIEF, data_of, digits, make_student, network, same_bits, train, trainer_of, weights

CPU = torch.device("cpu")


def test_auto_is_bf16_where_there_are_units_for_it(bf16_units):
    assert resolve_precision("auto", CPU) == ("bf16" if bf16_units else "fp32")
    assert resolve_precision("fp32", CPU) == "fp32"
    assert resolve_precision("bf16", CPU) == "bf16"
    grouped = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, groups=4))
    assert resolve_precision("auto", CPU, grouped) == "fp32"
    assert resolve_precision("bf16", CPU, grouped) == "bf16"
    plain = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3))
    assert resolve_precision("auto", CPU, plain) == resolve_precision("auto", CPU)


def test_the_operations_of_a_forward_pass_counted_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Flatten(), nn.Linear(5 * 64, 7))
    per_image = 2 * (64 * 5 * 27) + 2 * (5 * 64 * 7)  # a multiplication and an addition each
    assert forward_flops(net, torch.zeros(6, 3, 8, 8)) == 6 * per_image


def test_counting_changes_nothing():
    net = network()
    before, seen = weights(net), []
    net.train().register_forward_hook(lambda *_: seen.append(1))
    forward_flops(net, digits().normalization(digits().train.images[:4]))
    assert same_bits(before, weights(net))
    assert net.training
    assert seen == []


def test_compiling_pays_in_long_runs_only(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    # resnet32x4 takes 2.17 GFLOP an image forward, resnet8x4 1.06 in training: it depends on the length alone.
    epoch = 45_000 * 2.17e9
    assert not compiling_pays("teacher", flops=epoch / 2, steps=352, device=CPU)
    assert compiling_pays("teacher", flops=3 * epoch, steps=2_110, device=CPU)
    assert not compiling_pays("student", flops=5 * 45_000 * 1.06e9, steps=3_515, device=CPU)
    assert compiling_pays("student", flops=240 * 45_000 * 1.06e9, steps=168_720, device=CPU)


def test_small_steps_on_a_gpu_take_time_too_and_other_devices_are_not_known():
    gpu = torch.device("cuda")
    assert compiling_pays("student", flops=1.0, steps=200_000, device=gpu)
    assert not compiling_pays("student", flops=1.0, steps=10_000, device=gpu)
    assert not compiling_pays("student", flops=1e30, steps=10**9, device=torch.device("meta"))


def test_a_short_run_compiles_nothing_by_default():
    for choice, compiles in (("auto", False), ("never", False), ("always", True)):
        (student,) = trainer_of([make_student("none")], data_of(32), BRIEF, compile=choice).students
        assert isinstance(student.forward, CompiledForBatches) == compiles


def test_graphs_are_for_cuda():
    with pytest.raises(MachineError, match="compile = graph: cpu has no graphs: use auto"):
        train([make_student("none")], compile="graph")


@pytest.fixture
def counter(monkeypatch) -> CompileCounter:
    """Stands in for the code generator, and counts the graphs it is handed."""
    torch._dynamo.reset()
    counting = CompileCounter()
    monkeypatch.setattr(compile_module, "BACKEND", counting)
    return counting


def test_one_graph_a_kind_of_student_and_none_after_the_first_step(counter):
    """50 images in batches of 16 leave 2 for the last one, which goes without; who may abstain has another output."""
    students = [make_student("kd"), make_student("lr"), make_student("precise-abstain-b")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(students, images=50, training=TrainingConfig(epochs=3, batch_size=16), compile="always")
    assert counter.frame_count == 2


def test_compiled_by_a_backend_that_changes_nothing_it_learns_the_same(counter):
    plain, compiled = make_student("kd"), make_student("kd")
    train([plain], compile="never")
    train([compiled], compile="always")
    assert counter.frame_count == 1
    assert same_bits(weights(plain.network), weights(compiled.network))


def test_what_cannot_be_compiled_is_trained_uncompiled_and_says_so(monkeypatch):
    def broken(*_):
        raise RuntimeError("no compiler\nat all")

    torch._dynamo.reset()
    monkeypatch.setattr(compile_module, "BACKEND", broken)
    plain, unlucky = make_student("kd"), make_student("kd")
    train([plain], compile="never")
    with pytest.warns(UserWarning, match=r"student not compiled \(.*\): it is trained uncompiled") as warned:
        train([unlucky], compile="always")
    assert len(warned) == 1
    assert same_bits(weights(plain.network), weights(unlucky.network))


def test_an_error_of_the_network_itself_is_raised(counter):
    class Broken(nn.Module):
        def forward(self, images):
            raise ValueError("my own")

    runner = CompiledForBatches(Broken(), 2)
    with pytest.warns(UserWarning, match="not compiled"), pytest.raises(ValueError, match="my own"):
        runner(torch.zeros(2, 1, 8, 8))


def test_by_the_real_compiler_the_first_step_differs_by_rounding_alone():
    torch._dynamo.reset()
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    images = digits().normalization(digits().train.images[:16])
    runner = CompiledForBatches(student, 16)
    torch.testing.assert_close(runner(images), student(images))
    torch.testing.assert_close(runner(images[:3]), student(images[:3]))
