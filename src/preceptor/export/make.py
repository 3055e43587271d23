"""Writes a student in the formats asked for, runs what was written, and only then puts it in its place."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from jaxtyping import UInt8
from torch import Tensor, nn
from torch.export import ExportedProgram

from preceptor.errors import InputError, MachineError, unknown_name
from preceptor.export.module import ExportModule, ExportOutput
from preceptor.export.onnx_file import onnx_model, open_session, run_session
from preceptor.export.packages import check_packages
from preceptor.export.program import load_program, save_program, traced
from preceptor.export.verify import Agreement, Expected, Run, check, expected
from preceptor.files import write_whole
from preceptor.models import ModelCard, load_student, save_student
from preceptor.models.store import CARD_FILE, WEIGHTS_FILE
from preceptor.teachers.onnx_runtime import package

FILES = {
    "onnx": ("student.onnx",),
    "pt2": ("student.pt2",),
    "state-dict": (WEIGHTS_FILE, CARD_FILE),
}
"""What each format writes, the file that is used first."""

Tell = Callable[[str], None]
"""Told what is being done."""


@dataclass(frozen=True)
class Export:
    """A student in one format, checked and not yet in its place.

    Attributes:
        format: a key of ``FILES``, or "int8".
        contents: by file name.
        run: the written file at work.
        agreement: with the student; None where it is not meant to agree.
    """

    format: str
    contents: dict[str, bytes]
    run: Run
    agreement: Agreement | None

    @property
    def name(self) -> str:
        """Of the file that is used."""
        return next(iter(self.contents))

    @property
    def size(self) -> int:
        """Bytes of that file."""
        return len(self.contents[self.name])


def export_student(
    network: nn.Module,
    card: ModelCard,
    images: UInt8[Tensor, "n channels height width"],
    formats: Collection[str] = ("onnx",),
    *,
    tell: Tell = lambda _: None,
) -> list[Export]:
    """Write a student in each format to a passing folder, and run what was written against it.

    Args:
        network: the student, on the CPU.
        card: of the student.
        images: real ones, to compare on; see ``verify.some_of``.
        formats: keys of ``FILES``.
        tell: told what is being done.

    Raises:
        InputError: an unknown format, a decision that the student alone cannot take, an architecture that cannot be
            traced, or outputs that are not finite.
        MachineError: a package is missing, or a file does not say what the student says.
    """
    check_formats(formats)
    deployed, wanted = ExportModule(network, card), expected(network, card, images)
    program = traced(deployed, card) if {"onnx", "pt2"} & set(formats) else None
    made = []
    for chosen in formats:
        tell(f"writing {FILES[chosen][0]} and running it on {len(images)} images")
        with TemporaryDirectory(prefix="preceptor-export-") as folder:
            made.append(_made(chosen, Path(folder), network, card, program, images, wanted))
    return made


def check_formats(formats: Collection[str]) -> None:
    """Make sure, before the work, that these formats can be written.

    Raises:
        InputError: one is not known.
        MachineError: a package that one needs is missing.
    """
    for chosen in formats:
        if chosen not in FILES:
            raise unknown_name("format", chosen, FILES)
    if "onnx" in formats:
        check_packages()


def check_places(folder: Path, names: Sequence[str]) -> None:
    """Make sure, before the work, that files of these names can be written and none is there; nothing is made.

    Raises:
        InputError: one is there, or the folder is a file.
        MachineError: the folder cannot be written.
    """
    for name in names:
        if os.path.lexists(folder / name):
            raise InputError(f"{folder / name}: is there already, and nothing is overwritten: choose another --out")
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise InputError(f"{nearest}: is a file, an export needs a folder: choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise MachineError(f"{nearest}: cannot be written: choose another --out")


def put_in_place(folder: Path, made: Sequence[Export]) -> None:
    """Write all files, each whole; the folder is made if need be.

    Raises:
        MachineError: one cannot be written; it is named.
    """
    write_whole({folder / name: content for export in made for name, content in export.contents.items()})


def _made(
    chosen: str,
    folder: Path,
    network: nn.Module,
    card: ModelCard,
    program: ExportedProgram | None,
    images: UInt8[Tensor, "n channels height width"],
    wanted: Expected,
) -> Export:
    if chosen == "state-dict":
        save_student(folder, network, card)
    else:
        assert program is not None
        _WRITERS[chosen](program, card, folder / FILES[chosen][0])
    run = _READERS[chosen](folder)
    agreement = check(FILES[chosen][0], run, images, wanted)
    return Export(chosen, {name: (folder / name).read_bytes() for name in FILES[chosen]}, run, agreement)


def _write_onnx(program: ExportedProgram, card: ModelCard, path: Path) -> None:
    model = onnx_model(program, card)
    package("onnx").checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _read_onnx(folder: Path) -> Run:
    return partial(run_session, open_session(folder / FILES["onnx"][0]))


def _read_program(folder: Path) -> Run:
    program = load_program(folder / FILES["pt2"][0])
    return lambda images: ExportOutput(*program(images))


def _read_state_dict(folder: Path) -> Run:
    return ExportModule(*load_student(folder)).reply


_WRITERS = {"onnx": _write_onnx, "pt2": save_program}
_READERS = {"onnx": _read_onnx, "pt2": _read_program, "state-dict": _read_state_dict}
