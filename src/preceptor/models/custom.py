"""Networks that somebody's own function builds, by the name ``PACKAGE.MODULE:FUNCTION``.

A name may come from a stranger's card or ``run.yaml``, and to import a module runs its code. So none is imported until
the user has allowed it: with :func:`allow_code`, with ``--allow-code MODULE``, or by naming the function on the command
line itself.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

from torch import nn

from preceptor.errors import InputError, first_line, nearest
from preceptor.models.family import model_family

LIBRARIES = ("timm", "torchvision", "hf")
"""What a name may begin with that is no module of the user's."""

ALLOWED = "PRECEPTOR_ALLOW_CODE"
"""Environment variable: modules that may be imported, with commas between them. Processes that a run starts inherit
it."""


def allow_code(module: str) -> None:
    """Allow a module of the user's own to be imported for a network, for as long as this process lives.

    Args:
        module: such as ``my_package.models``; this module alone, not others of its package.

    Raises:
        InputError: it is no module's name.
    """
    if not _is_dotted(module):
        raise InputError(f"allow code of {module!r}: expected the name of a module, such as my_package.models")
    os.environ[ALLOWED] = ",".join(sorted({*_allowed(), module}))


def code_module(name: str) -> str | None:
    """The module of a network's name that is written ``PACKAGE.MODULE:FUNCTION``; None for every other name."""
    module, _, function = name.partition(":")
    return module if _is_dotted(module) and _is_dotted(function) and module not in LIBRARIES else None


def is_allowed(name: str) -> bool:
    """Whether a network of this name may be built: always, unless it names a function of a module not allowed."""
    module = code_module(name)
    return module is None or module in _allowed()


@model_family("{MODULE}:{FUNCTION}", examples=("my_package.models:build",))
def custom_model(module: str, function: str, channels: int, classes: int) -> nn.Module:
    """What a function returns; it is called with those of ``classes`` and ``channels`` that it takes.

    Raises:
        InputError: the module is not allowed, cannot be imported or has no such function; the function fails, or
            returns no network.
    """
    name = f"{module}:{function}"
    if code_module(name) is None:
        raise InputError(
            f"unknown model {name!r}: names are written timm:NAME, torchvision:NAME, hf:NAME or PACKAGE.MODULE:FUNCTION"
        )
    if not is_allowed(name):
        raise InputError(
            f"model {name!r}: {_meant(name)}it would run the code of module {module}, which nobody allowed: if you "
            f"trust it, give --allow-code {module} (in Python: preceptor.models.allow_code({module!r}))"
        )
    build = _function(module, function)
    try:
        network = build(**_taken(build, {"classes": classes, "channels": channels}))
    except Exception as error:  # whatever the user's own code raises
        raise InputError(f"model {name!r}: {function} failed: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"model {name!r}: {function} returned a {type(network).__name__}; expected an nn.Module")
    return network


def _meant(name: str) -> str:
    """The library that a misspelled name may mean, as a question."""
    module, _, rest = name.partition(":")
    library = nearest(module, ("timm", "torchvision"))
    return f"did you mean {library}:{rest}? " if library else ""


def _function(module: str, function: str) -> Callable[..., Any]:
    # As of ``python -m``, whose first place to look is the current directory.
    if not {"", os.getcwd()} & set(sys.path):  # noqa: PTH109
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    importlib.invalidate_caches()  # the module may have been written only just now
    try:
        place: Any = importlib.import_module(module)
    except Exception as error:  # whatever the user's own code raises
        raise InputError(
            f"model '{module}:{function}': module {module} cannot be imported ({type(error).__name__}: "
            f"{first_line(error)}): run where it can be, or add its folder to PYTHONPATH"
        ) from error
    for part in function.split("."):
        if not hasattr(place, part):
            near = nearest(part, vars(place))
            raise InputError(
                f"model '{module}:{function}': module {module} has no {part!r}"
                + (f": did you mean {near!r}?" if near else f": name a function of {module} that returns a network")
            )
        place = getattr(place, part)
    if not callable(place):
        raise InputError(f"model '{module}:{function}': is a {type(place).__name__}; expected a function or class")
    return place  # type: ignore[no-any-return]


def _taken(build: Callable[..., Any], options: dict[str, int]) -> dict[str, int]:
    """Those of the options that a function takes by keyword."""
    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):  # of some functions written in C
        return {}
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return options
    by_keyword = {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    return {name: value for name, value in options.items() if name in by_keyword}


def _allowed() -> set[str]:
    return set(filter(None, os.environ.get(ALLOWED, "").split(",")))


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))
