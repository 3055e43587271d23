import pytest

from preceptor.errors import EnvironmentProblem, InputError, PreceptorError, unknown_name


@pytest.mark.parametrize(("error", "code"), [(PreceptorError, 2), (InputError, 2), (EnvironmentProblem, 3)])
def test_exit_codes(error: type[PreceptorError], code: int) -> None:
    assert issubclass(error, PreceptorError)
    assert error("why").exit_code == code


def test_an_unknown_name_offers_the_nearest_and_lists_all() -> None:
    message = str(unknown_name("recipe", "label-revison", ["none", "kd", "label-revision"]))
    assert message == ("unknown recipe 'label-revison': did you mean 'label-revision'? known: kd, label-revision, none")


def test_a_name_like_no_other_gets_no_guess() -> None:
    assert str(unknown_name("verb", "xyzzy", ["train"])) == "unknown verb 'xyzzy': known: train"


def test_nothing_known_is_said() -> None:
    assert str(unknown_name("option", "x", [])) == "unknown option 'x': known: none"
