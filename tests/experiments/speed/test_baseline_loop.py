import pytest
import torch
from torch import Tensor, nn

from experiments.speed.baseline_loop import (
    LABEL_WEIGHT,
    TEACHER_WEIGHT,
    TEMPERATURE,
    AugmentedImages,
    BaselineLoop,
    distillation_loss,
    top_accuracies,
)
from experiments.speed.cases import AUGMENTATION, RandomData, random_data
from preceptor.data import Normalization
from preceptor.loss import DistillationLoss
from preceptor.models import seeded_model
from preceptor.recipes import recipe
from tests.experiments.speed.tiny import CASE, CPU, TINY


def network(seed: int) -> nn.Module:
    return seeded_model("resnet8", channels=TINY.channels, classes=TINY.classes, seed=seed)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_augmented_image_is_one_of_the_views(channels):
    data = random_data(CASE)
    train = data.train.__class__(data.train.images.repeat(1, channels, 1, 1), data.train.labels)
    data = RandomData(train, data.index)
    normalize = Normalization((0.4,) * channels, (0.3,) * channels)
    augmented = AugmentedImages(data, normalize, AUGMENTATION)
    position = int(data.index[1])
    views = normalize(
        AUGMENTATION.apply(
            train.images[position].expand(AUGMENTATION.count, -1, -1, -1), torch.arange(AUGMENTATION.count)
        )
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        met = set()
        for _ in range(60):
            image, label = augmented[1]
            assert label == int(train.labels[position])
            same = (views - image).abs().amax(dim=(1, 2, 3)) < 1e-5
            assert int(same.sum()) == 1
            met.add(int(same.nonzero()))
    assert len(met) > 40  # drawn at random: 60 of 162
    assert {view // 81 for view in met} == {0, 1}  # flipped and not


def test_its_loss_is_that_of_our_recipe():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(6, 5, generator=generator) for _ in range(2))
    label = torch.randint(5, (6,), generator=generator)
    terms = DistillationLoss(**recipe("kd"))(student, teacher, label)
    assert torch.allclose(TEACHER_WEIGHT * distillation_loss(student, teacher, TEMPERATURE), terms.losses["kl"])
    cross_entropy = LABEL_WEIGHT * nn.functional.cross_entropy(student, label)
    assert torch.allclose(cross_entropy, terms.losses["ce"])


def test_top_accuracies_by_hand():
    logits = torch.tensor([[5.0, 4.0, 3.0], [1.0, 2.0, 3.0], [0.0, 9.0, 1.0], [2.0, 1.0, 0.0]])
    label = torch.tensor([0, 1, 1, 2])
    assert top_accuracies(logits, label, ranks=(1, 2)) == {"top-1": 50.0, "top-2": 75.0}


class Counted(nn.Module):
    """Counts its forward passes."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.modes = inner, list[tuple[bool, bool, tuple[int, ...]]]()

    def forward(self, images: Tensor) -> Tensor:
        self.modes.append((self.training, torch.is_grad_enabled(), tuple(images.stride())))
        return self.inner(images)


def test_a_round_is_the_cases_batches_and_one_before_them():
    teacher, student = Counted(network(0)), Counted(network(1))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    weights = [parameter.clone() for parameter in student.parameters()]
    loop = BaselineLoop(CASE, random_data(CASE), teacher, student, CPU, workers=0)
    assert loop.round() > 0
    assert len(teacher.modes) == len(student.modes) == CASE.batches + 1
    loop.round()
    loop.close()
    assert len(student.modes) == 2 * (CASE.batches + 1)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not any(map(torch.equal, weights, student.parameters()))
    contiguous = (64, 64, 8, 1)
    assert set(teacher.modes) == {(False, False, contiguous)}
    assert set(student.modes) == {(True, True, contiguous)}


def test_loss_and_accuracies_are_read_in_every_step(monkeypatch):
    loop = BaselineLoop(CASE, random_data(CASE), network(0), network(1), CPU, workers=0)
    read = []
    monkeypatch.setattr(Tensor, "item", lambda self: read.append(self.detach().clone()) or float(self.detach()))
    loop.round()
    assert len(read) >= 3 * (CASE.batches + 1)
    assert loop.meters.keys() == {"loss", "top-1", "top-5"}
    assert loop.meters["loss"] in [float(value) for value in read]
    assert loop.meters["top-5"] == 100  # of three classes
