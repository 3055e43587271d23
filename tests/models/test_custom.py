import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from preceptor.errors import InputError
from preceptor.models import ModelCard, allow_code, build_model, load_student, save_student
from preceptor.models.custom import ALLOWED, code_module

SOURCE = """
from pathlib import Path
from torch import nn
Path(__file__).with_name("imported").touch()

def build(classes, channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 64, classes))

def fixed():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def keywords(**options):
    return build(**options)

class Net(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.head = nn.Linear(64, classes)

def fails(classes):
    raise ValueError("no weights here")

def text():
    return "a network"

number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the user's in the current directory; the path of the file that appears when it is imported."""
    (tmp_path / "my_networks.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setenv(ALLOWED, "")
    yield tmp_path / "imported"
    sys.modules.pop("my_networks", None)


def test_nothing_is_imported_without_leave(module: Path) -> None:
    with pytest.raises(InputError, match="nobody allowed: if you trust it, give --allow-code my_networks"):
        build_model("my_networks:build", channels=1, classes=10)
    allow_code("another")
    allow_code("my_networks.inner")  # the package of an allowed module is not allowed itself
    with pytest.raises(InputError, match="nobody allowed"):
        build_model("my_networks:build", channels=1, classes=10)
    assert not module.exists()
    assert "my_networks" not in sys.modules


def test_a_function_gets_what_it_takes(module: Path) -> None:
    allow_code("my_networks")
    shapes = {
        name: build_model(f"my_networks:{name}", channels=2, classes=7)[1].weight.shape
        for name in ("build", "keywords")
    }
    assert set(shapes.values()) == {(7, 128)}
    assert build_model("my_networks:fixed", channels=2, classes=7)[1].weight.shape == (10, 64)
    assert build_model("my_networks:Net", channels=2, classes=7).head.weight.shape == (7, 64)
    assert module.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_networks:biuld", "module my_networks has no 'biuld': did you mean 'build'"),
        ("my_networks:fails", "fails failed: ValueError: no weights here"),
        ("my_networks:text", "text returned a str; expected an nn.Module"),
        ("my_networks:number", "is a int; expected a function or class"),
        ("nowhere.at_all:build", "module nowhere.at_all cannot be imported .*PYTHONPATH"),
        ("a b:c", "unknown model 'a b:c'"),
        ("timn:resnet18", "did you mean timm:resnet18"),
    ],
)
@pytest.mark.usefixtures("module")
def test_what_is_wrong_is_told(name: str, message: str) -> None:
    for one in ("my_networks", "nowhere.at_all"):
        allow_code(one)
    with pytest.raises(InputError, match=message):
        build_model(name, channels=1, classes=10)


def test_a_strangers_card_imports_nothing(module: Path, tmp_path: Path) -> None:
    allow_code("my_networks")
    card = ModelCard(
        architecture="my_networks:build",
        channels=1,
        classes=10,
        class_names=tuple("0123456789"),
        image_size=(8, 8),
        mean=(0.5,),
        std=(0.5,),
        data="digits",
        preceptor="0",
    )
    network = build_model("my_networks:build", channels=1, classes=10)
    save_student(tmp_path / "run", network, card)
    images = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(load_student(tmp_path / "run")[0](images), network(images))
    del sys.modules["my_networks"]
    module.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ALLOWED, "")
        with pytest.raises(InputError, match=r"student\.json: model 'my_networks:build': .*nobody allowed"):
            load_student(tmp_path / "run")
    assert not module.exists()


@pytest.mark.parametrize("name", ["timm:resnet18", "hf:org/name", "torchvision:x", "C:\\runs", "runs/a:b", ""])
def test_other_names_are_no_code(name: str) -> None:
    assert code_module(name) is None


@pytest.mark.parametrize("name", ["", "a b", "a,b", "../x", "x:y"])
def test_only_a_module_can_be_allowed(name: str) -> None:
    with pytest.raises(InputError, match="expected the name of a module"):
        allow_code(name)
