"""What a selection is fitted on: the teacher's logits, and the inputs of the layer that makes them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.context import SelectionData
from preceptor.data import ImageSet
from preceptor.errors import InputError
from preceptor.teachers import NetworkTeacher, collect_selection_data
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.selection_data import last_linear_layer, outputs_with_features
from tests.training_helpers import digits, few, network, same_bits, untrained_teacher, weights

TAUGHT, KEPT = few(20), few(32)[20:]
NOBODY = torch.zeros(0, dtype=torch.int64)


class Flat(nn.Module):
    """Two linear layers, the last of them made first: where a layer stands does not say what it is for."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.last = nn.Linear(6, 10, bias=bias)
        self.first = nn.Linear(64, 6)

    def features(self, images: Tensor) -> Tensor:
        hidden: Tensor = self.first(images.flatten(1))
        return hidden.relu()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.last(self.features(images))
        return logits


class CalledByKeyword(Flat):
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.last(input=self.features(images))
        return logits


class WithASideOutput(Flat):
    """A linear layer that runs after the head, and of which nothing comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.side = nn.Linear(6, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        self.side(self.features(images))
        return logits


class Afterwards(Flat):
    """What the head says is changed before it is given out."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, images: Tensor) -> Tensor:
        return self.change(super().forward(images))


class Pooled(nn.Module):
    """Ends in a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 10, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.layer(images)
        return maps.mean(dim=(2, 3))


class FailsOnManyImages(Flat):
    """Passes a look at two images, and no more."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        if len(images) > 2:
            raise MemoryError("too many")
        return logits


def sequential() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ConvNet": lambda: network(1, "convnet4"),
    "CifarResNet": lambda: network(1, "resnet8"),
    "AlexNet": lambda: network(1, "alexnet"),
    "Sequential": sequential,
    "head made first": Flat,
    "head called by keyword": CalledByKeyword,
    "side output after the head": WithASideOutput,
    "no bias": lambda: Flat(bias=False),
}


def teaching(source: nn.Module, classes: int | None = None) -> NetworkTeacher:
    return NetworkTeacher(source, digits().normalization, classes=classes)


def collected(
    teacher: NetworkTeacher, positions: Tensor = TAUGHT, held_out: Tensor = KEPT, **given: Any
) -> SelectionData:
    return collect_selection_data(teacher, digits().train, positions, held_out, **{"seed": 5, **given})


def images_at(positions: Tensor) -> Tensor:
    return digits().train.images[positions]


@torch.no_grad()
def before_the_head(source: nn.Module, images: Tensor) -> Tensor:
    """By way of the network's own parts, without a hook."""
    part: Any = source[:-1] if isinstance(source, nn.Sequential) else source.features
    features: Tensor = part(digits().normalization(images))
    return features


