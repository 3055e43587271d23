from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from preceptor import (
    KL,
    BatchContext,
    CrossEntropy,
    DropWrong,
    Fixed,
    InputError,
    LabelRevision,
    ProbabilityShift,
    register,
)
from preceptor.component_types import Correction, LabelLoss, Loss, Selection, Temperature
from preceptor.registry import check_slot, registered, registered_name

pytestmark = pytest.mark.usefixtures("registry")


@dataclass(frozen=True)
class Cold:
    """Hardly softened.

    Only for tests.
    """

    def __call__(self, context: BatchContext) -> float:
        return 1.0


def test_register_returns_the_class_and_lists_it() -> None:
    assert register("temperature", "cold", paper="this test")(Cold) is Cold
    info = registered()["temperature", "cold"]
    assert (info.kind, info.name, info.cls, info.paper) == ("temperature", "cold", Cold, "this test")
    assert info.summary == "Hardly softened."


def test_one_name_may_serve_two_kinds() -> None:
    register("temperature", "kl", paper="this test")(Cold)
    assert registered()["loss", "kl"].cls is KL


def test_an_unknown_kind_offers_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown component type 'temprature': did you mean 'temperature'"):
        register("temprature", "cold", paper="this test")  # type: ignore[arg-type]


def test_a_class_without_docstring_is_refused() -> None:
    class Silent:
        pass

    with pytest.raises(InputError, match="'silent': class Silent needs a docstring"):
        register("temperature", "silent", paper="this test")(Silent)


def test_a_taken_name_is_refused_and_says_who_has_it() -> None:
    with pytest.raises(InputError, match=r"loss component 'kl' is already registered by preceptor\.losses\.kl\.KL"):
        register("loss", "kl", paper="this test")(Cold)


def test_a_class_of_the_same_name_elsewhere_does_not_take_over() -> None:
    stranger = type("KL", (Cold,), {"__doc__": "Another KL.", "__module__": "another_package"})
    with pytest.raises(InputError, match="already registered"):
        register("loss", "kl", paper="this test")(stranger)
    assert registered()["loss", "kl"].cls is KL


def test_a_reloaded_class_takes_its_own_name_again() -> None:
    register("temperature", "cold", paper="this test")(Cold)
    again = type("Cold", (Cold,), {"__doc__": Cold.__doc__, "__module__": Cold.__module__})
    register("temperature", "cold", paper="this test")(again)
    assert registered()["temperature", "cold"].cls is again


def test_a_listing_is_a_copy() -> None:
    registered().clear()
    assert ("loss", "kl") in registered()


def test_the_name_of_a_component() -> None:
    assert registered_name(CrossEntropy()) == "cross_entropy"
    assert registered_name(Cold()) == "cold"


def test_the_protocols_tell_corrections_and_losses_apart() -> None:
    assert isinstance(LabelRevision(), Correction)
    assert isinstance(ProbabilityShift(), Correction)
    assert not isinstance(KL(), Correction)
    assert isinstance(KL(), Loss)
    assert not isinstance(CrossEntropy(), Loss)
    for component, training in ((Fixed(), Temperature), (DropWrong(), Selection), (CrossEntropy(), LabelLoss)):
        assert isinstance(component, training)


def test_a_registered_component_fits_its_own_slot_and_an_unregistered_one_any() -> None:
    check_slot(KL(), "loss", "label_loss")
    check_slot(Cold(), "temperature")
    check_slot(lambda context: torch.ones(1), "selection")
    check_slot(None, "selection")
    with pytest.raises(InputError, match="temperature=DropWrong: it is a selection;"):
        check_slot(DropWrong(), "temperature")


def test_a_component_may_be_a_plain_function_of_a_context() -> None:
    def weights(context: BatchContext) -> Tensor:
        return torch.ones_like(context.teacher_logits[:, 0])

    assert isinstance(weights, Selection)
