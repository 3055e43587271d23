"""Formats of an exported student: each file is written aside, run, compared with the student, then put in place."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from preceptor.errors import InputError, MachineError, first_line, unknown_name
from preceptor.export.module import ExportModule, ExportOutput
from preceptor.export.onnx_file import OnnxFile, silence, write_onnx
from preceptor.export.verify import Agreement, Run, check, expected
from preceptor.files import write_whole
from preceptor.models import ModelCard, load_student, save_student
from preceptor.models.store import CARD_FILE, WEIGHTS_FILE
from preceptor.teachers.onnx_runtime import package

FILES = {
    "onnx": ("student.onnx",),
    "pt2": ("student.pt2",),
    "state-dict": (WEIGHTS_FILE, CARD_FILE),
}
"""The files of each format; the first is the one that is opened."""

CARD_ENTRY = "student.json"
"""The name of the card inside a pt2 file."""


@dataclass(frozen=True)
class Export:
    """A student in one format (a key of ``FILES``, or "int8"), not yet in its place.

    Attributes:
        contents: by file name.
        run: runs the written file.
        agreement: with the student; None for int8, which is not meant to agree.
    """

    format: str
    contents: dict[str, bytes]
    run: Run
    agreement: Agreement | None

    @property
    def name(self) -> str:
        """Of the file that is opened."""
        return next(iter(self.contents))


def export_student(
    network: nn.Module,
    card: ModelCard,
    images: UInt8[Tensor, "n channels height width"],
    formats: Collection[str] = ("onnx",),
    *,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Export]:
    """Write a student in each format to a temporary folder, run each file and compare it with the student.

    Args:
        network: the student, on the CPU.
        card: of the student.
        images: to compare on; see :func:`preceptor.export.some_of`.
        formats: keys of ``FILES``. Default ("onnx",).
        tell: called with what is being done.

    Raises:
        InputError: an unknown format, a decision that the student alone cannot take, an architecture that cannot be
            traced, or outputs that are not finite.
        MachineError: a package is missing, or a file differs from the student.
    """
    check_formats(formats)
    module, wanted = ExportModule(network, card), expected(network, card, images)
    program = _traced(module, card) if {"onnx", "pt2"} & set(formats) else None
    exports = []
    for chosen in formats:
        name = FILES[chosen][0]
        tell(f"writing {name} and running it on {len(images)} images")
        with TemporaryDirectory(prefix="preceptor-export-") as temporary:
            folder = Path(temporary)
            if program is None or chosen == "state-dict":
                save_student(folder, network, card)
            elif chosen == "onnx":
                write_onnx(program, card, folder / name)
            else:
                with silence():
                    torch.export.save(program, folder / name, extra_files={CARD_ENTRY: card.model_dump_json()})
            run = runner(chosen, folder)
            agreement = check(name, run, images, wanted)
            contents = {file: (folder / file).read_bytes() for file in FILES[chosen]}
            exports.append(Export(chosen, contents, run, agreement))
    return exports


def runner(chosen: str, folder: Path) -> Run:
    """Opens the files of a format in a folder. torch opens a pt2 file: take none from people you do not trust."""
    path = folder / FILES[chosen][0]
    if chosen == "onnx":
        return OnnxFile(path)
    if chosen == "state-dict":
        return ExportModule(*load_student(folder)).run
    with silence():
        program = torch.export.load(path).module()
    return lambda images: ExportOutput(*program(images))


def _traced(module: ExportModule, card: ModelCard) -> ExportedProgram:
    # Two images: with a batch of one, torch takes the one for a constant.
    images = torch.zeros(2, card.channels, *card.image_size, dtype=torch.uint8)
    try:
        with silence(), torch.no_grad():
            program = torch.export.export(module, (images,), dynamic_shapes={"images": {0: Dim("batch")}})
    except MemoryError:
        raise
    except Exception as error:  # whatever the tracer meets in an architecture
        raise InputError(
            f"architecture {card.architecture!r}: torch.export cannot trace it ({first_line(error)}): export its "
            "state dict, or choose another architecture"
        ) from error
    for node in program.graph.nodes:  # the file must not show paths of this machine's source code
        node.meta.pop("stack_trace", None)
    return program


def check_formats(formats: Collection[str]) -> None:
    """Make sure, before the work, that these formats can be written.

    Raises:
        InputError: one is unknown.
        MachineError: a package that one needs is missing.
    """
    for chosen in formats:
        if chosen not in FILES:
            raise unknown_name("format", chosen, FILES)
    if "onnx" in formats:
        for name in ("onnx", "onnxscript", "onnxruntime"):
            package(name)


def check_places(folder: Path, names: Sequence[str]) -> None:
    """Make sure, before the work, that files of these names can be written and none exists; nothing is made.

    Raises:
        InputError: one exists, or the folder is a file.
        MachineError: the folder cannot be written.
    """
    for name in names:
        if os.path.lexists(folder / name):
            raise InputError(f"{folder / name}: exists, and nothing is overwritten: choose another --out")
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise InputError(f"{nearest}: is a file; expected a folder: choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise MachineError(f"{nearest}: cannot be written: choose another --out")


def put_in_place(folder: Path, exports: Sequence[Export]) -> None:
    """Write all files, each whole; the folder is made if need be.

    Raises:
        MachineError: one cannot be written; it is named.
    """
    write_whole({folder / name: content for export in exports for name, content in export.contents.items()})