def hooks(source: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in source.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_the_teachers_and_features_what_its_head_is_given(name: str) -> None:
    source = NETWORKS[name]().eval()
    teacher = teaching(source)
    checkpoint = collected(teacher).teacher
    for found, positions in ((checkpoint.train, TAUGHT), (checkpoint.held_out, KEPT)):
        assert found is not None
        assert found.features is not None
        assert torch.equal(found.logits, teacher(images_at(positions)))
        torch.testing.assert_close(found.features, before_the_head(source, images_at(positions)))
        head = last_linear_layer(teacher, images_at(positions))
        torch.testing.assert_close(functional.linear(found.features, head.weight, head.bias), found.logits)


@pytest.mark.parametrize("name", ["ConvNet", "Sequential", "head called by keyword"])
def test_nothing_is_left_in_the_network(name: str) -> None:
    teacher = teaching(NETWORKS[name]())
    before = weights(teacher.network)
    generator = torch.get_rng_state()
    checkpoint = collected(teacher).teacher
    assert hooks(teacher.network) == 0
    assert same_bits(before, weights(teacher.network))
    assert torch.equal(torch.get_rng_state(), generator)
    assert not teacher.network.training
    assert not checkpoint.train.logits.requires_grad
    assert checkpoint.train.features is not None
    assert not checkpoint.train.features.requires_grad


def test_a_network_that_fails_keeps_no_hook_either() -> None:
    teacher = teaching(FailsOnManyImages())
    with pytest.raises(MemoryError):
        last_linear_layer(teacher, images_at(TAUGHT))
    with pytest.raises(MemoryError):
        collected(teacher)
    assert hooks(teacher.network) == 0


@pytest.mark.parametrize("bias", [True, False])
def test_it_says_whether_the_last_layer_adds_a_bias(bias: bool) -> None:
    assert collected(teaching(Flat(bias))).has_bias is bias


def test_samples_are_named_by_their_position_in_the_training_set() -> None:
    train = ImageSet(digits().train.images, digits().train.labels.int())
    train.labels[TAUGHT[3]] = -1
    selection_data = collect_selection_data(teaching(Flat()), train, TAUGHT, KEPT, seed=7)
    assert torch.equal(selection_data.index, TAUGHT)
    assert torch.equal(selection_data.label, train.labels[TAUGHT].long())
    assert selection_data.label[3] == -1
    assert selection_data.held_out_label is not None
    assert torch.equal(selection_data.held_out_label, train.labels[KEPT].long())
    assert selection_data.label.dtype == selection_data.held_out_label.dtype == torch.int64
    assert (selection_data.size, selection_data.seed) == (len(train), 7)


def test_positions_in_another_order_give_their_rows_in_that_order() -> None:
    turned = TAUGHT.flip(0)
    teacher = teaching(Flat())
    straight, reversed_ = collected(teacher), collected(teacher, turned)
    assert torch.equal(reversed_.index, turned)
    assert torch.equal(reversed_.label, straight.label.flip(0))
    torch.testing.assert_close(reversed_.teacher.train.logits, straight.teacher.train.logits.flip(0))


def test_without_a_history_there_is_the_teacher_alone() -> None:
    selection_data = collected(untrained_teacher())
    assert [checkpoint.learning_rate for checkpoint in selection_data.checkpoints] == [1.0]


def test_every_moment_of_the_history_has_its_own_rate_and_outputs() -> None:
    moments = [(rate, untrained_teacher(seed)) for rate, seed in ((0.1, 1), (0.02, 2), (0.003, 3))]
    selection_data = collected(moments[-1][1], history=moments)
    assert len(selection_data.checkpoints) == 3
    for checkpoint, (rate, teacher) in zip(selection_data.checkpoints, moments, strict=True):
        alone = collected(teacher).teacher
        assert checkpoint.learning_rate == rate
        for found, expected in ((checkpoint.train, alone.train), (checkpoint.held_out, alone.held_out)):
            assert found is not None
            assert expected is not None
            assert torch.equal(found.logits, expected.logits)
            torch.testing.assert_close(found.features, expected.features, rtol=0, atol=0)
    assert selection_data.teacher is selection_data.checkpoints[-1]
    assert not torch.equal(selection_data.checkpoints[0].train.logits, selection_data.teacher.train.logits)


def test_nothing_held_out_is_none_at_every_moment() -> None:
    teacher = untrained_teacher()
    selection_data = collected(teacher, held_out=NOBODY, history=[(0.1, untrained_teacher(1)), (0.01, teacher)])
    assert selection_data.held_out_label is None
    assert [checkpoint.held_out for checkpoint in selection_data.checkpoints] == [None, None]
    assert torch.equal(selection_data.teacher.train.logits, collected(teacher).teacher.train.logits)


@pytest.mark.parametrize("source", [Flat(), Pooled()], ids=["linear head", "no linear head"])
def test_without_features_any_network_will_do(source: nn.Module) -> None:
    teacher = teaching(source)
    selection_data = collected(teacher, features=False)
    assert not selection_data.has_bias
    assert selection_data.teacher.train.features is None
    assert selection_data.teacher.held_out is not None
    assert selection_data.teacher.held_out.features is None
    assert torch.equal(selection_data.teacher.train.logits, teacher(images_at(TAUGHT)))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (Pooled(), "Pooled"),
        (nn.Sequential(sequential(), nn.ReLU()), "Sequential"),
        (Afterwards(lambda logits: 3 * logits), "Afterwards"),
        (Afterwards(lambda logits: logits.log_softmax(dim=1)), "Afterwards"),
        (Afterwards(lambda logits: logits.flip(1)), "Afterwards"),
    ],
    ids=["convolution", "ReLU", "scaled", "log-probabilities", "classes in another order"],
)
def test_logits_that_no_linear_layer_gives_are_refused(source: nn.Module, name: str) -> None:
    teacher = teaching(source)
    with pytest.raises(InputError, match=rf"\({name}\) does not end in a linear layer") as caught:
        collected(teacher)
    assert "\n" not in str(caught.value)
    assert "el2n" in str(caught.value)
    assert hooks(teacher.network) == 0


