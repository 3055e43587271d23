import pytest
import torch
from torch import Tensor, nn

from preceptor.data import Normalization
from preceptor.run.doctor.finding import Finding
from preceptor.run.doctor.normalization import (
    clearly_better,
    common_normalizations,
    normalization_finding,
    unnormalized_finding,
)
from preceptor.teachers import NetworkTeacher

OWN = Normalization((0.3,), (0.2,))
NONE = Normalization((0.0,), (1.0,))


class Halves(nn.Module):
    """Bright images are of class 1, as long as pixels go from 0 to 1."""

    def forward(self, images: Tensor) -> Tensor:
        brightness = images.mean(dim=(1, 2, 3))
        return torch.stack([torch.full_like(brightness, 0.5), brightness], dim=1)


def shades(count: int = 200) -> tuple[Tensor, Tensor]:
    values = torch.linspace(0, 255, count).round().to(torch.uint8)
    return values.reshape(-1, 1, 1, 1), (values > 127).long()


def examined(teacher: NetworkTeacher, others: dict[str, Normalization] | None = None) -> Finding:
    return normalization_finding("the teacher", teacher, *shades(), others or common_normalizations(1, OWN))


def test_the_normalization_a_network_was_made_for_is_clearly_better():
    finding = examined(NetworkTeacher(Halves(), OWN))
    others = finding.numbers["others"]
    assert set(others) == {"none (0 to 1)", "none (0 to 255)", "mean 0.5, std 0.5"}
    assert others["none (0 to 1)"] == 1.0
    assert finding.numbers["stated"] < 0.95
    assert finding.status == "problem"
    assert "none (0 to 1)" in finding.message
    assert finding.remedy == "if it was trained so, state mean [0] and std [1] in its student.json"


def test_a_right_normalization_stands():
    finding = examined(NetworkTeacher(Halves(), NONE))
    assert finding.status == "ok"
    assert finding.numbers["stated"] == 1.0
    assert "none (0 to 1)" not in finding.numbers["others"]


def test_logits_that_overflow_under_another_normalization_are_wrong_predictions():
    class Narrow(Halves):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) if images.amax() <= 1 else images.new_full((len(images), 2), torch.nan)

    finding = examined(NetworkTeacher(Narrow(), NONE), {"wide": Normalization((0.0,), (0.1,))})
    assert finding.numbers["stated"] == 1.0
    assert finding.numbers["others"]["wide"] < 0.6


@pytest.mark.parametrize(
    ("gain", "error", "better"), [(0.04, 0.0, False), (0.06, 0.0, True), (0.06, 0.01, False), (0.2, 0.05, True)]
)
def test_clearly_better_is_beyond_five_points_and_noise(gain, error, better):
    by_image = gain + error * 100**0.5 * torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(50)
    assert clearly_better(by_image) == better


def test_imagenets_and_cifars_normalizations_are_for_color():
    of_color = {"ImageNet's", "CIFAR-10's", "CIFAR-100's"}
    assert of_color.isdisjoint(common_normalizations(1, OWN))
    assert of_color <= set(common_normalizations(3, Normalization((0.5,) * 3, (0.2,) * 3)))


def test_each_normalization_is_named_before_it_is_tried():
    named: list[str] = []
    normalization_finding("the teacher", NetworkTeacher(Halves(), OWN), *shades(), {"none": NONE}, named.append)
    assert named == ["normalization of the teacher: as stated", "normalization of the teacher: none"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ONNX file", "takes pixels of 0 to 255 and normalizes them itself"),
        ("network", "takes pixels as they are"),
        ("file", "the teacher is a file: its outputs are made already"),
        ("cache alone", "shows in its accuracy alone"),
    ],
)
def test_a_teacher_without_a_normalization_says_what_that_means(kind, message):
    finding = unnormalized_finding("the teacher", kind)
    assert finding.status == "ok"
    assert message in finding.message
