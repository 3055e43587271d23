import pytest

from preceptor.errors import (
    InputError,
    MachineError,
    PreceptorError,
    first_line,
    out_of_memory,
    require_not_negative,
    require_positive,
    unknown_name,
)


@pytest.mark.parametrize(("error", "code"), [(PreceptorError, 2), (InputError, 2), (MachineError, 3)])
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


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), RuntimeError("std::bad_alloc")],
)
def test_no_memory_left_is_told_from_all_else(error: Exception) -> None:
    assert out_of_memory(error)
    assert not out_of_memory(RuntimeError("size mismatch"))
    assert not out_of_memory(ValueError("can't allocate memory"))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n one\n"), "one"),
        (ValueError(" \n"), "ValueError"),
        (KeyError("name"), "'name'"),
        (RecursionError(), "RecursionError"),
    ],
)
def test_the_first_line_of_an_error(error: Exception, line: str) -> None:
    assert first_line(error) == line


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_options_that_are_no_size_are_refused(value: float) -> None:
    with pytest.raises(InputError, match=rf"^kl: weight = {value}: expected a finite number above 0$"):
        require_positive("kl", scale=1e-9, weight=value)
    with pytest.raises(InputError, match=rf"^kl: weight = {value}: expected a finite number, 0 or more$"):
        require_not_negative("kl", weight=value)
    with pytest.raises(InputError, match="above 0"):
        require_positive("kl", weight=0.0)
    require_not_negative("kl", weight=0.0)
