"""Several processes train what one would: the same losses and, but for rounding, the same weights."""

import json
import socket
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from experiments.bench.parity import furthest, in_processes, trained
from preceptor.data import CropFlip
from preceptor.errors import InputError, MachineError
from preceptor.teachers import NetworkTeacher
from preceptor.training import TrainingConfig, TrainingData, steps_in_epoch
from preceptor.training import distributed as module
from preceptor.training.batches import own_part
from preceptor.training.mixing import partners
from tests.training import distributed_worker
from tests.training_helpers import data_of, digits, make_student, network, trainer_of

ALIKE = {"at": 1e-5, "crd-kd": 1e-5}
"""In float64, else 1e-11; a teacher's features are fp32, and may round otherwise. One sample too many or too few in a
count would show in the second digit."""

CASES = [
    *((recipe, norm, "float64") for recipe in ("kd", "lr-ds", "cmkd", "dist", "at") for norm in ("batch", "group")),
    *((recipe, "batch", "float64") for recipe in ("self-adaptive", "precise-abstain-b", "crd-kd", "ctkd")),
    ("kd", "batch", "float64", "accumulate=2", "clip_norm=0.1", "ema=0.9"),
    ("kd", "batch", "float64", "batch_size=37"),  # one sample is left over, which joins the batch before it
]


