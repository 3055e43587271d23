"""What is frozen does not move, and everything else does."""

import pytest
import torch
from torch import Tensor, nn

from preceptor.errors import InputError
from preceptor.loss import DistillationLoss
from preceptor.models import seeded_model
from preceptor.models.features import ImageModel
from preceptor.training import Student, Trainer, TrainingConfig
from preceptor.training.freezing import classifier_head, frozen_modules
from tests.training_helpers import data_of, digits, network


def trained(freeze: tuple[str, ...], **settings: object) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of a small network before and after two epochs of training."""
    inner = seeded_model("resnet8", channels=1, classes=10, seed=0)
    before = {name: tensor.clone() for name, tensor in inner.state_dict().items()}
    config = TrainingConfig(epochs=2, batch_size=16, freeze=freeze, **settings)
    student = Student("s", ImageModel(inner, digits().normalization), DistillationLoss.from_recipe("none"))
    Trainer([student], None, data_of(), config, compile="never").fit()
    return before, inner.state_dict()


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    "settings", [{}, {"optimizer": "adamw"}, {"ema": 0.9}, {"accumulate": 2}, {"clip_norm": 0.1, "layer_decay": 0.5}]
)
def test_frozen_modules_keep_weights_and_statistics(settings: dict[str, object]) -> None:
    before, after = trained(("stage1", "stage2"), **settings)
    frozen = {name for name in before if name.startswith(("stage1.", "stage2."))}
    assert any("running_mean" in name for name in frozen)
    assert moved(before, after) == set(before) - frozen


def test_backbone_is_all_but_the_head() -> None:
    before, after = trained(("backbone",))
    head = list(before)[-2:]
    assert moved(before, after) == set(head)


def test_nothing_frozen_moves_all() -> None:
    before, after = trained(())
    assert moved(before, after) == set(before)


def test_measuring_in_between_leaves_frozen_parts_in_eval_mode() -> None:
    from preceptor.metrics.logits import network_logits

    net = network().train()
    norm = next(module for module in net.modules() if isinstance(module, nn.BatchNorm2d))
    norm.training = False
    network_logits(net, digits().normalization, digits().test.images[:4])
    assert not norm.training
    assert net.training


def test_the_head_of_timm_is_the_one_it_states() -> None:
    class Stated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.extra = nn.Linear(3, 2), nn.Linear(3, 3)

        def get_classifier(self) -> nn.Module:
            return self.fc

    stated = Stated()
    assert classifier_head(stated) is stated.fc
    assert frozen_modules(stated, ["backbone"]) == [stated, stated.extra]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("stage9",), r"freeze 'stage9': CifarResNet has no such module: did you mean 'stage[123]'\? it has "),
        (("backbon",), r"did you mean 'backbone'\?"),
        (("",), "has no such module"),
        (("backbone", "head"), "nothing of CifarResNet is left to train"),
    ],
)
def test_what_cannot_be_frozen(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        frozen_modules(seeded_model("resnet8", channels=1, classes=10, seed=0), names)
