from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from preceptor.models import seeded_model
from preceptor.teachers import optimize
from preceptor.teachers.optimize import bf16_unsupported_reason, optimize_for_inference
from tests.training_helpers import same_bits, weights

CPU = torch.device("cpu")


def lived(network: nn.Module) -> nn.Module:
    """With running statistics and affine maps unlike those of a new network."""
    draw = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.running_mean, module.bias):
                if tensor is not None:
                    tensor.data.normal_(0, 0.3, generator=draw)
            for tensor in (module.running_var, module.weight):
                if tensor is not None:
                    tensor.data.uniform_(0.5, 2, generator=draw)
    return network


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def outputs_of(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return network(inputs)


def difference(first: Tensor, second: Tensor) -> float:
    return float((first - second).norm() / second.norm())


class Written(nn.Module):
    """Layers by name, and what is done with them."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.written = forward

    def forward(self, inputs: Tensor) -> Tensor:
        return self.written(self, inputs)


def in_a_row(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def fast_and_same(network: nn.Module, inputs: Tensor, folded: int, kept: int) -> optimize.OptimizationReport:
    quick, report = optimize_for_inference(network, CPU, bf16=False)
    assert difference(outputs_of(quick, inputs), outputs_of(deepcopy(network).eval(), inputs)) < 1e-5
    assert (report.folded, report.kept) == (folded, kept)
    return report


@pytest.mark.parametrize(
    ("name", "side", "folded"),
    [("resnet8", 16, 9), ("resnet8x4", 8, 10), ("convnet8", 8, 3), ("alexnet", 16, 0), ("imagenet-resnet18", 8, 20)],
)
def test_folded_says_what_unfolded_says(name, side, folded):
    network = lived(seeded_model(name, channels=3, classes=7, seed=1)).train()
    inputs, before = images(3, 3, side, side), weights(network)
    quick, report = optimize_for_inference(network, CPU, bf16=False)
    expected = outputs_of(deepcopy(network).eval(), inputs)
    torch.testing.assert_close(outputs_of(quick, inputs), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert (report.folded, report.kept, report.bf16, report.notes) == (folded, 0, False, ())
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in quick.modules())
    assert same_bits(before, weights(network))


def test_the_network_is_left_alone():
    network = lived(seeded_model("convnet8", channels=1, classes=10, seed=1)).train()
    before, modules = weights(network), list(network.modules())
    quick, _ = optimize_for_inference(network, CPU, bf16=True)
    with torch.no_grad():
        for tensor in quick.state_dict().values():
            tensor.zero_()
    assert same_bits(before, weights(network))
    assert list(network.modules()) == modules
    assert all(module.training for module in modules)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_copy_only_infers():
    network = lived(seeded_model("convnet8", channels=1, classes=10, seed=1)).train()
    quick, _ = optimize_for_inference(network, CPU, bf16=True)
    assert not any(module.training for module in quick.modules())
    assert not any(parameter.requires_grad for parameter in quick.parameters())


def test_what_else_a_network_can_do_it_still_can():
    network = lived(seeded_model("resnet8", channels=1, classes=10, seed=1)).eval()
    quick, _ = optimize_for_inference(network, CPU, bf16=False)
    with torch.no_grad():
        assert difference(quick.features(images(2, 1, 8, 8)), network.features(images(2, 1, 8, 8))) < 1e-5


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"eps": 0.3}])
@pytest.mark.parametrize("bias", [True, False])
def test_every_kind_of_norm_is_folded(options, bias):
    network = in_a_row(nn.Conv2d(3, 6, 3, bias=bias, groups=3, padding=1), nn.BatchNorm2d(6, **options))
    fast_and_same(lived(network), images(2, 3, 5, 5), folded=1, kept=0)


def test_convolutions_of_other_dimensions_are_folded():
    line = lived(in_a_row(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)))
    fast_and_same(line, images(2, 3, 6), folded=1, kept=0)
    solid = lived(in_a_row(nn.Conv3d(3, 4, 2), nn.BatchNorm3d(4)))
    fast_and_same(solid, images(2, 3, 3, 3, 3), folded=1, kept=0)


def test_a_norm_after_a_linear_layer_is_kept_and_right_for_rows_and_sequences():
    network = lived(in_a_row(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU()))
    fast_and_same(network, images(6, 5), folded=0, kept=1)
    fast_and_same(network, images(6, 4, 5), folded=0, kept=1)  # batch norm is along the middle axis here


def branched(network: nn.Module, inputs: Tensor) -> Tensor:
    maps = network.conv(inputs)
    return network.norm(maps) + maps


def twice(network: nn.Module, inputs: Tensor) -> Tensor:
    return network.norm(network.conv(network.conv(inputs)))


def norm_twice(network: nn.Module, inputs: Tensor) -> Tensor:
    return network.norm(network.conv(inputs)) * network.norm(inputs)


def weight_read(network: nn.Module, inputs: Tensor) -> Tensor:
    return network.norm(network.conv(inputs)) * network.conv.weight.sum()


def changed_in_place(network: nn.Module, inputs: Tensor) -> Tensor:
    maps = network.conv(inputs)
    maps.mul_(2)
    return network.norm(maps)


@pytest.mark.parametrize("forward", [branched, twice, norm_twice, weight_read, changed_in_place])
def test_what_others_read_is_left_as_it_is(forward):
    network = Written(forward, conv=nn.Conv2d(3, 3, 1), norm=nn.BatchNorm2d(3))
    report = fast_and_same(lived(network), images(2, 3, 4, 4), folded=0, kept=1)
    assert "1 batch norms kept" in str(report)


def through_another_name(network: nn.Module, inputs: Tensor) -> Tensor:
    return network.norm(network.conv(inputs))


@pytest.mark.parametrize("also", ["conv", "norm"])
def test_a_layer_with_two_names_is_folded_under_both(also):
    layers = {"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4)}
    network = Written(through_another_name, body=in_a_row(layers[also]), **layers)
    fast_and_same(lived(network), images(2, 3, 4, 4), folded=1, kept=0)


class Doubled(nn.BatchNorm2d):
    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * super().forward(inputs)


def hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda module, inputs, out: out + 1)
    return layer


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)),
        (nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)),
        (nn.Conv2d(3, 4, 1), Doubled(4)),
        (weight_norm(nn.Conv2d(3, 4, 1)), nn.BatchNorm2d(4)),
        (hooked(nn.Conv2d(3, 4, 1)), nn.BatchNorm2d(4)),
        (nn.Conv2d(3, 4, 1), hooked(nn.BatchNorm2d(4))),
        (nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
        (nn.ConvTranspose2d(3, 4, 2), nn.BatchNorm2d(4)),
        (nn.Flatten(), nn.Linear(48, 4), nn.BatchNorm1d(4, affine=False)),
    ],
    ids=[
        "relu between",
        "before",
        "own norm",
        "weight norm",
        "hook",
        "norm hook",
        "no statistics",
        "transposed",
        "bare",
    ],
)
def test_what_is_no_plain_pair_is_left_as_it_is(layers):
    fast_and_same(lived(in_a_row(*layers)), images(2, 3, 4, 4), folded=0, kept=1)


def by_light(network: nn.Module, inputs: Tensor) -> Tensor:
    network.seen = inputs
    return network.norm(network.conv(inputs if inputs.mean() > 0 else -inputs))


def test_what_cannot_be_traced_is_left_as_it_is_and_the_reason_noted():
    network = Written(by_light, conv=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4))
    report = fast_and_same(lived(network), images(2, 3, 4, 4), folded=0, kept=1)
    (note,) = report.notes
    assert note.startswith("batch norm not folded: torch.fx cannot trace Written (")
    assert "\n" not in note


def test_a_trace_leaves_nothing_behind():
    quick, _ = optimize_for_inference(
        Written(by_light, conv=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4)), CPU, bf16=False
    )
    assert not hasattr(quick, "seen")


def test_bf16_says_nearly_the_same_in_float32():
    network = lived(seeded_model("resnet8", channels=3, classes=7, seed=1)).eval()
    quick, report = optimize_for_inference(network, CPU, bf16=True)
    inputs = images(8, 3, 16, 16)
    assert report.bf16
    assert outputs_of(quick, inputs).dtype == torch.float32
    assert 1e-5 < difference(outputs_of(quick, inputs), outputs_of(network, inputs)) < 0.02


def test_in_bf16_a_norm_that_is_kept_loses_nothing():
    network = lived(in_a_row(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)))
    quick, _ = optimize_for_inference(network, CPU, bf16=True)
    dtypes = {name: tensor.dtype for name, tensor in quick.state_dict().items() if tensor.is_floating_point()}
    assert {dtype for name, dtype in dtypes.items() if ".0." in name} == {torch.float32}
    assert {dtype for name, dtype in dtypes.items() if ".1." in name} == {torch.bfloat16}


def test_attention_runs_in_bf16():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    quick, _ = optimize_for_inference(layer, CPU, bf16=True)
    inputs = images(2, 5, 8)
    assert difference(outputs_of(quick, inputs), outputs_of(deepcopy(layer).eval(), inputs)) < 0.03


@pytest.mark.parametrize(
    ("found", "has"),
    [
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"amx_bf16": False, "avx512_f": True}, False),
        ({}, False),
    ],
)
def test_bf16_is_used_where_the_cpu_has_units_for_it(monkeypatch, found, has):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    _, report = optimize_for_inference(nn.Linear(2, 2), CPU)
    assert report.bf16 is has
    assert report.notes == (() if has else ("this CPU has no units for bf16 (avx512_bf16 or amx_bf16)",))


@pytest.mark.parametrize(("flags", "has"), [("fpu avx512_bf16 sse", True), ("fpu avx512f sse", False), (None, False)])
def test_an_older_torch_looks_at_the_flags_of_the_kernel(monkeypatch, tmp_path, flags, has):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(optimize, "_CPU_INFO", tmp_path / "cpuinfo")
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
    assert (bf16_unsupported_reason(CPU) is None) is has


@pytest.mark.parametrize("has", [True, False])
def test_bf16_is_used_where_the_gpu_has_units_for_it(monkeypatch, has):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has or including_emulation)
    assert (bf16_unsupported_reason(torch.device("cuda")) is None) is has


def test_of_other_devices_nothing_is_known():
    assert "mps" in str(bf16_unsupported_reason(torch.device("mps")))


@pytest.mark.parametrize("channels_last", [True, False])
def test_weights_lie_in_the_requested_order(channels_last):
    network = in_a_row(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    quick, report = optimize_for_inference(network, CPU, channels_last=channels_last)
    conv = next(module for module in quick.modules() if isinstance(module, nn.Conv2d))
    assert conv.weight.is_contiguous(memory_format=torch.channels_last) is channels_last
    assert report.channels_last is channels_last


@pytest.fixture
def compiled(monkeypatch):
    asked = []

    def stand_in(network: nn.Module, **options: object) -> nn.Module:
        asked.append(options)
        return network

    monkeypatch.setattr(torch, "compile", stand_in)
    return asked


def test_it_is_compiled_with_frozen_weights_on_request(compiled):
    _, plain = optimize_for_inference(nn.Linear(2, 2), CPU)
    assert not plain.compiled
    assert compiled == []
    _, report = optimize_for_inference(nn.Linear(2, 2), CPU, compile=True)
    assert report.compiled
    assert [call["options"] for call in compiled] == [{"freezing": True}]


def test_without_a_compiler_it_is_not_compiled_and_the_reason_noted(compiled, monkeypatch):
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none() -> str:
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    _, report = optimize_for_inference(nn.Linear(2, 2), CPU, compile=True, bf16=False)
    assert (report.compiled, report.notes) == (False, ("not compiled: no C++ compiler found",))
    assert compiled == []


def test_the_report_reads_as_one_line():
    _, report = optimize_for_inference(seeded_model("convnet8", channels=1, classes=10, seed=1), CPU, bf16=True)
    assert str(report).startswith("3 batch norms folded, bf16, channels last")