def start(count: int, *command: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", "-m", *command]
    return subprocess.run(launcher, check=False, text=True, capture_output=True, timeout=300)


@pytest.fixture(scope="module", params=[2, 4])
def seen(request, tmp_path_factory) -> list[dict]:
    out = tmp_path_factory.mktemp("seen")
    done = start(request.param, "tests.training.distributed_worker", str(out))
    assert done.returncode == 0, done.stderr
    return [
        {**json.loads((out / f"seen-{request.param}-{number}.json").read_text()), "out": out}
        for number in range(request.param)
    ]


def test_every_process_has_the_rows_of_all_in_their_order(seen):
    size = distributed_worker.SIZE
    for one in seen:
        assert one["gathered"]["rows"] == torch.arange(2.0 * size).reshape(size, 2).tolist()
        assert one["gathered"]["integers"] == list(range(size))


def test_the_gradient_at_own_rows_is_that_of_the_whole_loss_times_the_processes(seen):
    rows = torch.arange(2.0 * distributed_worker.SIZE).reshape(-1, 2)
    whole = 2 * rows * torch.arange(1.0, len(rows) + 1)[:, None]
    for one in seen:
        assert one["gathered"]["gradient"] == (len(seen) * whole[one["number"] :: len(seen)]).tolist()


def test_what_processes_tell_each_other(seen):
    for number, one in enumerate(seen):
        assert (one["number"], one["count"]) == (number, len(seen))
        assert one["agreed"] == [True, False, True]
        assert one["from_first"] == "of 0"
        assert one["average"] == [(len(seen) - 1) / 2] * 2
        assert one["after"] == [0, 1, [number, len(seen)]]


def test_a_slow_process_is_named_by_the_first(seen):
    slow, alike = seen[0]["slow"]
    assert slow.startswith(
        f"process 1 of {len(seen)}, on {socket.gethostname()[:64]}, holds the others up: it worked 30 s"
    )
    assert alike is None
    assert [one["slow"] for one in seen[1:]] == [[None, None]] * (len(seen) - 1)


@pytest.mark.nightly
def test_a_slow_process_is_named_while_all_train():
    done = start(2, "tests.training.slow_worker")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("process 1 of 2") == 1
    assert "holds the others up" in done.stderr


def test_alone_a_process_is_one_of_one(seen):
    for one in seen:
        assert one["alone"] == [0, 1, list(range(distributed_worker.SIZE))]


def test_batch_norms_take_the_statistics_of_all_rows(seen):
    for number, options in enumerate(distributed_worker.OPTIONS):
        near: dict[str, float] = {"rtol": 0.02, "atol": 0.02} if "half" in options else {"rtol": 1e-7, "atol": 1e-7}
        expected = distributed_worker.normalized(slice(None), **options)
        parts = [torch.load(one["out"] / f"norms-{len(seen)}-{one['number']}.pt")[number] for one in seen]
        for layer, whole in enumerate(expected):
            for place, name in enumerate(("outputs", "gradient", "mean", "variance", "weight", "bias")[: len(whole)]):
                own = [part[layer][place] for part in parts]
                if name in ("outputs", "gradient"):
                    for process, rows in enumerate(own):
                        torch.testing.assert_close(rows, whole[place][process :: len(seen)], **near)
                elif name in ("weight", "bias"):  # each has the part of its rows; DistributedDataParallel adds them up
                    torch.testing.assert_close(torch.stack(own).sum(0), whole[place], **near)
                else:
                    for statistic in own:
                        torch.testing.assert_close(statistic, whole[place], **near)


@pytest.fixture(scope="module")
def alone() -> list:
    return [trained(*case[:3], **_settings(case)) for case in CASES]


def _settings(case: tuple[str, ...]) -> dict[str, float]:
    return {name: float(value) for name, value in (setting.split("=") for setting in case[3:])}


def test_divided_students_learn_what_whole_ones_do(tmp_path):
    cases = [("dist", "batch", "float64"), ("at", "group", "float64"), ("ctkd", "batch", "float64", "accumulate=2")]
    together = in_processes(2, [(*case, "shard=1") for case in cases], tmp_path)
    for case, several in zip(cases, together, strict=True):
        for before, after in zip(trained(*case[:3], **_settings(case)), several, strict=True):
            assert furthest(before, after) < ALIKE.get(case[0], 1e-11), case


@pytest.mark.parametrize(("count", "every"), [(2, 1), (4, 5)])
def test_weights_losses_and_state_are_those_of_one_process(tmp_path, alone, count, every):
    cases = CASES[::every]
    together = in_processes(count, cases, tmp_path)
    for case, one, several in zip(cases, alone[::every], together, strict=True):
        for before, after in zip(one, several, strict=True):
            assert before.keys() == after.keys()
            assert furthest(before, after) < ALIKE.get(case[0], 1e-11), case


@pytest.fixture
def process_of(monkeypatch):
    """Be one process of several, as far as anything asks."""

    def become(number: int, count: int) -> None:
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_rank", lambda: number)
        monkeypatch.setattr(dist, "get_world_size", lambda: count)

    return become


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize(("samples", "batch_size"), [(75, 16), (64, 16), (65, 16), (66, 16), (5, 8)])
def test_every_sample_once_an_epoch(process_of, samples, batch_size, count):
    process_of(0, count)
    data = TrainingData(torch.zeros(samples, 1), torch.zeros(samples).long(), augmentation=None)
    plan = data.plan(batch_size, 0, 3)
    assert len(plan.bounds) == steps_in_epoch(samples, batch_size)
    shown, sizes = [], []
    for number in range(count):
        process_of(number, count)
        own = own_part(plan)
        shown += own.index.tolist()
        sizes.append([end - start for start, end in own.bounds])
        assert len(own.bounds) == len(plan.bounds)
    assert sorted(shown) == list(range(samples))
    assert min(min(one) for one in sizes) >= 1
    assert max(max(step) - min(step) for step in zip(*sizes, strict=True)) <= 1


@pytest.mark.parametrize("count", [2, 3])
def test_batches_of_a_process_hold_its_rows_and_the_labels_of_all(process_of, count):
    images = torch.arange(20 * 3 * 8 * 8).reshape(20, 3, 8, 8).to(torch.uint8)
    data = TrainingData(images, torch.arange(20), augmentation=CropFlip(1, flip=True))
    plan = data.plan(8, 0, 0)
    whole = list(data.batches(plan))
    for number in range(count):
        process_of(number, count)
        for own, batch in zip(data.batches(plan), whole, strict=True):
            rows = slice(number, None, count)
            assert torch.equal(own.inputs, batch.inputs[rows])
            assert torch.equal(own.own_index, batch.own_index[rows])
            assert torch.equal(own.view, batch.view[rows])
            assert torch.equal(own.label, batch.label)
            assert torch.equal(own.index, batch.index)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_inputs_are_mixed_with_others_of_their_process(process_of, count):
    process_of(0, count)
    words = torch.randperm(11, generator=torch.Generator().manual_seed(3)).numpy().astype("uint64")
    partner = partners(words)
    assert sorted(partner.tolist()) == list(range(11))
    assert all(row % count == other % count for row, other in enumerate(partner))


def test_fewer_samples_a_batch_than_processes_are_refused(process_of):
    process_of(0, 3)
    with pytest.raises(InputError, match="batch_size = 2, for 3 processes"):
        trainer_of([make_student()], data_of(), TrainingConfig(epochs=1, batch_size=2))


def _teacher() -> NetworkTeacher:
    return NetworkTeacher(network(1), digits().normalization)


def test_what_needs_a_student_whole(process_of):
    process_of(0, 2)
    with pytest.raises(InputError, match="ema keeps a second copy"):
        trainer_of([make_student()], data_of(), TrainingConfig(epochs=1, ema=0.9), shard=True)
    with pytest.raises(InputError, match="clip_norm with a loss that has parameters"):
        trainer_of(
            [make_student("ctkd")], data_of(), TrainingConfig(epochs=1, clip_norm=1.0), teacher=_teacher(), shard=True
        )


def test_students_of_several_processes_are_not_compiled(process_of):
    process_of(0, 3)
    with pytest.raises(InputError, match="compile = always: several processes"):
        trainer_of([make_student()], data_of(), compile="always")


def test_more_processes_than_gpus(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(name, "3")
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with (
        pytest.raises(MachineError, match=r"process 3 of 3 is number 4 on .* which has 2 GPUs"),
        module.process_group(torch.device("cuda")),
    ):
        pass


def _raise_within_group(error: Exception) -> None:
    with module.process_group(torch.device("cpu")):
        raise error


def test_another_error_of_a_process_is_its_own(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "2")
    monkeypatch.setattr(module, "rendezvous", lambda address: iter([(dist.HashStore(), 2, 2)]))
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **options: None)
    with pytest.raises(RuntimeError, match="mine"):
        _raise_within_group(RuntimeError("mine"))
    lost = RuntimeError("[tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:31012")
    with pytest.raises(MachineError, match="another process of the group has ended"):
        _raise_within_group(lost)


def test_a_group_that_exists_is_used_and_left(monkeypatch, process_of):
    process_of(1, 2)
    monkeypatch.setattr(module, "launched", lambda: (1, 2))
    with module.process_group(torch.device("cpu")):
        assert module.rank() == 1
    assert module.world_size() == 2


@pytest.mark.parametrize("optimizer", ["dot", "deepkd"])
def test_optimizers_of_several_gradients_train_in_one_process(process_of, optimizer):
    process_of(0, 2)
    with pytest.raises(InputError, match=f"optimizer = {optimizer}: takes several gradients"):
        trainer_of([make_student()], data_of(), TrainingConfig(epochs=1, optimizer=optimizer))
