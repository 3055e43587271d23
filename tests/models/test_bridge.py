import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from preceptor.errors import InputError, MachineError
from preceptor.models import build_model


class FakeLibrary:
    """Stands for timm or torchvision.models: records what it is asked to create."""

    def __init__(self, *names):
        self.names = list(names)
        self.created = []

    def is_model(self, name):
        return name in self.names

    def list_models(self, module=None):
        # Without a module torchvision lists detection models as well.
        return self.names if module in (None, self) else []

    def create_model(self, name, **options):
        self.created.append((name, options))
        return torch.nn.Identity()

    get_model = create_model


@pytest.fixture
def timm(monkeypatch):
    fake = FakeLibrary("resnet18", "resnet50", "vit_tiny_patch16_224")
    monkeypatch.setitem(sys.modules, "timm", fake)
    return fake


@pytest.fixture
def torchvision(monkeypatch):
    fake = FakeLibrary("resnet18", "googlenet", "mobilenet_v3_small")
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=fake))
    return fake


def test_timm_is_called_for_random_weights_of_our_shape(timm):
    build_model("timm:resnet50", channels=1, classes=7)
    assert timm.created == [("resnet50", {"pretrained": False, "num_classes": 7, "in_chans": 1})]


def test_torchvision_is_called_for_random_weights_of_our_shape(torchvision):
    build_model("torchvision:resnet18", channels=3, classes=7)
    assert torchvision.created == [("resnet18", {"weights": None, "num_classes": 7})]


def test_torchvision_models_return_one_tensor_in_training_too(torchvision):
    build_model("torchvision:googlenet", channels=3, classes=7)
    ((_, options),) = torchvision.created
    assert options["aux_logits"] is False


def test_grey_images_do_not_go_into_torchvision(torchvision):
    with pytest.raises(InputError, match="takes images of 3 channels, these have 1: use a model of timm"):
        build_model("torchvision:resnet18", channels=1, classes=7)
    assert torchvision.created == []


def test_a_name_of_pretrained_weights_is_refused_rather_than_started_at_random(timm):
    with pytest.raises(InputError, match=r"'a1_in1k' names pretrained weights: give --pretrained .* timm:resnet18 for"):
        build_model("timm:resnet18.a1_in1k", channels=3, classes=7)
    assert timm.created == []


@pytest.mark.usefixtures("timm", "torchvision")
@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_an_unknown_model_is_offered_the_nearest(library):
    with pytest.raises(InputError, match=f"unknown model '{library}:resnt18': did you mean resnet18"):
        build_model(f"{library}:resnt18", channels=3, classes=7)


@pytest.mark.usefixtures("timm")
def test_the_error_for_a_name_like_no_other_says_where_to_look():
    with pytest.raises(InputError, match=r"timm\.list_models\(\) lists them"):
        build_model("timm:qqqqqqqq", channels=3, classes=7)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_missing_library_names_the_extra(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        MachineError, match=rf"needs {library}, which is not installed: pip install 'preceptor\[vision\]'"
    ):
        build_model(f"{library}:resnet18", channels=3, classes=7)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_an_unloadable_library_names_the_matching_build(library, monkeypatch, tmp_path):
    (tmp_path / f"{library}.py").write_text("raise RuntimeError('operator torchvision::nms does not exist\\nmore')")
    monkeypatch.delitem(sys.modules, library, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MachineError) as caught:
        build_model(f"{library}:resnet18", channels=3, classes=7)
    message = str(caught.value)
    assert "\n" not in message
    assert f"{library}, which is installed but cannot be imported (operator torchvision::nms does not exist)" in message
    assert f"torchvision build that matches torch {torch.__version__}" in message


@pytest.mark.usefixtures("torchvision_ops")
@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_the_real_library(library):
    network = build_model(f"{library}:resnet18", channels=3, classes=7).eval()
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 7)


def test_importing_and_listing_models_loads_nothing_heavy():
    code = (
        "import sys, preceptor.metrics, preceptor.models as models; models.known_models(); "
        "models.build_model('convnet2', channels=1, classes=2); "
        "print(sorted({name.split('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'torch'" in result.stdout
    for heavy in ("timm", "torchvision", "sklearn", "scipy", "vl_convert", "PIL"):
        assert f"'{heavy}'" not in result.stdout
