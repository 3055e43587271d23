from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from preceptor import KL, CrossEntropy, DropWrong, Fixed, InputError, LabelRevision, Lesson, ProbabilityShift, register
from preceptor.stage import (
    Correction,
    GroundTruth,
    Match,
    Selection,
    Temperature,
    check_seat,
    registered,
    registered_name,
)

pytestmark = pytest.mark.usefixtures("registry")


@dataclass(frozen=True)
class Cold:
    """Hardly softened.

    Only for tests.
    """

    def __call__(self, lesson: Lesson) -> float:
        return 1.0


def test_register_returns_the_class_and_lists_it() -> None:
    assert register("temper", "cold", paper="this test")(Cold) is Cold
    info = registered()["temper", "cold"]
    assert (info.kind, info.name, info.cls, info.paper) == ("temper", "cold", Cold, "this test")
    assert info.summary == "Hardly softened."


def test_one_name_may_serve_two_kinds() -> None:
    register("temper", "kl", paper="this test")(Cold)
    assert registered()["match", "kl"].cls is KL


def test_an_unknown_kind_offers_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown kind of stage 'temperature': did you mean 'temper'"):
        register("temperature", "cold", paper="this test")  # type: ignore[arg-type]


def test_a_class_without_docstring_is_refused() -> None:
    class Silent:
        pass

    with pytest.raises(InputError, match="'silent': class Silent needs a docstring"):
        register("temper", "silent", paper="this test")(Silent)


def test_a_taken_name_is_refused_and_says_who_has_it() -> None:
    with pytest.raises(InputError, match=r"match stage 'kl' is already registered by preceptor\.match\.kl\.KL"):
        register("match", "kl", paper="this test")(Cold)


def test_a_class_of_the_same_name_elsewhere_does_not_take_over() -> None:
    stranger = type("KL", (Cold,), {"__doc__": "Another KL.", "__module__": "another_package"})
    with pytest.raises(InputError, match="already registered"):
        register("match", "kl", paper="this test")(stranger)
    assert registered()["match", "kl"].cls is KL


def test_a_reloaded_class_takes_its_own_name_again() -> None:
    register("temper", "cold", paper="this test")(Cold)
    again = type("Cold", (Cold,), {"__doc__": Cold.__doc__, "__module__": Cold.__module__})
    register("temper", "cold", paper="this test")(again)
    assert registered()["temper", "cold"].cls is again


def test_a_listing_is_a_copy() -> None:
    registered().clear()
    assert ("match", "kl") in registered()


def test_the_name_of_a_stage() -> None:
    assert registered_name(CrossEntropy()) == "cross_entropy"
    assert registered_name(Cold()) == "cold"


def test_the_protocols_tell_corrections_and_matches_apart() -> None:
    assert isinstance(LabelRevision(), Correction)
    assert isinstance(ProbabilityShift(), Correction)
    assert not isinstance(KL(), Correction)
    assert isinstance(KL(), Match)
    assert not isinstance(CrossEntropy(), Match)
    for stage, protocol in ((Fixed(), Temperature), (DropWrong(), Selection), (CrossEntropy(), GroundTruth)):
        assert isinstance(stage, protocol)


def test_a_registered_stage_keeps_its_seat_and_a_stranger_is_taken_at_its_word() -> None:
    check_seat(KL(), "match", "truth")
    check_seat(Cold(), "temper")
    check_seat(lambda lesson: torch.ones(1), "select")
    check_seat(None, "select")
    with pytest.raises(InputError, match="temper=DropWrong: it is a select stage"):
        check_seat(DropWrong(), "temper")


def test_a_stage_may_be_a_plain_function_of_a_lesson() -> None:
    def weights(lesson: Lesson) -> Tensor:
        return torch.ones_like(lesson.teacher[:, 0])

    assert isinstance(weights, Selection)