def test_of_a_teacher_that_may_abstain_the_reservation_is_left_out() -> None:
    source = network(4, outputs=11).eval()
    teacher = teaching(source, classes=10)
    found = collected(teacher).teacher.train
    with torch.no_grad():
        everything = source(digits().normalization(images_at(TAUGHT)))
    assert found.logits.shape == (len(TAUGHT), 10)
    torch.testing.assert_close(found.logits, everything[:, :10])
    torch.testing.assert_close(found.features, before_the_head(source, images_at(TAUGHT)))


@pytest.mark.parametrize("batch_size", [1, 7, 20])
def test_how_many_images_go_at_a_time_does_not_matter(batch_size: int) -> None:
    teacher = untrained_teacher()
    found, whole = (
        outputs_with_features(teacher, digits().train.images, TAUGHT, batch_size),
        collected(teacher).teacher.train,
    )
    torch.testing.assert_close(found.logits, whole.logits)
    torch.testing.assert_close(found.features, whole.features)


def test_more_images_than_go_at_a_time_keep_their_order() -> None:
    source = Flat().eval()
    positions = torch.arange(1100)
    found = collected(teaching(source), positions, NOBODY).teacher.train
    torch.testing.assert_close(found.features, before_the_head(source, images_at(positions)))


def test_logits_and_features_are_float32_even_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = collected(untrained_teacher()).teacher.train
    assert found.features is not None
    assert found.logits.dtype == found.features.dtype == torch.float32


def test_a_head_that_runs_twice_an_image_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 10)

        def forward(self, images: Tensor) -> Tensor:
            self.head(images.flatten(1) + 1)
            return self.head(images.flatten(1))  # type: ignore[no-any-return]

    teacher = NetworkTeacher(Twice(), digits().normalization)
    with pytest.raises(InputError, match="more than once an image"):
        outputs_with_features(teacher, digits().train.images, few(6))


class Noting:
    """A teacher that is no network, and records the queries."""

    classes = 10

    def __init__(self) -> None:
        self.queried: list[tuple[int, int]] = []

    def outputs(self, images: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        self.queried += zip(index.tolist(), view.tolist(), strict=True)
        return TeacherOutput(
            functional.one_hot(index % 10, 10).float() + images.float().mean(dim=(1, 2, 3))[:, None] / 255
        )


def test_of_any_teacher_the_logits_are_gathered_by_position_in_the_view_that_leaves_images_alone() -> None:
    teacher = Noting()
    found = collect_selection_data(teacher, digits().train, TAUGHT, KEPT, seed=0, features=False, view=4)
    assert teacher.queried == [(int(position), 4) for position in (*TAUGHT, *KEPT)]
    assert found.teacher.train.features is None
    assert not found.has_bias
    expected = Noting().outputs(images_at(TAUGHT), TAUGHT, TAUGHT).logits
    torch.testing.assert_close(found.teacher.train.logits, expected)
    assert found.teacher.held_out is not None
    torch.testing.assert_close(found.teacher.held_out.logits, Noting().outputs(images_at(KEPT), KEPT, KEPT).logits)


def test_many_images_are_queried_in_their_order() -> None:
    teacher, positions = Noting(), torch.arange(1100).flip(0)
    found = collect_selection_data(teacher, digits().train, positions, NOBODY, seed=0, features=False)
    assert [index for index, _ in teacher.queried] == positions.tolist()
    assert torch.equal(found.teacher.train.logits.argmax(dim=1), positions % 10)


def test_a_teacher_that_is_no_network_has_no_features() -> None:
    with pytest.raises(InputError, match=r"needs the layers of the teacher, and Noting has none: give a network"):
        collect_selection_data(Noting(), digits().train, TAUGHT, KEPT, seed=0)
