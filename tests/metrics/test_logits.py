import pytest
import torch
from torch import Tensor, nn

from preceptor.data import Normalization
from preceptor.metrics.logits import network_logits
from preceptor.models import build_model

NORMALIZE = Normalization((0.4,), (0.3,))
IMAGES = torch.randint(0, 256, (11, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    """With batch statistics that are no longer the initial ones, so that the mode shows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model("convnet4", channels=1, classes=5)
    model(NORMALIZE(IMAGES))
    return model


def expected(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return torch.cat([model.eval()(NORMALIZE(image[None])) for image in IMAGES])


@pytest.mark.parametrize("batch_size", [1, 4, 11, 512])
def test_logits_are_those_of_each_image_by_itself(batch_size):
    model = network()
    torch.testing.assert_close(network_logits(model, NORMALIZE, IMAGES, batch_size=batch_size), expected(model))


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_in_its_mode_and_unchanged(training):
    model = network().train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    logits = network_logits(model, NORMALIZE, IMAGES)
    assert model.training is training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not logits.requires_grad


def test_it_is_left_in_its_mode_even_when_it_fails():
    model = network().train()
    with pytest.raises(RuntimeError):
        network_logits(model, Normalization((0.4,) * 3, (0.3,) * 3), IMAGES.expand(-1, 3, -1, -1))
    assert model.training


def test_logits_are_float32():
    model = network().double()
    model.register_forward_pre_hook(lambda module, given: (given[0].double(),))
    assert network_logits(model, NORMALIZE, IMAGES).dtype == torch.float32
