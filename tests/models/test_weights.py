from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from preceptor.errors import InputError
from preceptor.models import seeded_model
from preceptor.models.weights import load_weights, read_state_dict


def resnet(classes: int = 10, seed: int = 0) -> nn.Module:
    return seeded_model("resnet8", channels=3, classes=classes, seed=seed)


def same(first: nn.Module, second: nn.Module) -> list[str]:
    """The names of tensors that are equal in both."""
    theirs = second.state_dict()
    return [
        name
        for name, tensor in first.state_dict().items()
        if tensor.shape == theirs[name].shape and torch.equal(tensor, theirs[name])
    ]


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module.", "model."])
@pytest.mark.parametrize("nesting", [(), ("state_dict",), ("model",), ("model", "state_dict")])
def test_a_training_programs_file_is_unwrapped(tmp_path: Path, prefix: str, nesting: tuple[str, ...]) -> None:
    source, path = resnet(seed=1), tmp_path / "weights.pth"
    content: object = {f"{prefix}{name}": tensor for name, tensor in source.state_dict().items()}
    for key in nesting:
        content = {key: content, "epoch": 7}
    torch.save(content, path)
    network = resnet(seed=2)
    report = load_weights(network, path, whole=True)
    assert len(same(network, source)) == len(source.state_dict())
    assert report.is_whole
    assert report.prefix == prefix
    counted = [name for name in source.state_dict() if not name.endswith("num_batches_tracked")]
    assert report.loaded == report.tensors == len(counted)


def test_a_head_of_other_classes_is_left_as_built_and_named(tmp_path: Path) -> None:
    source = resnet(classes=7, seed=1)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    network, before = resnet(seed=2), resnet(seed=2)
    report = load_weights(network, tmp_path / "w.safetensors")
    head = list(network.state_dict())[-2:]
    assert [name for name in head if name in same(network, before)] == head
    assert {line.split(" ")[0] for line in report.reshaped} == set(head)
    assert "(7, " in report.line()
    assert report.lacks(head[0])
    assert set(network.state_dict()) - set(head) <= set(same_names(network, source))


def same_names(network: nn.Module, source: nn.Module) -> list[str]:
    theirs = source.state_dict()
    mine = network.state_dict()
    return [name for name in mine if mine[name].shape == theirs[name].shape and torch.equal(mine[name], theirs[name])]


def test_a_deeper_network_of_the_same_names_does_not_pass_as_whole(tmp_path: Path) -> None:
    """Every tensor of the small one has its namesake in the large one, of the same shape."""
    large = seeded_model("resnet14", channels=3, classes=10, seed=1)
    torch.save(large.state_dict(), tmp_path / "large.pt")
    with pytest.raises(InputError, match=r"does not fit CifarResNet whole: loaded .* unused: "):
        load_weights(resnet(), tmp_path / "large.pt", whole=True)
    assert load_weights(resnet(), tmp_path / "large.pt").unused


def test_nothing_matched_shows_both_sides(tmp_path: Path) -> None:
    torch.save({"encoder.a": torch.zeros(3), "decoder.b": torch.zeros(4)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"fits no tensor of CifarResNet: the file has decoder\.b, encoder\.a"):
        load_weights(resnet(), tmp_path / "w.pt")


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    source = resnet(seed=1)
    torch.save(
        {name: one.half() if one.is_floating_point() else one for name, one in source.state_dict().items()},
        tmp_path / "w.pt",
    )
    network = resnet(seed=2)
    assert load_weights(network, tmp_path / "w.pt", whole=True).is_whole
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(network.eval()(images), source.eval()(images), atol=0.05, rtol=0.05)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path("/tmp/preceptor-was-here").touch, ())


@pytest.mark.parametrize("content", [Evil(), {"state_dict": {"a": Evil()}}])
def test_no_code_in_a_file_of_weights_runs(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "evil.pt")
    with pytest.raises(InputError, match="weights_only=True"):
        read_state_dict(tmp_path / "evil.pt")
    assert not Path("/tmp/preceptor-was-here").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x80\x02 not a pickle", b"text"])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"w\.pt: "):
        read_state_dict(tmp_path / "w.pt")


def test_no_tensors_and_no_file(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="holds no tensors by name"):
        read_state_dict(tmp_path / "w.pt")
    with pytest.raises(InputError, match="no such file"):
        read_state_dict(tmp_path / "none.pt")
