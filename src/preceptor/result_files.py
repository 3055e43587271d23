"""Result files: what was measured, as JSON of a known shape."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from preceptor.config import validated
from preceptor.errors import InputError
from preceptor.files import read_json, write_whole

Result = TypeVar("Result", bound=BaseModel)


def write_result(result: BaseModel, path: Path) -> None:
    """Write a result file, beside its place and renamed.

    Raises:
        MachineError: it cannot be written.
    """
    write_whole({path: (result.model_dump_json(indent=1) + "\n").encode()})


def read_result(kind: type[Result], path: Path) -> Result:
    """Read a result file.

    Raises:
        InputError: it is missing, not JSON, or of another shape.
    """
    content = read_json(path, "not a readable result file")
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return validated(kind, content, str(path))
