import pytest
import torch
from torch import Tensor, nn

from preceptor.data import Normalization
from preceptor.run.doctor.finding import Finding
from preceptor.run.doctor.normalization import clearly_better, common_normalizations, normalization_finding
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
    assert "mean [0] and std [1]" in finding.remedy
    assert "teacher_normalization.mean=[0] teacher_normalization.std=[1]" in finding.remedy


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


def test_imagenets_normalization_is_for_color():
    assert "ImageNet's" not in common_normalizations(1, OWN)
    assert "ImageNet's" in common_normalizations(3, Normalization((0.5,) * 3, (0.2,) * 3))
