import pytest
import torch

from preceptor.errors import InputError
from preceptor.models.convnet import ConvNet


@pytest.mark.parametrize(("width", "channels", "classes"), [(8, 1, 10), (4, 3, 2), (1, 2, 100)])
def test_as_many_parameters_as_counted_by_hand(width, channels, classes):
    convolutions = 9 * (channels * width + 2 * width**2 + 8 * width**2)
    norms = 2 * (width + 2 * width + 4 * width)
    head = 4 * width * classes + classes
    network = ConvNet(width, channels, classes)
    assert sum(weight.numel() for weight in network.parameters()) == convolutions + norms + head


def test_convnet8_is_small():
    assert 5_000 <= sum(weight.numel() for weight in ConvNet(8).parameters()) <= 20_000


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (28, 28), (33, 9)])
def test_images_of_any_size(size):
    network = ConvNet(4, channels=2, classes=6).eval()
    images = torch.randn(3, 2, *size)
    assert network.features(images).shape == (3, 16)
    assert network(images).shape == (3, 6)
    assert torch.equal(network(images), network.head(network.features(images)))


def test_learns_digits():
    from sklearn.datasets import load_digits

    pixels, label = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
    label = torch.tensor(label)
    torch.manual_seed(0)
    network = ConvNet(8)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(2):
        for batch in torch.randperm(1000).split(25):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images[batch]), label[batch]).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        right = network(images[1000:]).argmax(1) == label[1000:]
    assert right.float().mean() > 0.75


def test_a_width_below_one_is_refused():
    with pytest.raises(InputError, match="width is 0"):
        ConvNet(0)
